"""A paid order becomes tickets: one operation for the whole order, with an outcome for each of its items."""

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.checkout import promos
from services.checkout.batches import NewTickets, credited, issued
from services.checkout.buyers import Buyer
from services.checkout.pricing import shares
from services.checkout.promos import Applied
from services.checkout.refund_rules import requested, total_after
from services.checkout.tally import Tally
from shared.documents import (
    AdminAlert,
    FulfilledItem,
    Fulfillment,
    Hold,
    OrderItem,
    PendingOrder,
    PromoCode,
    Purchase,
    Rager,
    Refund,
)
from shared.firestore import paths
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Merge, Put, Value, Write

RECEIPT: Final = "receipt_email"
SETTLED: Final = frozenset({"completed", "partial", "refunded"})
"""Ledger states that a replay answers from; ``processing`` and ``failed`` are taken up again."""


@dataclass(frozen=True, slots=True)
class PaidOrder:
    """An order whose payment has succeeded. ``amount`` is in minor units."""

    payment_intent_id: str
    buyer: Buyer
    user_email: str | None
    amount: int
    currency: str
    items: Sequence[OrderItem]
    address: Mapping[str, Value] | None = None
    refunded: int = 0
    """What has gone back already, in Stripe's dashboard."""
    promo: Applied | None = None

    @property
    def number(self) -> str:
        """The order's number, which follows from the payment, so that every attempt at it gives the same."""
        digest = hashlib.sha256(self.payment_intent_id.encode()).digest()
        return "ORD-" + base64.b32encode(digest)[:12].decode()

    @property
    def returned(self) -> bool:
        """Whether the whole payment has gone back already, so that there is nothing to be had for it."""
        return 0 < self.amount <= self.refunded

    @property
    def receipt_to(self) -> str | None:
        return self.user_email or self.buyer.email


