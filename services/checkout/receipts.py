"""The receipt: what was bought, and a QR code for each batch of tickets. Sent by a job, once an order."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import resend

from services.checkout.calendar import invitation
from services.checkout.door_codes import qr_code
from services.checkout.letters import Letter, attachment, money
from services.checkout.mail import PROVIDER, Mailer
from shared.documents import Event, Fulfillment, Rager
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
    line: str
    """What it cost, as text; empty where that is not known."""


@dataclass(frozen=True, slots=True)
class Receipt:
    order: Fulfillment
    to: str
    batches: Sequence[Batch]


def letter_of(receipt: Receipt) -> Letter:
    """The mail with its parts: QR codes, shown in the HTML, and calendar entries. Takes milliseconds of CPU a code."""
    return Letter(
        "receipt",
        receipt.to,
        f"Your tickets: order {receipt.order.order_number}",
        {"receipt": receipt},
        [*(qr_code(batch.rager, batch.content_id) for batch in receipt.batches), *_invitations(receipt.batches)],
    )


def _invitations(batches: Sequence[Batch]) -> Sequence[resend.Attachment]:
    events = {batch.event.id: batch.event for batch in batches if batch.event.starts_at}
    return [
        attachment(f"event-{number}.ics", invitation(event).encode(), "text/calendar")
        for number, event in enumerate(events.values(), 1)
    ]


@dataclass(frozen=True, slots=True)
class Receipts:
    """Sends receipts."""

    database: Database
    mailer: Mailer

    async def run(self, run: Run) -> Sequence[Write]:
        """The job: payload ``paymentIntentId``."""
        path = paths.fulfillment(str((run.job.payload or {})["paymentIntentId"]))
        order = Fulfillment.of(await self.database.get(path))
        to = order and (order.user_email or order.email or order.guest_email)
        if order is None or not to or order.email_sent_at:
            return ()
        receipt = await self._receipt(order, to)
        letter = await asyncio.to_thread(letter_of, receipt)
        message_id = await self.mailer.send(letter, run.idempotency_key)
        sent = Fulfillment.patch(email_sent_at=datetime.now(UTC), email_provider=PROVIDER, email_message_id=message_id)
        return (Merge(path, sent),)

    async def _receipt(self, order: Fulfillment, to: str) -> Receipt:
        wanted = [
            (paths.event(detail.event_id), paths.rager(detail.event_id, detail.rager_id)) for detail in order.details
        ]
        documents = await self.database.get_all([path for pair in wanted for path in pair])
        costs = _costs(order)
        batches = []
        for number, (event_path, rager_path) in enumerate(wanted, 1):
            event, rager = Event.of(documents[event_path]), Rager.of(documents[rager_path])
            if event and rager:
                batches.append(Batch(event, rager, f"ticket-{number}", costs.get((event.id, rager.ticket_type), "")))
        return Receipt(order, to, batches)


def _costs(order: Fulfillment) -> Mapping[tuple[str, str | None], str]:
    return {
        (item.event_id, item.ticket_type): f"{item.quantity} x {money(item.unit_cents, order.currency)}"
        for item in order.items
    }
