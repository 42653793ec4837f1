"""HTTP in, HTTP out: one module a capability, gathered here."""

from services.checkout.handlers import manual, orders, promos, receipts, refunds, stripe_webhook, transfers
from shared.http import Routes

routes = Routes(
    orders.routes,
    promos.routes,
    refunds.routes,
    receipts.routes,
    stripe_webhook.routes,
    transfers.routes,
    manual.routes,
)
