"""Stripe's events."""

from datetime import UTC, datetime

import structlog
from aiohttp import web

from services.checkout.metrics import CHECKOUT_METRICS
from services.checkout.payments import StripeDisabled, stripe_of
from services.checkout.settings import CHECKOUT_SETTINGS
from services.checkout.webhook import KINDS, BadEvent, BadSignature, Received, TakeIn
from shared.http import Routes
from shared.wiring import COMMITTER

routes = Routes()
log = structlog.get_logger()


@routes.raw("POST", "/stripe/webhook", proxy_key=False, refusals=[BadSignature, BadEvent, StripeDisabled])
async def stripe_webhook(request: web.Request) -> web.Response:
    """Take in a signed event of Stripe's. Answers 5xx when it could not be kept, so that Stripe sends it again."""
    app = request.app
    secrets = app[CHECKOUT_SETTINGS].stripe_webhook_secrets
    if not secrets:
        raise StripeDisabled("Webhooks are not available.", message="STRIPE_WEBHOOK_SECRET is not set.")
    event = Received.verified(await request.read(), request.headers.get("stripe-signature", ""), secrets)
    outcome = "ignored"
    if event.type in KINDS and event.live == stripe_of(app).live:
        new = await app[COMMITTER].run(TakeIn(event, datetime.now(UTC)))
        outcome = "taken_in" if new else "known"
    app[CHECKOUT_METRICS].webhooks.labels(event.type if event.type in KINDS else "other", outcome).inc()
    return web.json_response({"received": True, "type": event.type})
