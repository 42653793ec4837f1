"""Gives every batch of an event a token and a mapping: page by page, again from where it stopped, safe to repeat."""

import asyncio
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from services.scanning.minting import Mint, Minted, pointed
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
_FIELDS: Final = tuple(
    Rager.stored_name(name) for name in ("ticket_token", "refunded_at", "transferred_to", "transferred_at")
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A batch that was, or in a dry run would be, changed. The token itself is nobody's to read here."""

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
    samples: list[Sample] = field(default_factory=list)
    cursor: str | None = None

    def add(self, rager_id: str, minted: Minted) -> None:
        self.updated += minted.token_added
        self.mappings_created += minted.mapping_created
        self.mappings_repaired += minted.mapping_repaired
        self.disputed += minted.disputed
        if (minted.changed or minted.disputed) and len(self.samples) < SAMPLES:
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
    ragers = [rager for document in page if (rager := Rager.of(document)) and _takes_part(rager)]
    done.processed += len(page)
    mints = _mints(ragers, await _mappings(database, ragers))
    documents = await database.get_all(path for mint in mints for path in mint.reads())
    foreseen = {mint: mint.decide(Documents(documents, documents)).result for mint in mints}
    wanted = [mint for mint, minted in foreseen.items() if minted.changed and not dry_run]
    written = dict(zip(wanted, await asyncio.gather(*map(committer.run, wanted)), strict=True))
    for mint, minted in {**foreseen, **written}.items():
        done.add(mint.rager_id, minted)


def _takes_part(rager: Rager) -> bool:
    return rager.counts and (rager.ticket_token is None or paths.is_document_id(rager.ticket_token))


async def _mappings(database: Database, ragers: Sequence[Rager]) -> Mapping[str, Document]:
    return await database.get_all(paths.ticket_token(rager.ticket_token) for rager in ragers if rager.ticket_token)


def _mints(ragers: Sequence[Rager], mappings: Mapping[str, Document]) -> Sequence[Mint]:
    now = datetime.now(UTC)
    return [
        Mint(
            rager.event_id,
            rager.id,
            token=rager.ticket_token or None,
            fresh=secrets.token_hex(TOKEN_BYTES),
            claimant=_claimant(rager, mappings),
            now=now,
        )
        for rager in ragers
    ]


def _claimant(rager: Rager, mappings: Mapping[str, Document]) -> str | None:
    """The batch that the token's mapping points to, if it is another one."""
    known = mappings.get(paths.ticket_token(rager.ticket_token)) if rager.ticket_token else None
    mapping = TicketToken.of(known) if known else None
    path = pointed(mapping) if mapping else None
    return None if path == rager.path else path