@dataclass(frozen=True, slots=True)
class Fulfilled:
    """What came of an order. ``replayed``: it had been fulfilled before, and nothing happened now."""

    ledger: Fulfillment
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class FulfilOrder:
    """Ledger, inventory, hold, ragers, tokens, summaries, purchases, refunds of what is not to be had, and the jobs
    that tell the buyer and Stripe, in one commit.
    """

    order: PaidOrder
    tickets: Sequence[NewTickets]
    """One for each item."""
    now: datetime

    @property
    def lane(self) -> str:
        return min(item.event_id for item in self.order.items)

    @property
    def _ledger_path(self) -> str:
        return paths.fulfillment(self.order.payment_intent_id)

    @property
    def _pending_path(self) -> str:
        return paths.pending_order(self.order.payment_intent_id)

    @property
    def _hold_path(self) -> str:
        return paths.hold(self.order.payment_intent_id)

    def reads(self) -> Sequence[str]:
        events = (paths.event(item.event_id) for item in self.order.items)
        promo = (self.order.promo.path,) if self.order.promo else ()
        return (self._ledger_path, self._pending_path, self._hold_path, *events, *promo)

    def decide(self, docs: Documents) -> Decision[Fulfilled]:
        earlier = Fulfillment.of(docs[self._ledger_path])
        if earlier is not None and earlier.status in SETTLED:
            return self._replay(earlier)
        events = {item.event_id: docs[paths.event(item.event_id)] for item in self.order.items}
        promo = PromoCode.of(docs[self.order.promo.path]) if self.order.promo else None
        tally = Tally(events, Hold.of(docs[self._hold_path]), promo)
        if earlier is not None:
            tally.resume(earlier.details, earlier.errors)
        for place, (item, tickets) in enumerate(zip(self.order.items, self.tickets, strict=True)):
            if not tally.had(item):
                self._fulfil(place, item, tickets, tally)
        refunds = () if self.order.returned else self._refunds(tally)
        ledger = self._ledger(tally, refunds, earlier)
        pending = docs[self._pending_path].exists
        records = self._records(ledger, refunds, pending=pending)
        return Decision(Fulfilled(ledger), (*tally.inventory(), *tally.writes, *records))

    def _replay(self, ledger: Fulfillment) -> Decision[Fulfilled]:
        """The order as it was fulfilled. Whoever came first may not have known where to send the receipt."""
        to = self.order.receipt_to
        if to is None or not ledger.details or ledger.user_email or ledger.email:
            return Decision(Fulfilled(ledger, replayed=True))
        known = replace(ledger, user_email=to)
        writes = (Merge(ledger.path, Fulfillment.patch(user_email=to)), self._receipt())
        return Decision(Fulfilled(known, replayed=True), writes)

    def _fulfil(self, place: int, item: OrderItem, tickets: NewTickets, tally: Tally) -> None:
        if self.order.returned:
            tally.refuse(place, item, "refunded", "The payment had been refunded.")
            return
        if promos.spent(tally.promo, tally.hold):
            tally.refuse(place, item, "promo_exhausted", "The promo code had been used up.")
            return
        if tally.events[item.event_id] is None:
            tally.refuse(place, item, "unknown_event", "The event does not exist.")
            return
        left = tally.left[item.event_id] - item.quantity
        if left < 0:
            tally.refuse(place, item, "sold_out", f"{max(0, left + item.quantity)} tickets were left.")
            return
        tally.left[item.event_id] = left
        owed = shares(self.order.items, self.order.amount)[place]
        tally.details.append(FulfilledItem(item.event_id, tickets.rager_id, item.quantity, left, owed))
        tally.writes.extend(self._batch(item, tickets))

    def _batch(self, item: OrderItem, tickets: NewTickets) -> Iterator[Write]:
        rager = Rager(
            path=paths.rager(item.event_id, tickets.rager_id),
            user_id=self.order.buyer.user_id,
            email=self.order.receipt_to,
            guest_email=self.order.buyer.guest_email,
            guest_email_lower=(self.order.buyer.guest_email or "").lower() or None,
            owner=self.order.buyer.name,
            ticket_quantity=item.quantity,
            ticket_token=tickets.token,
            ticket_type=item.ticket_type,
            purchase_date=self.now,
            order_number=self.order.number,
            payment_intent_id=self.order.payment_intent_id,
            updated_at=self.now,
        )
        yield from issued(rager, self.now)
        if rager.user_id:
            yield credited(item.event_id, rager.user_id, item.quantity, self.now)

    def _refunds(self, tally: Tally) -> Sequence[Refund]:
        """One for each item that is not to be had and cost something, as far as it has not gone back already."""
        order, refunds = self.order, list[Refund]()
        owed, left = shares(order.items, order.amount), order.amount - order.refunded
        for place, error in zip(tally.unpaid, tally.errors[-len(tally.unpaid) :], strict=True):
            amount = min(owed[place], left)
            left -= amount
            if amount:
                path = paths.refund(order.payment_intent_id, f"item-{place}")
                reason = error.code
                refunds.append(Refund(path, amount, order.currency, automatic=True, reason=reason, created_at=self.now))
        return refunds

    def _ledger(self, tally: Tally, refunds: Sequence[Refund], earlier: Fulfillment | None) -> Fulfillment:
        order = self.order
        total = earlier.refund if earlier else None
        for refund in refunds:
            total = total_after(total, refund, None)
        return Fulfillment(
            path=self._ledger_path,
            status="refunded" if not tally.details else "partial" if tally.errors else "completed",
            user_id=order.buyer.user_id,
            guest_email=order.buyer.guest_email,
            email=order.buyer.email,
            user_email=order.user_email,
            user_name=order.buyer.name,
            amount=order.amount,
            currency=order.currency,
            order_number=order.number,
            created_tickets=sum(detail.qty for detail in tally.details),
            details=tuple(tally.details),
            errors=tuple(tally.errors),
            items=tuple(order.items),
            promo_code=order.promo.code if order.promo else None,
            discount_cents=order.promo.cents if order.promo else 0,
            attempts=(earlier.attempts if earlier else 0) + 1,
            created_at=(earlier.created_at if earlier else None) or self.now,
            completed_at=self.now,
            refund=total,
            needs_admin_review=bool(tally.errors),
        )

    def _records(self, ledger: Fulfillment, refunds: Sequence[Refund], *, pending: bool) -> Iterator[Write]:
        yield Put(ledger.path, ledger.fields())
        for refund in refunds:
            yield from requested(refund, now=self.now, due=self.now)
        if pending:
            yield Merge(self._pending_path, PendingOrder.patch(status=ledger.status))
        if ledger.errors:
            alert = _alert(ledger, self.now)
            yield Put(alert.path, alert.fields())
        if ledger.details:
            yield from _purchases(self.order, ledger, self.now)
            if self.order.receipt_to:
                yield self._receipt()

    def _receipt(self) -> Write:
        payment = self.order.payment_intent_id
        return enqueue(f"receipt-{payment}", RECEIPT, {"paymentIntentId": payment}, now=self.now)


def _purchases(order: PaidOrder, ledger: Fulfillment, now: datetime) -> Iterator[Write]:
    purchase = Purchase(
        path=paths.purchase(order.number),
        user_id=order.buyer.user_id,
        email=order.receipt_to,
        email_lower=order.receipt_to.lower() if order.receipt_to else None,
        order_number=order.number,
        payment_intent_id=order.payment_intent_id,
        amount=order.amount,
        currency=order.currency,
        items=tuple(order.items),
        status=ledger.status,
        address_details=order.address,
        date_time=now,
    )
    yield Put(purchase.path, purchase.fields())
    if order.buyer.user_id:
        yield Put(paths.customer_purchase(order.buyer.user_id, order.number), purchase.fields())


def _alert(ledger: Fulfillment, now: datetime) -> AdminAlert:
    return AdminAlert(
        path=paths.admin_alert(f"fulfillment-{ledger.id}"),
        kind="unfulfilled_items",
        message=f"Order {ledger.order_number} was paid, but {len(ledger.errors)} of its items could not be fulfilled.",
        subject=ledger.path,
        details=tuple(f"{error.qty} x {error.event_id}: {error.message}" for error in ledger.errors),
        created_at=now,
    )
