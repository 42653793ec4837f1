"""The receipt: what was bought and what it cost, and a QR code for each batch of tickets that is still the buyer's."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import resend

from services.checkout.calendar import invitation
from services.checkout.door_codes import qr_code
from services.checkout.letters import Letter, attachment
from services.checkout.mail import PROVIDER, Mailer
from shared.documents import Event, Fulfillment, OrderItem, Rager
from shared.firestore import paths
from shared.firestore.client import Database
from shared.operations import Merge, Write
from shared.worker import Run


@dataclass(frozen=True, slots=True)
class Batch:
    """One rager on the receipt."""

    event: Event
    rager: Rager
    content_id: str

    @property
    def admits(self) -> bool:
        """Whether its code is the buyer's to show: not after a refund, nor when somebody else has the tickets now."""
        return self.rager.active and self.rager.counts

    @property
    def remark(self) -> str:
        """What became of tickets that admit nobody."""
        if self.rager.refunded_at:
            return "Refunded"
        return "Given to somebody else" if self.rager.transferred else "Not valid"


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    quantity: int
    cents: int


@dataclass(frozen=True, slots=True)
class Receipt:
    order: Fulfillment
    to: str
    batches: Sequence[Batch]

    @property
    def codes(self) -> Sequence[Batch]:
        return [batch for batch in self.batches if batch.admits]

    @property
    def lines(self) -> Sequence[Line]:
        names = {batch.event.id: batch.event.name for batch in self.batches}
        return [
            Line(_title(item, names.get(item.event_id)), item.quantity, item.quantity * item.unit_cents)
            for item in self.order.items
        ]

    @property
    def extras(self) -> Mapping[str, int]:
        """What lies between the lines and the total (minor units); the rest, which is tax, only if it adds up."""
        order = self.order
        tax = order.amount + order.discount_cents - sum(line.cents for line in self.lines)
        label = f"Discount ({order.promo_code})" if order.promo_code else "Discount"
        amounts = {label: -order.discount_cents, "Tax": tax if order.items else 0}
        return {name: cents for name, cents in amounts.items() if cents} if tax >= 0 else {}

    @property
    def refunded(self) -> int:
        return self.order.refund.amount if self.order.refund else 0


def _title(item: OrderItem, event_name: str | None) -> str:
    name = item.title or event_name or "Event"
    return f"{name}, {item.ticket_type}" if item.ticket_type else name


def letter_of(receipt: Receipt) -> Letter:
    """The mail with its parts: QR codes, shown in the HTML, and calendar entries. Takes milliseconds of CPU a code."""
    codes = [qr_code(batch.rager, batch.content_id) for batch in receipt.codes]
    number = receipt.order.order_number
    subject = f"Your tickets: order {number}" if codes else f"Your order {number}"
    return Letter("receipt", receipt.to, subject, {"receipt": receipt}, [*codes, *_invitations(receipt.codes)])


def _invitations(batches: Sequence[Batch]) -> Sequence[resend.Attachment]:
    events = {batch.event.id: batch.event for batch in batches if batch.event.starts_at}
    return [
        attachment(f"event-{number}.ics", invitation(event).encode(), "text/calendar")
        for number, event in enumerate(events.values(), 1)
    ]


def address_of(order: Fulfillment) -> str | None:
    """Where an order's mails go."""
    return order.user_email or order.email or order.guest_email


@dataclass(frozen=True, slots=True)
class Receipts:
    """Sends receipts."""

    database: Database
    mailer: Mailer

    async def run(self, run: Run) -> Sequence[Write]:
        """The job: payload ``paymentIntentId``. Once an order, however often it runs."""
        path = paths.fulfillment(str((run.job.payload or {})["paymentIntentId"]))
        order = Fulfillment.of(await self.database.get(path))
        to = address_of(order) if order else None
        if order is None or to is None or order.email_sent_at:
            return ()
        return [noted(path, await self.send(order, to, run.idempotency_key))]

    async def send(self, order: Fulfillment, to: str, key: str) -> str | None:
        """The message's id, None if it was sent before and has changed since. The same key never sends twice."""
        receipt = Receipt(order, to, await self._batches(order))
        return await self.mailer.send(await asyncio.to_thread(letter_of, receipt), key)

    async def _batches(self, order: Fulfillment) -> Sequence[Batch]:
        wanted = [
            (paths.event(detail.event_id), paths.rager(detail.event_id, detail.rager_id)) for detail in order.details
        ]
        documents = await self.database.get_all([path for pair in wanted for path in pair])
        batches = []
        for number, (event_path, rager_path) in enumerate(wanted, 1):
            rager = Rager.of(documents[rager_path])
            if rager is not None:
                event = Event.of(documents[event_path]) or Event(event_path)
                batches.append(Batch(event, rager, f"ticket-{number}"))
        return batches


def noted(ledger_path: str, message_id: str | None) -> Write:
    """That the order's mail was sent. Without a message's id it was not just now, but before it was noted anywhere."""
    sent = Fulfillment.patch(email_sent_at=datetime.now(UTC), email_provider=PROVIDER, email_message_id=message_id)
    return Merge(ledger_path, sent)
