"""From a cart to a PaymentIntent: priced by the server, remembered as it is to be paid for."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from stripe.params import PaymentIntentCreateParams

from services.checkout.attempts import Attempt
from services.checkout.buyers import Buyer
from services.checkout.holds import RememberOrder, hold_for
from services.checkout.payments import Payment, Payments
from services.checkout.pricing import (
    CURRENCY,
    CartItem,
    Price,
    SoldOut,
    check_amount,
    check_available,
    discounted,
    price,
)
from services.checkout.promo_lookup import promo_of
from services.checkout.promos import Applied, InvalidPromoCode, check_usable, discount
from services.checkout.schedule import check_not_over
from services.checkout.set_aside import Shelf, check_size, owner_of
from shared.documents import Event, PendingOrder
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.operations import Value

CART: Final = "cart"
"""What a payment's metadata calls the fingerprint of its cart; it tells our payments from others of the account."""
_PROMO: Final = "promoCode"


@dataclass(frozen=True, slots=True)
class Order:
    """What a buyer asks to pay for. ``amount`` is what the browser showed, in minor units."""

    buyer: Buyer
    cart: Sequence[CartItem]
    amount: int | None
    address: Mapping[str, Value] | None
    promo_code: str | None = None
    """As it was typed."""


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
    shelf: Shelf
    hold_for: timedelta = timedelta(0)
    """How long tickets are set aside for a payment; zero sets none aside."""

    async def price(self, cart: Sequence[CartItem]) -> tuple[Price, Mapping[str, Event]]:
        events = await events_of(self.database, (item.event_id for item in cart))
        return price(cart, events, self.tax_percent), events

    async def start(self, order: Order, *, idempotency_key: str | None, now: datetime) -> Payment:
        """The payment to be made; raises a refusal of pricing, promos or payments, and nothing is written then."""
        priced, events = await self.price(order.cart)
        attempt = Attempt(order.buyer, idempotency_key, now)
        self._check_wanted(priced, events, now)
        promo = await self._promo(order, priced, attempt)
        if promo is not None:
            priced = discounted(priced, promo.cents, self.tax_percent)
        check_amount(order.amount, priced)
        await self._check_available(priced, events, promo, attempt)
        payment = await self.payments.create_intent(_intent(order, priced, promo), attempt.stripes_key)
        await self._remember(_remembered(order, priced, promo, payment, attempt), order.buyer, now)
        return payment

    async def _remember(self, order: PendingOrder, buyer: Buyer, now: datetime) -> None:
        if not self.hold_for:
            await self.committer.run(RememberOrder(order, None, now))
            return
        owner = owner_of(buyer)
        hold = replace(hold_for(order, now + self.hold_for, now), owner=owner)
        await self.committer.run(RememberOrder(order, hold, now))
        await self.shelf.trim(owner, now)

    def _check_wanted(self, priced: Price, events: Mapping[str, Event], now: datetime) -> None:
        """Raises EventPast or TooManyTickets."""
        for event in events.values():
            check_not_over(event, now)
        if self.hold_for:
            check_size(priced.items, self.shelf.most)

    async def _check_available(
        self, priced: Price, events: Mapping[str, Event], promo: Applied | None, attempt: Attempt
    ) -> None:
        """Spare Stripe the sold-out carts. An attempt that is repeated may itself hold the tickets that are missing."""
        try:
            check_available(priced.items, events)
        except SoldOut:
            if not await self._is_repeated(attempt, promo.path if promo else None):
                raise

    async def _promo(self, order: Order, priced: Price, attempt: Attempt) -> Applied | None:
        """What the buyer's code takes off. A repeated attempt may itself have the use that is missing."""
        if not order.promo_code:
            return None
        promo = await promo_of(self.database, order.promo_code)
        try:
            check_usable(promo, priced.subtotal, attempt.now)
        except InvalidPromoCode:
            if not await self._is_repeated(attempt, promo.path):
                raise
        return Applied(promo.path, promo.id, discount(promo, priced.subtotal))

    async def _is_repeated(self, attempt: Attempt, promo_path: str | None) -> bool:
        """Whether the attempt may have set something aside before."""
        return bool(self.hold_for) and await attempt.is_repeated(self.database, promo_path)


def _intent(order: Order, priced: Price, promo: Applied | None) -> PaymentIntentCreateParams:
    promised = {_PROMO: promo.code} if promo else {}
    params: PaymentIntentCreateParams = {
        "amount": priced.amount,
        "currency": CURRENCY,
        "automatic_payment_methods": {"enabled": True},
        "metadata": {**order.buyer.metadata(), CART: fingerprint(priced), **promised},
    }
    if order.buyer.email:
        params["receipt_email"] = order.buyer.email
    return params


def fingerprint(priced: Price) -> str:
    """Makes Stripe refuse an idempotency key that comes again with another cart of the same amount."""
    lines = [[item.event_id, item.ticket_type, item.quantity, item.unit_cents] for item in priced.items]
    return hashlib.sha256(json.dumps(lines).encode()).hexdigest()[:32]


def _remembered(order: Order, priced: Price, promo: Applied | None, payment: Payment, attempt: Attempt) -> PendingOrder:
    return PendingOrder(
        path=paths.pending_order(payment.id),
        user_id=order.buyer.user_id,
        guest_email=order.buyer.guest_email,
        email=order.buyer.email,
        name=order.buyer.name,
        amount=payment.amount,
        currency=payment.currency,
        items=priced.items,
        promo_code=promo.code if promo else None,
        promo_path=promo.path if promo else None,
        discount_cents=priced.discount,
        idempotency_key=attempt.key,
        address_details=order.address,
        created_at=attempt.now,
    )
