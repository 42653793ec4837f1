"""What happened to orders."""

from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter


class CheckoutMetrics:
    """Labels are outcomes, never ids."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.payments = Counter("checkout_payments_started", "PaymentIntents created", registry=registry)
        self.orders = Counter(
            "checkout_orders", "Orders finalized, by what came of them", ["status", "replayed"], registry=registry
        )
        self.tickets = Counter("checkout_tickets", "Tickets created", registry=registry)


CHECKOUT_METRICS: Final = web.AppKey("checkout_metrics", CheckoutMetrics)
