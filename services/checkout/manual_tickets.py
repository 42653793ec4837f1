"""Tickets that an admin makes for somebody: out of the same inventory, with the same records as a sale. Pure."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from typing import Final

from services.checkout.batches import NewTickets, credited, issued
from services.checkout.fulfilment import RECEIPT
from services.checkout.pricing import SoldOut
from services.checkout.ticket_mails import TICKETS
from services.checkout.transfers import IdempotencyConflict
from shared.documents import Event, FulfilledItem, Fulfillment, ManualTicket, OrderItem, Purchase, Rager, stocked
from shared.errors import Conflict, NotFound
from shared.firestore import paths
from shared.jobs import enqueue
from shared.operations import Decision, Document, Documents, Put, Write

UNPAID: Final = "manual_"
"""How the ledger's names of orders begin that have no payment of Stripe's."""


class EventNotFound(NotFound):
    code = "event_not_found"


class AlreadyFulfilled(Conflict):
    """The payment has a ledger entry, so its tickets were made, or its money is on the way back."""

    code = "already_fulfilled"


class OrderNumberTaken(Conflict):
    code = "order_number_taken"


@dataclass(frozen=True, slots=True)
class ManualOrder:
    """What an admin asks for. ``price_cents`` is of one ticket; ``ledger``: the order gets an entry there, too."""

    user_id: str
    event_id: str
    qty: int
    price_cents: int
    currency: str
    email: str | None
    name: str | None
    title: str | None
    order_number: str | None
    payment_intent_id: str | None
    ledger: bool

    @property
    def amount(self) -> int:
        return self.qty * self.price_cents

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(repr(astuple(self)).encode()).hexdigest()

    @property
    def item(self) -> OrderItem:
        return OrderItem(self.event_id, self.qty, title=self.title, unit_cents=self.price_cents)


@dataclass(frozen=True, slots=True)
class CreateManualTicket:
    """``asked`` is as the admin sent it, ``order`` with what is known of the customer filled in.

    ``ticket_id`` names the marker: the same id is the same tickets.
    """

    ticket_id: str
    asked: ManualOrder
    order: ManualOrder
    tickets: NewTickets
    now: datetime

    @property
    def lane(self) -> str:
        return self.order.event_id

    @property
    def _marker_path(self) -> str:
        return paths.manual_ticket(self.ticket_id)

    @property
    def _order_number(self) -> str:
        return self.order.order_number or f"MAN-{self.ticket_id[:12].upper()}"

    @property
    def _payment(self) -> str:
        """Under which the ledger has it."""
        return self.order.payment_intent_id or f"{UNPAID}{self.ticket_id}"

    def reads(self) -> Sequence[str]:
        ledger = (paths.fulfillment(self._payment),) if self.order.ledger else ()
        return (self._marker_path, paths.event(self.order.event_id), paths.purchase(self._order_number), *ledger)

    def decide(self, docs: Documents) -> Decision[ManualTicket]:
        earlier = ManualTicket.of(docs[self._marker_path])
        if earlier is not None:
            return Decision(self._replayed(earlier))
        event = Event.of(docs[paths.event(self.order.event_id)])
        if event is None:
            raise EventNotFound("There is no such event.")
        if event.quantity < self.order.qty:
            left = {"eventId": event.id, "available": max(0, event.quantity)}
            raise SoldOut(f"Not enough tickets are left for this event: {left['available']}.", fields=left)
        if self.order.ledger and docs[paths.fulfillment(self._payment)].exists:
            raise AlreadyFulfilled("This payment has been fulfilled or refunded already.")
        purchase = self._purchase(Purchase.of(docs[paths.purchase(self._order_number)]))
        ticket = self._marker()
        writes = (
            Put(ticket.path, ticket.fields()),
            *self._batch(docs[event.path]),
            *self._records(purchase, event.quantity),
        )
        return Decision(ticket, writes)

    def _replayed(self, earlier: ManualTicket) -> ManualTicket:
        if earlier.request_hash != self.asked.fingerprint:
            raise IdempotencyConflict("This idempotency key was used for other tickets.")
        return earlier

    def _marker(self) -> ManualTicket:
        return ManualTicket(
            path=self._marker_path,
            event_id=self.order.event_id,
            rager_id=self.tickets.rager_id,
            user_id=self.order.user_id,
            qty=self.order.qty,
            order_number=self._order_number,
            payment_intent_id=self.order.payment_intent_id,
            email=self.order.email,
            request_hash=self.asked.fingerprint,
            created_at=self.now,
        )

    def _batch(self, event: Document) -> Iterator[Write]:
        order = self.order
        rager = Rager(
            path=paths.rager(order.event_id, self.tickets.rager_id),
            user_id=order.user_id,
            email=order.email,
            owner=order.name,
            ticket_quantity=order.qty,
            ticket_token=self.tickets.token,
            purchase_date=self.now,
            order_number=self._order_number,
            payment_intent_id=order.payment_intent_id,
            updated_at=self.now,
        )
        yield stocked(event, -order.qty)
        yield from issued(rager, self.now)
        yield credited(order.event_id, order.user_id, order.qty, self.now)

    def _purchase(self, earlier: Purchase | None) -> Purchase:
        """The order for the customer's history; tickets that are made for an order of theirs are added to it."""
        order = self.order
        if earlier is None:
            return Purchase(
                path=paths.purchase(self._order_number),
                user_id=order.user_id,
                email=order.email,
                email_lower=order.email.lower() if order.email else None,
                order_number=self._order_number,
                payment_intent_id=self._payment,
                amount=order.amount,
                currency=order.currency,
                items=(order.item,),
                status="completed",
                date_time=self.now,
            )
        if earlier.user_id != order.user_id:
            raise OrderNumberTaken("This order number belongs to somebody else's order.")
        return replace(earlier, amount=earlier.amount + order.amount, items=(*earlier.items, order.item))

    def _records(self, purchase: Purchase, left: int) -> Iterator[Write]:
        yield Put(purchase.path, purchase.fields())
        yield Put(paths.customer_purchase(self.order.user_id, self._order_number), purchase.fields())
        if self.order.ledger:
            ledger = self._ledger(left - self.order.qty)
            yield Put(ledger.path, ledger.fields())
        if self.order.email:
            yield self._mail()

    def _ledger(self, left: int) -> Fulfillment:
        order = self.order
        return Fulfillment(
            path=paths.fulfillment(self._payment),
            status="completed",
            user_id=order.user_id,
            email=order.email,
            user_email=order.email,
            user_name=order.name,
            amount=order.amount,
            currency=order.currency,
            order_number=self._order_number,
            created_tickets=order.qty,
            details=(FulfilledItem(order.event_id, self.tickets.rager_id, order.qty, left),),
            items=(order.item,),
            attempts=1,
            created_at=self.now,
            completed_at=self.now,
        )

    def _mail(self) -> Put:
        """The receipt where there is an order in the ledger, else the tickets alone."""
        if self.order.ledger:
            return enqueue(f"receipt-{self._payment}", RECEIPT, {"paymentIntentId": self._payment}, now=self.now)
        payload = {"eventId": self.order.event_id, "ragerId": self.tickets.rager_id}
        return enqueue(f"tickets-{self.tickets.rager_id}", TICKETS, payload, now=self.now)
