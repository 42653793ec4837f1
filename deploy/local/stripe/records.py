"""The account's records as Stripe shows them: https://docs.stripe.com/api.

A record's fields are the ones that vary here; ``CONSTANT`` are those that this simulator never changes, ``HIDDEN`` are
its own. Times are Unix seconds, amounts minor units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

API_VERSION = "2026-10-28.endive"
"""The version that the pinned client speaks and that events carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    KIND: ClassVar[str]
    PREFIX: ClassVar[str]
    CONSTANT: ClassVar[Mapping[str, object]] = {}
    HIDDEN: ClassVar[frozenset[str]] = frozenset()
    LINKS: ClassVar[Mapping[str, str]] = {}
    """Fields that hold another record's id and can be expanded, with that record's kind."""

    id: str
    created: int

    def stored(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def render(self) -> dict[str, Any]:
        shown = {name: value for name, value in self.stored().items() if name not in self.HIDDEN}
        return {"id": self.id, "object": self.KIND, "livemode": False, **self.CONSTANT, **shown}


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer(Record):
    KIND = "customer"
    PREFIX = "cus"
    CONSTANT: ClassVar = {
        "balance": 0,
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "tax_exempt": "none",
    }

    email: str | None = None
    name: str | None = None
    description: str | None = None
    phone: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentIntent(Record):
    KIND = "payment_intent"
    PREFIX = "pi"
    CONSTANT: ClassVar = {
        "amount_capturable": 0,
        "application": None,
        "application_fee_amount": None,
        "capture_method": "automatic_async",
        "confirmation_method": "automatic",
        "on_behalf_of": None,
        "payment_method_options": {},
        "payment_method_types": ["card"],
        "processing": None,
        "review": None,
        "setup_future_usage": None,
        "statement_descriptor": None,
        "transfer_data": None,
        "transfer_group": None,
    }
    HIDDEN: ClassVar = frozenset({"card"})
    LINKS: ClassVar = {"customer": "customer", "latest_charge": "charge"}

    amount: int
    currency: str
    client_secret: str
    status: str = "requires_payment_method"
    amount_received: int = 0
    automatic_payment_methods: dict[str, Any] | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    customer: str | None = None
    description: str | None = None
    last_payment_error: dict[str, Any] | None = None
    latest_charge: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    next_action: dict[str, Any] | None = None
    payment_method: str | None = None
    receipt_email: str | None = None
    shipping: dict[str, Any] | None = None
    statement_descriptor_suffix: str | None = None
    card: str | None = None
    """The test payment method that was given, which decides what becomes of the payment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge(Record):
    KIND = "charge"
    PREFIX = "ch"
    CONSTANT: ClassVar = {
        "application_fee": None,
        "balance_transaction": None,
        "fraud_details": {},
        "on_behalf_of": None,
        "receipt_number": None,
        "receipt_url": None,
        "review": None,
        "transfer_group": None,
    }
    HIDDEN: ClassVar = frozenset({"card"})
    LINKS: ClassVar = {"customer": "customer", "payment_intent": "payment_intent"}

    amount: int
    currency: str
    status: str
    paid: bool
    captured: bool
    amount_captured: int
    payment_intent: str
    payment_method: str
    payment_method_details: dict[str, Any]
    amount_refunded: int = 0
    billing_details: dict[str, Any] = field(default_factory=dict)
    customer: str | None = None
    description: str | None = None
    disputed: bool = False
    failure_code: str | None = None
    failure_message: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    outcome: dict[str, Any] | None = None
    receipt_email: str | None = None
    refunded: bool = False
    shipping: dict[str, Any] | None = None
    card: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund(Record):
    KIND = "refund"
    PREFIX = "re"
    CONSTANT: ClassVar = {
        "balance_transaction": None,
        "destination_details": {"type": "card", "card": {"type": "refund", "reference_status": "pending"}},
        "receipt_number": None,
        "source_transfer_reversal": None,
        "transfer_reversal": None,
    }
    LINKS: ClassVar = {"charge": "charge", "payment_intent": "payment_intent"}

    amount: int
    currency: str
    charge: str
    payment_intent: str
    status: str
    reason: str | None = None
    failure_reason: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute(Record):
    KIND = "dispute"
    PREFIX = "dp"
    CONSTANT: ClassVar = {"balance_transactions": [], "evidence": {}, "is_charge_refundable": False}
    LINKS: ClassVar = {"charge": "charge", "payment_intent": "payment_intent"}

    amount: int
    currency: str
    charge: str
    payment_intent: str
    reason: str
    status: str = "needs_response"
    evidence_details: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Record):
    KIND = "event"
    PREFIX = "evt"
    CONSTANT: ClassVar = {"api_version": API_VERSION}

    type: str
    data: dict[str, Any]
    pending_webhooks: int
    request: dict[str, str | None]


KINDS: Mapping[str, type[Record]] = {cls.KIND: cls for cls in (Customer, PaymentIntent, Charge, Refund, Dispute, Event)}
