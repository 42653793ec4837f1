"""From a cart to a PaymentIntent: priced by the server, remembered as it is to be paid for."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from stripe.params import PaymentIntentCreateParams

from services.checkout.buyers import Buyer
from services.checkout.payments import Payment, Payments
from services.checkout.pricing import CURRENCY, CartItem, Price, check_amount, check_available, price
from shared.documents import Event, PendingOrder
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.operations import Decision, Documents, Put, Value


@dataclass(frozen=True, slots=True)
class Order:
    """What a buyer asks to pay for. ``amount`` is what the browser showed, in minor units."""

    buyer: Buyer
    cart: Sequence[CartItem]
    amount: int | None
    address: Mapping[str, Value] | None


@dataclass(frozen=True, slots=True)
class RememberOrder:
    """Store the priced cart under its payment; the order itself is the marker."""

    order: PendingOrder

    @property
    def lane(self) -> str:
        return self.order.path

    def reads(self) -> Sequence[str]:
        return (self.order.path,)

    def decide(self, docs: Documents) -> Decision[None]:
        if docs[self.order.path].exists:  # the same idempotency key again: the cart is the same, Stripe saw to that
            return Decision(None)
        return Decision(None, (Put(self.order.path, self.order.fields()),))


async def events_of(database: Database, event_ids: Iterable[str]) -> Mapping[str, Event]:
    """The events by id; those that do not exist are left out."""
    found = await database.get_all(paths.event(event_id) for event_id in event_ids)
    return {event.id: event for document in found.values() if (event := Event.of(document))}


@dataclass(frozen=True, slots=True)
class Till:
    """Where orders are started."""

    database: Database
    committer: Committer
    payments: Payments
    tax_percent: Decimal

    async def price(self, cart: Sequence[CartItem]) -> tuple[Price, Mapping[str, Event]]:
        events = await events_of(self.database, (item.event_id for item in cart))
        return price(cart, events, self.tax_percent), events

    async def start(self, order: Order, *, idempotency_key: str | None, now: datetime) -> Payment:
        """The payment to be made; raises a refusal of pricing or payments, and nothing is written then."""
        priced, events = await self.price(order.cart)
        check_amount(order.amount, priced)
        check_available(priced.items, events)
        payment = await self.payments.create_intent(_intent(order, priced), idempotency_key)
        await self.committer.run(RememberOrder(_remembered(order, priced, payment, now)))
        return payment


def _intent(order: Order, priced: Price) -> PaymentIntentCreateParams:
    params: PaymentIntentCreateParams = {
        "amount": priced.amount,
        "currency": CURRENCY,
        "automatic_payment_methods": {"enabled": True},
        "metadata": {**order.buyer.metadata(), "cart": _fingerprint(priced)},
    }
    if order.buyer.email:
        params["receipt_email"] = order.buyer.email
    return params


def _fingerprint(priced: Price) -> str:
    """Makes Stripe refuse an idempotency key that comes again with another cart of the same amount."""
    lines = [[item.event_id, item.ticket_type, item.quantity, item.unit_cents] for item in priced.items]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:32]


def _remembered(order: Order, priced: Price, payment: Payment, now: datetime) -> PendingOrder:
    return PendingOrder(
        path=paths.pending_order(payment.id),
        user_id=order.buyer.user_id,
        guest_email=order.buyer.guest_email,
        email=order.buyer.email,
        name=order.buyer.name,
        amount=payment.amount,
        currency=payment.currency,
        items=priced.items,
        address_details=order.address,
        created_at=now,
    )
