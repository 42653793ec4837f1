"""What a batch of tickets brings with it when it is made, and how summaries follow one that changes hands. Pure."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from shared.documents import Rager, Summary, TicketToken
from shared.firestore import paths
from shared.operations import Increment, Merge, Put, Write


@dataclass(frozen=True, slots=True)
class NewTickets:
    """The random parts of one batch, drawn before the decision because it may be taken more than once.

    ``token`` has 128 random bits, in hex.
    """

    rager_id: str
    token: str

    @classmethod
    def draw(cls) -> Self:
        return cls(secrets.token_hex(10), secrets.token_hex(16))


def issued(rager: Rager, now: datetime) -> Iterator[Write]:
    """A new batch and the mapping of its token. Summaries and inventory are the caller's."""
    yield Put(rager.path, rager.fields())
    yield mapped(rager, now)


def mapped(rager: Rager, now: datetime) -> Put:
    """The mapping by which the door finds the batch, with its holder."""
    token = TicketToken(paths.ticket_token(rager.ticket_token or ""), rager.event_id, rager.id, now, rager.user_id)
    return Put(token.path, token.fields())


def credited(event_id: str, user_id: str, tickets: int, now: datetime, *, used: int = 0) -> Merge:
    """A user's summary with so many tickets more (or fewer, if negative), of which so many are used."""
    changes = Summary.patch(
        total_tickets=Increment(tickets), used_count=Increment(used), last_updated=now, updated_at=now
    )
    return Merge(paths.summary(event_id, user_id), changes)
