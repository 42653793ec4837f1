"""What a scan would find, without scanning: reads only, decided by the functions that decide the scan."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.scanning.asking import Method, Ticket
from services.scanning.holding import Holding, held, reads
from services.scanning.lookup import current, widened
from services.scanning.refusals import refusal
from services.scanning.verdict import ADMITTED, TICKET_NOT_FOUND, WRONG_EVENT, Verdict
from shared.documents import Rager
from shared.firestore.client import Database
from shared.operations import Documents


@dataclass(frozen=True, slots=True)
class Preview:
    """``status`` is what a scan of one ticket would answer now, ``next`` the rager that it would consume."""

    event_id: str
    user_id: str | None
    status: str
    remaining_total: int = 0
    ragers: Sequence[Rager] = ()
    next: Rager | None = None


def foreseen(holding: Holding) -> Preview:
    taken = holding.chosen(1)
    first = next((rager for rager in holding.ragers if taken and rager.id in taken), None)
    status = ADMITTED if taken else holding.denial().status
    total = holding.remaining_total
    return Preview(holding.event_id, holding.user_id, status, total, holding.ragers, first)


async def preview(database: Database, method: Method, key: str, event_id: str | None) -> Preview:
    """At most five reads. A user without tickets is an answer; a ticket that is unknown, or for another event than the
    gate's, is refused as the scan would be.
    """
    ticket = await current(database, method, key, event_id)
    if ticket is None and method == "user" and event_id is not None:
        return Preview(event_id, key, TICKET_NOT_FOUND)
    if ticket is None:
        raise refusal(Verdict(TICKET_NOT_FOUND, event_id))
    if event_id not in {None, ticket.event_id}:
        raise refusal(Verdict(WRONG_EVENT, ticket.event_id, ticket.named))
    holding = await _holding(database, ticket)
    if not holding.ragers:
        raise refusal(Verdict(TICKET_NOT_FOUND, ticket.event_id))
    return foreseen(holding)


async def _holding(database: Database, ticket: Ticket) -> Holding:
    if ticket.named is not None and ticket.user_id is not None:
        ticket = await widened(database, ticket, ticket.user_id, all_ragers=True)
    documents = await database.get_all(reads(ticket))
    return held(ticket, Documents(documents, documents))
