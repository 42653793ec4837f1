"""A scan from its ask to its answer."""

from dataclasses import replace
from typing import Final

from services.scanning.admission import Admission, LookAgain, OtherToken, RecordedIn
from services.scanning.asking import Ask, Ticket
from services.scanning.lookup import find, unmapped, widened
from services.scanning.verdict import Answer
from shared.errors import Unavailable
from shared.firestore.client import Database
from shared.firestore.committer import Committer

_LOOKS: Final = 6
"""A ticket may change hands between lookup and commit; more often than this it does not."""


async def scan(database: Database, committer: Committer, ask: Ask) -> Answer:
    """Three round trips in the ordinary case: find the ticket, read under the transaction, commit.

    Raises ScanIdReused, or Unavailable when the database is.
    """
    return await admit(database, committer, ask, await find(database, ask.method, ask.key, ask.event_id))


async def admit(database: Database, committer: Committer, ask: Ask, ticket: Ticket | None) -> Answer:
    """The scan of a ticket that has been looked up."""
    for _ in range(_LOOKS):
        outcome = await committer.run(Admission(ask, ticket))
        match outcome:
            case Answer():
                return outcome
            case LookAgain():
                ticket = await widened(database, outcome.ticket, outcome.user_id, all_ragers=outcome.all_ragers)
            case OtherToken():
                ticket = await unmapped(database, ask.key)
            case RecordedIn():
                ask = replace(ask, event_id=outcome.event_id)
    raise Unavailable("This ticket is changing hands right now. Please scan it again.")
