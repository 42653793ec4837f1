"""The mail that brings one batch of tickets to its holder: a code for the door and the event for their calendar."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.checkout.calendar import invitation
from services.checkout.door_codes import qr_code
from services.checkout.letters import Letter, attachment
from services.checkout.mail import Mailer
from shared.documents import Event, Rager
from shared.firestore import paths
from shared.firestore.client import Database
from shared.operations import Write
from shared.worker import Run

TICKETS: Final = "tickets_mail"
_CODE: Final = "ticket"


def tickets_letter(rager: Rager, event: Event, to: str) -> Letter:
    """Takes milliseconds of CPU: from a loop, call it in a thread."""
    attachments = [qr_code(rager, _CODE)]
    if event.starts_at is not None:
        attachments.append(attachment("event.ics", invitation(event).encode(), "text/calendar"))
    context = {"rager": rager, "event": event, "content_id": _CODE}
    return Letter("tickets", to, f"Your tickets for {event.name or 'an event'}", context, attachments)


@dataclass(frozen=True, slots=True)
class TicketMails:
    """Sends a batch to its holder where there is no order whose receipt would bring it."""

    database: Database
    mailer: Mailer

    async def run(self, run: Run) -> Sequence[Write]:
        """The job: payload ``eventId`` and ``ragerId``."""
        payload = run.job.payload or {}
        event_path = paths.event(str(payload["eventId"]))
        rager_path = paths.rager(str(payload["eventId"]), str(payload["ragerId"]))
        documents = await self.database.get_all([event_path, rager_path])
        event, rager = Event.of(documents[event_path]) or Event(event_path), Rager.of(documents[rager_path])
        if rager is not None and rager.email and rager.counts:
            letter = await asyncio.to_thread(tickets_letter, rager, event, rager.email)
            await self.mailer.send(letter, run.idempotency_key)
        return ()
