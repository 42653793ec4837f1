"""The wiring of the checkout service."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from services.checkout import customers, holds, refund_rules, refunds, sweeper, webhook
from services.checkout.counter import reactions_of, refunds_of, sweeper_of
from services.checkout.handlers import routes
from services.checkout.mail import MAILER, mailer
from services.checkout.metrics import CHECKOUT_METRICS, CheckoutMetrics
from services.checkout.mirror import handler_of, mirror
from services.checkout.payments import PAYMENTS, payments
from services.checkout.receipt_jobs import receipt_jobs
from services.checkout.settings import CHECKOUT_SETTINGS, CheckoutSettings
from services.checkout.ticket_jobs import ticket_jobs
from services.checkout.transfer_desk import transfer_desk
from shared.app import create_app as create
from shared.metrics import REGISTRY
from shared.wiring import DB, database, database_answers, is_admin, jobs
from shared.worker import JobHandler


def create_app(settings: CheckoutSettings) -> web.Application:
    app = create(
        settings,
        routes,
        service="checkout",
        checks={"firestore": database_answers},
        health={"stripeConfigured": settings.stripe_secret is not None},
        is_admin_uid=is_admin,
        contexts=(database, payments, mailer, mirror, transfer_desk, jobs(_jobs), _sweeping),
    )
    app[CHECKOUT_SETTINGS] = settings
    app[CHECKOUT_METRICS] = CheckoutMetrics(app[REGISTRY])
    return app


async def _sweeping(app: web.Application) -> AsyncIterator[None]:
    """Looks for what was left behind, where there is a Stripe to ask about it."""
    if PAYMENTS not in app:
        yield
        return
    task = asyncio.create_task(sweeper_of(app).serve(), name="sweeper")
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _jobs(app: web.Application) -> Mapping[str, JobHandler]:
    notices = refunds.RefundNotices(app[DB], app[MAILER])
    handlers: dict[str, JobHandler] = {
        **receipt_jobs(app),
        customers.MIRROR: handler_of(app),
        refund_rules.NOTICE: notices.run,
        **ticket_jobs(app),
    }
    return handlers | (_money_jobs(app) if PAYMENTS in app else {})


def _money_jobs(app: web.Application) -> dict[str, JobHandler]:
    reactions = reactions_of(app)
    return {
        holds.EXPIRY: reactions.settle,
        webhook.SETTLE: reactions.settle,
        webhook.SYNC: reactions.sync,
        webhook.DISPUTE: reactions.dispute,
        refund_rules.EXECUTE: refunds_of(app).run,
        sweeper.SWEEP: sweeper_of(app).run,
    }
