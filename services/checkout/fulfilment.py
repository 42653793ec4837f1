"""A paid order becomes tickets: one operation for the whole order, with an outcome for each of its items."""

import base64
import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from services.checkout.buyers import Buyer
from shared.documents import (
    AdminAlert,
    Event,
    FailedItem,
    FulfilledItem,
    Fulfillment,
    OrderItem,
    PendingOrder,
    Purchase,
    Rager,
    Summary,
    TicketToken,
)
from shared.firestore import paths
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Increment, Merge, Put, Value, Write

RECEIPT: Final = "receipt_email"
SETTLED: Final = frozenset({"completed", "partial", "refunded"})
"""Ledger states that a replay answers from; ``processing`` and ``failed`` are taken up again."""


@dataclass(frozen=True, slots=True)
class NewTickets:
    """The random parts of one item's batch, drawn before the decision because it may be taken more than once.

    ``token`` has 128 random bits, in hex.
    """

    rager_id: str
    token: str

    @classmethod
    def draw(cls) -> Self:
        return cls(secrets.token_hex(10), secrets.token_hex(16))


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

    @property
    def number(self) -> str:
        """The order's number, which follows from the payment, so that every attempt at it gives the same."""
        digest = hashlib.sha256(self.payment_intent_id.encode()).digest()
        return "ORD-" + base64.b32encode(digest)[:12].decode()

    @property
    def receipt_to(self) -> str | None:
        return self.user_email or self.buyer.email


@dataclass(frozen=True, slots=True)
class Fulfilled:
    """What came of an order. ``replayed``: it had been fulfilled before, and nothing happened now."""

    ledger: Fulfillment
    replayed: bool = False


@dataclass(slots=True)
class _Tally:
    """What is left of each event while the items of an order are gone through."""

    events: Mapping[str, Event | None]
    left: dict[str, int] = field(init=False)
    details: list[FulfilledItem] = field(default_factory=list)
    errors: list[FailedItem] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.left = {event_id: event.quantity for event_id, event in self.events.items() if event}

    def refuse(self, item: OrderItem, code: str, message: str) -> None:
        self.errors.append(FailedItem(item.event_id, item.quantity, code, message))


@dataclass(frozen=True, slots=True)
class FulfilOrder:
    """Ledger, inventory, ragers, tokens, summaries, purchases and the receipt's job, in one commit."""

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

    def reads(self) -> Sequence[str]:
        events = (paths.event(item.event_id) for item in self.order.items)
        return (self._ledger_path, self._pending_path, *events)

    def decide(self, docs: Documents) -> Decision[Fulfilled]:
        earlier = Fulfillment.of(docs[self._ledger_path])
        if earlier is not None and earlier.status in SETTLED:
            return Decision(Fulfilled(earlier, replayed=True))
        tally = _Tally({item.event_id: Event.of(docs[paths.event(item.event_id)]) for item in self.order.items})
        for item, tickets in zip(self.order.items, self.tickets, strict=True):
            self._fulfil(item, tickets, tally)
        ledger = self._ledger(tally, earlier)
        pending = docs[self._pending_path].exists
        return Decision(Fulfilled(ledger), (*tally.writes, *self._records(ledger, pending=pending)))

    def _fulfil(self, item: OrderItem, tickets: NewTickets, tally: _Tally) -> None:
        event = tally.events[item.event_id]
        if event is None:
            tally.refuse(item, "unknown_event", "The event does not exist.")
            return
        left = tally.left[item.event_id] - item.quantity
        if left < 0:
            tally.refuse(item, "sold_out", f"{max(0, left + item.quantity)} tickets were left.")
            return
        tally.left[item.event_id] = left
        tally.details.append(FulfilledItem(item.event_id, tickets.rager_id, item.quantity, left))
        tally.writes.extend(self._batch(item, tickets))

    def _batch(self, item: OrderItem, tickets: NewTickets) -> Iterator[Write]:
        rager = Rager(
            path=paths.rager(item.event_id, tickets.rager_id),
            user_id=self.order.buyer.user_id,
            email=self.order.receipt_to,
            guest_email=self.order.buyer.guest_email,
            owner=self.order.buyer.name,
            ticket_quantity=item.quantity,
            ticket_token=tickets.token,
            ticket_type=item.ticket_type,
            purchase_date=self.now,
            order_number=self.order.number,
            payment_intent_id=self.order.payment_intent_id,
        )
        token = TicketToken(paths.ticket_token(tickets.token), item.event_id, tickets.rager_id, self.now)
        yield Merge(paths.event(item.event_id), Event.patch(quantity=Increment(-item.quantity)))
        yield Put(rager.path, rager.fields())
        yield Put(token.path, token.fields())
        if rager.user_id:
            yield Merge(
                paths.summary(item.event_id, rager.user_id),
                Summary.patch(
                    total_tickets=Increment(item.quantity),
                    used_count=Increment(0),
                    last_updated=self.now,
                    updated_at=self.now,
                ),
            )

    def _ledger(self, tally: _Tally, earlier: Fulfillment | None) -> Fulfillment:
        order = self.order
        return Fulfillment(
            path=self._ledger_path,
            status="failed" if not tally.details else "partial" if tally.errors else "completed",
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
            attempts=(earlier.attempts if earlier else 0) + 1,
            created_at=(earlier.created_at if earlier else None) or self.now,
            completed_at=self.now,
            needs_admin_review=bool(tally.errors),
        )

    def _records(self, ledger: Fulfillment, *, pending: bool) -> Iterator[Write]:
        order = self.order
        yield Put(ledger.path, ledger.fields())
        if pending:
            yield Merge(self._pending_path, PendingOrder.patch(status=ledger.status))
        if ledger.errors:
            alert = _alert(ledger, self.now)
            yield Put(alert.path, alert.fields())
        if not ledger.details:
            return
        yield from _purchases(order, ledger, self.now)
        if order.receipt_to:
            payload = {"paymentIntentId": order.payment_intent_id}
            yield enqueue(f"receipt-{order.payment_intent_id}", RECEIPT, payload, now=self.now)


def _purchases(order: PaidOrder, ledger: Fulfillment, now: datetime) -> Iterator[Write]:
    purchase = Purchase(
        path=paths.purchase(order.number),
        user_id=order.buyer.user_id,
        email=order.receipt_to,
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
