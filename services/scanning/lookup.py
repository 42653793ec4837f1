"""Finds the documents that a scan is about. What is found are candidates: the operation reads them again."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from services.scanning.asking import Method, Ticket
from services.scanning.holding import bears
from shared.documents import Rager, TicketToken
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Document

_HOLDER: Final = Rager.stored_name("user_id")
_TOKEN: Final = Rager.stored_name("ticket_token")
MAX_RAGERS: Final = 300
"""Of one user for one event that one scan looks at: far more than anybody buys, and no more than a commit can read."""


async def find(database: Database, method: Method, key: str, event_id: str | None) -> Ticket | None:
    """One round trip, two where a token has no mapping. ``event_id`` is not asked of a token."""
    match method:
        case "token":
            return await by_token(database, key)
        case "rager":
            return named(event_id or "", key, None)
        case "user":
            return await by_user(database, event_id or "", key)


def named(event_id: str, rager_id: str, user_id: str | None) -> Ticket:
    return Ticket(event_id, rager_id, user_id, (rager_id,), complete=False)


async def by_token(database: Database, token: str) -> Ticket | None:
    return of_mapping(await database.get(paths.ticket_token(token))) or await unmapped(database, token)


def of_mapping(document: Document) -> Ticket | None:
    mapping = TicketToken.of(document)
    if mapping is None or not (paths.is_document_id(mapping.event_id) and paths.is_document_id(mapping.rager_id)):
        return None
    return named(mapping.event_id, mapping.rager_id, mapping.user_id)


async def unmapped(database: Database, token: str) -> Ticket | None:
    """A token without a mapping that leads to it: an older ticket, or one whose transfer was claimed, which deletes the
    mapping.
    """
    ragers = await bearers(database, token, limit=2)
    rager = next((rager for rager in ragers if rager.counts), ragers[0] if ragers else None)
    return named(rager.event_id, rager.id, rager.user_id) if rager else None


async def bearers(database: Database, token: str, *, limit: int) -> Sequence[Rager]:
    """Ragers of any event that have this token, refunded and transferred ones too."""
    found = await database.query(Query("ragers", where=[(_TOKEN, "==", token)], group=True, limit=limit))
    return [rager for document in found if (rager := Rager.of(document)) and rager.path.startswith("events/")]


async def by_user(database: Database, event_id: str, user_id: str) -> Ticket | None:
    ids = await ragers_of(database, event_id, user_id)
    return Ticket(event_id, None, user_id, tuple(ids), complete=True) if ids else None


async def widened(database: Database, ticket: Ticket, user_id: str, *, all_ragers: bool) -> Ticket:
    """The same ticket with its holder, and with what else they have."""
    ids = set(ticket.rager_ids)
    if all_ragers:
        ids.update(await ragers_of(database, ticket.event_id, user_id))
    return Ticket(ticket.event_id, ticket.named, user_id, tuple(sorted(ids)), complete=all_ragers)


async def ragers_of(database: Database, event_id: str, user_id: str) -> Sequence[str]:
    query = Query(paths.ragers(event_id), where=[(_HOLDER, "==", user_id)], limit=MAX_RAGERS)
    return [document.id for document in await database.query(query)]


async def current(database: Database, method: Method, key: str, event_id: str | None) -> Ticket | None:
    """As ``find``, with the present holder, for those who decide without a transaction."""
    if method == "token":
        return (await by_tokens(database, [key]))[key]
    ticket = await find(database, method, key, event_id)
    return (await holders(database, [ticket]))[0] if ticket and ticket.named else ticket


async def holders(database: Database, tickets: Sequence[Ticket]) -> Sequence[Ticket]:
    """Tickets that name a rager, with the rager's present holder, in one read for all."""
    ragers = await _named(database, tickets)
    return [_with_holder(ticket, ragers[ticket]) for ticket in tickets]


async def by_tokens(database: Database, tokens: Collection[str]) -> Mapping[str, Ticket | None]:
    """As ``by_token`` for many, with their present holders: two reads, and a query for each whose mapping misleads."""
    found = await database.get_all(paths.ticket_token(token) for token in tokens)
    mapped = {token: ticket for token in tokens if (ticket := of_mapping(found[paths.ticket_token(token)]))}
    ragers = await _named(database, mapped.values())
    right = {
        token: _with_holder(ticket, rager)
        for token, ticket in mapped.items()
        if (rager := ragers[ticket]) and bears(rager, token)
    }
    rest = [token for token in tokens if token not in right]
    looked_up = await asyncio.gather(*(unmapped(database, token) for token in rest))
    return {**right, **dict(zip(rest, looked_up, strict=True))}


async def _named(database: Database, tickets: Collection[Ticket]) -> Mapping[Ticket, Rager | None]:
    """The ragers that the tickets name."""
    named_by = {ticket: paths.rager(ticket.event_id, ticket.named or "") for ticket in tickets}
    found = await database.get_all(named_by.values())
    return {ticket: Rager.of(found[path]) for ticket, path in named_by.items()}


def _with_holder(ticket: Ticket, rager: Rager | None) -> Ticket:
    return named(ticket.event_id, rager.id, rager.user_id) if rager else ticket
