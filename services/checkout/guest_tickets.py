"""Finds what guests with an address have bought, over all events, and hands it over event by event."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from services.checkout.addresses import spellings
from services.checkout.guest_claims import Account, ClaimedBatch, ClaimGuestTickets
from shared.documents import Rager
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Operator, Query
from shared.operations import Value

_PAGE: Final = 100
_AT_ONCE: Final = 50
"""Batches of one event that one commit hands over: each writes up to six documents."""


async def claim_guest_tickets(
    database: Database, committer: Committer, account: Account, now: datetime
) -> Sequence[ClaimedBatch]:
    """What was handed over now; the same again finds nothing left to hand over."""
    claimed: list[ClaimedBatch] = []
    found = await _bought_by(database, account.email)
    for event_id, ragers in _by_event(rager for rager in found if rager.user_id is None).items():
        for start in range(0, len(ragers), _AT_ONCE):
            operation = ClaimGuestTickets(account, event_id, ragers[start : start + _AT_ONCE], now)
            claimed.extend(await committer.run(operation))
    return claimed


async def _bought_by(database: Database, email: str) -> Collection[Rager]:
    """A guest's batches. Older ones are found only as their address was typed, or in lower case."""
    lower, typed = Rager.stored_name("guest_email_lower"), Rager.stored_name("guest_email")
    wheres: list[tuple[str, Operator, Value]] = [(lower, "==", email.lower()), (typed, "in", spellings(email))]
    found: dict[str, Rager] = {}
    for where in wheres:
        async for page in database.pages(Query("ragers", where=[where], group=True), _PAGE):
            found |= {document.path: rager for document in page if (rager := Rager.of(document))}
    return found.values()


def _by_event(ragers: Iterable[Rager]) -> Mapping[str, list[Rager]]:
    events: defaultdict[str, list[Rager]] = defaultdict(list)
    for rager in ragers:
        if rager.path.startswith("events/"):
            events[rager.event_id].append(rager)
    return events
