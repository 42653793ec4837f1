"""Gives every batch of an event a token and a mapping: page by page, again from where it stopped, safe to repeat."""

import asyncio
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from services.scanning.lookup import bearers
from services.scanning.minting import NOTHING, UNUSABLE, Mint, Minted, pointed
from services.scanning.payload import can_be_shown
from shared.documents import Rager, TicketToken
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query
from shared.operations import Document, Documents

PAGE: Final = 200
SAMPLES: Final = 20
SECONDS: Final = 25.0
"""How long one request works before it answers with a cursor: proxies do not wait for ever."""

TOKEN_BYTES: Final = 16
_SHARERS: Final = 10
"""Of one token that are looked at. Two make a dispute; refunded and transferred ones, which do not, may come first."""

_FIELDS: Final = tuple(
    Rager.stored_name(name) for name in ("ticket_token", "refunded_at", "transferred_to", "transferred_at")
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch that was, or in a dry run would be, changed, or that a person must look at. The token itself is nobody's
    to read here.
    """

    rager_id: str
    minted: Minted


@dataclass(slots=True)
class Backfilled:
    """Counts of batches. ``cursor`` is where to go on, None at the end."""

    processed: int = 0
    updated: int = 0
    mappings_created: int = 0
    mappings_repaired: int = 0
    disputed: int = 0
    unusable: int = 0
    samples: list[Sample] = field(default_factory=list)
    cursor: str | None = None

    def add(self, rager_id: str, minted: Minted) -> None:
        self.updated += minted.token_added
        self.mappings_created += minted.mapping_created
        self.mappings_repaired += minted.mapping_repaired
        self.disputed += minted.disputed
        self.unusable += minted.unusable
        if minted != NOTHING and len(self.samples) < SAMPLES:
            self.samples.append(Sample(rager_id, minted))


async def backfill(
    database: Database,
    committer: Committer,
    event_id: str,
    *,
    dry_run: bool,
    cursor: str | None = None,
    seconds: float = SECONDS,
    page_size: int = PAGE,
) -> Backfilled:
    """From ``cursor`` (a rager id) to the end, or as far as it comes in ``seconds``; at least one page."""
    until, done = time.monotonic() + seconds, Backfilled(cursor=cursor)
    ragers = Query(paths.ragers(event_id), select=_FIELDS, limit=page_size)
    while True:
        start = Document(paths.rager(event_id, done.cursor), {}) if done.cursor else None
        page = await database.query(ragers.after(start) if start else ragers)
        await _page(database, committer, page, done, dry_run=dry_run)
        done.cursor = page[-1].id if len(page) == page_size else None
        if done.cursor is None or time.monotonic() >= until:
            return done


async def _page(
    database: Database, committer: Committer, page: Sequence[Document], done: Backfilled, *, dry_run: bool
) -> None:
    """Decides on what was read, and has those that need a write decided again under their transaction."""
    done.processed += len(page)
    ragers = [rager for rager in map(Rager.of, page) if rager is not None and rager.counts]
    usable = [rager for rager in ragers if not rager.ticket_token or can_be_shown(rager.ticket_token)]
    mints = await _mints(database, usable)
    documents = await database.get_all(path for mint in mints for path in mint.reads())
    foreseen = {mint: mint.decide(Documents(documents, documents)).result for mint in mints}
    wanted = [mint for mint, minted in foreseen.items() if minted.changed and not dry_run]
    written = dict(zip(wanted, await asyncio.gather(*map(committer.run, wanted)), strict=True))
    told = {mint.rager_id: minted for mint, minted in (foreseen | written).items()}
    for rager in ragers:
        done.add(rager.id, told.get(rager.id, UNUSABLE))


async def _mints(database: Database, ragers: Sequence[Rager]) -> Sequence[Mint]:
    tokens = {rager.path: rager.ticket_token for rager in ragers if rager.ticket_token}
    mapped = await _mapped(database, tokens.values())
    astray = {token for path, token in tokens.items() if mapped[token] != path}
    bearing = dict(zip(astray, await asyncio.gather(*(_bearing(database, token) for token in astray)), strict=True))
    now = datetime.now(UTC)
    return [_mint(rager, mapped, bearing, now) for rager in ragers]


def _mint(rager: Rager, mapped: Mapping[str, str | None], bearing: Mapping[str, Sequence[str]], now: datetime) -> Mint:
    token = rager.ticket_token or None
    points_to = mapped[token] if token else None
    others = {points_to, *(bearing.get(token, ()) if token else ())} - {None, rager.path}
    return Mint(
        rager.event_id,
        rager.id,
        token=token,
        fresh=secrets.token_hex(TOKEN_BYTES),
        misled=None if points_to == rager.path else points_to,
        sharers=tuple(sorted(filter(None, others))),
        now=now,
    )


async def _mapped(database: Database, tokens: Collection[str]) -> Mapping[str, str | None]:
    """The path of the batch that each token's mapping points to, if there is one."""
    found = await database.get_all(paths.ticket_token(token) for token in tokens)
    mappings = {token: TicketToken.of(found[paths.ticket_token(token)]) for token in tokens}
    return {token: pointed(mapping) if mapping else None for token, mapping in mappings.items()}


async def _bearing(database: Database, token: str) -> Sequence[str]:
    return [rager.path for rager in await bearers(database, token, limit=_SHARERS)]
