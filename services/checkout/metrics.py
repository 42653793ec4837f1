"""What happened to orders."""

from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge


class CheckoutMetrics:
    """Labels are outcomes, never ids."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.payments = Counter("checkout_payments_started", "PaymentIntents created", registry=registry)
        self.orders = Counter(
            "checkout_orders", "Orders finalized, by what came of them", ["status", "replayed"], registry=registry
        )
        self.webhooks = Counter(
            "checkout_webhook_events",
            "Events of Stripe's, by type and what became of them",
            ["type", "outcome"],
            registry=registry,
        )
        self.paid_unfulfilled = Gauge(
            "checkout_paid_unfulfilled", "Payments with neither tickets nor a refund on its way", registry=registry
        )
        self.undecided_seconds = Gauge(
            "checkout_undecided_oldest_seconds", "Age of the oldest order that nothing has come of", registry=registry
        )
        self.paid_unfulfilled_seconds = Gauge(
            "checkout_paid_unfulfilled_oldest_seconds", "Age of the oldest of them", registry=registry
        )
        self.tickets = Counter("checkout_tickets", "Tickets created", registry=registry)
        self.transfers = Counter(
            "checkout_transfers", "Transfers, by what became of them", ["outcome"], registry=registry
        )


CHECKOUT_METRICS: Final = web.AppKey("checkout_metrics", CheckoutMetrics)
