"""The wiring of the checkout service."""

from collections.abc import Mapping

from aiohttp import web

from services.checkout import customers, fulfilment
from services.checkout.handlers import routes
from services.checkout.mail import MAILER, mailer
from services.checkout.metrics import CHECKOUT_METRICS, CheckoutMetrics
from services.checkout.mirror import handler_of, mirror
from services.checkout.payments import payments
from services.checkout.receipts import Receipts
from services.checkout.settings import CHECKOUT_SETTINGS, CheckoutSettings
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
        contexts=(database, payments, mailer, mirror, jobs(_jobs)),
    )
    app[CHECKOUT_SETTINGS] = settings
    app[CHECKOUT_METRICS] = CheckoutMetrics(app[REGISTRY])
    return app


def _jobs(app: web.Application) -> Mapping[str, JobHandler]:
    receipts = Receipts(app[DB], app[MAILER])
    return {fulfilment.RECEIPT: receipts.run, customers.MIRROR: handler_of(app)}
