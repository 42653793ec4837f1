"""What an offline scanner needs to know of an event: which codes admit how many, and which no more.

Tokens are told as hashes and nobody is named. The first pages list every batch by id; the cursor of the last one asks
for what has changed since, which the batches' ``updatedAt`` says. Changes may be told twice, never too late: what a
commit under way may still bring is asked for again (``OVERLAP``).
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from services.scanning.selection import ADMISSIBLE, standing
from shared.documents import Rager
from shared.errors import BadRequest
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Document

PAGE: Final = 1000
OVERLAP: Final = timedelta(seconds=60)
"""Longer than a commit may take after its time was taken, and clocks may differ."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ATTRIBUTES: Final = (
    "ticket_token",
    "ticket_quantity",
    "used_count",
    "active",
    "refunded_at",
    "transferred_to",
    "transferred_at",
    "updated_at",
)
_FIELDS: Final = tuple(Rager.stored_name(attribute) for attribute in _ATTRIBUTES)
_UPDATED: Final = Rager.stored_name("updated_at")


class InvalidCursor(BadRequest):
    code = "invalid_cursor"


@dataclass(frozen=True, slots=True)
class Cursor:
    """``started`` is when this pass through the pages began, None between passes. ``since`` is None while everything
    is listed. ``after`` is the last batch of the page before, with its ``updatedAt`` where that is the order.
    """

    started: datetime | None = None
    since: datetime | None = None
    after: str | None = None
    after_at: datetime | None = None

    def __str__(self) -> str:
        parts = [_text(self.started), _text(self.since), self.after, _text(self.after_at)]
        return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        try:
            parts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            started, since, after, after_at = parts
            cursor = cls(_moment(started), _moment(since), after, _moment(after_at))
        except (ValueError, TypeError, binascii.Error, OverflowError, RecursionError):  # text from anywhere
            raise _invalid() from None
        if cursor.after is not None and not (isinstance(cursor.after, str) and paths.is_document_id(cursor.after)):
            raise _invalid()
        return cursor


def _invalid() -> InvalidCursor:
    return InvalidCursor("since is not a cursor of a manifest. Leave it out to begin anew.")


def _text(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _moment(text: str | None) -> datetime | None:
    """ValueError or OverflowError for one that no manifest has told."""
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or moment < _EPOCH:
        raise ValueError(text)
    return moment.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One code: how many tickets it admits and, if none, why."""

    token_hash: str
    remaining: int
    status: str


@dataclass(frozen=True, slots=True)
class Page:
    entries: Sequence[Entry]
    cursor: Cursor
    more: bool


def salt(event_id: str) -> str:
    """The same for every scanner of the event, so that hashes can be compared, and different for every event."""
    return hashlib.sha256(f"ticket manifest {event_id}".encode()).hexdigest()[:32]


def token_hash(event_id: str, token: str) -> str:
    """SHA-256 of the salt's text followed by the token, hex. Tokens are random, which is what keeps them secret."""
    return hashlib.sha256(f"{salt(event_id)}{token}".encode()).hexdigest()


def entry(rager: Rager) -> Entry | None:
    """None for a batch that has no token yet."""
    if not rager.ticket_token:
        return None
    status = standing(rager)
    return Entry(
        token_hash(rager.event_id, rager.ticket_token), rager.remaining, "ok" if status == ADMISSIBLE else status
    )


def query(event_id: str, cursor: Cursor, size: int) -> Query:
    listed = Query(paths.ragers(event_id), select=_FIELDS, limit=size)
    if cursor.since is not None:
        listed = replace(listed, where=[(_UPDATED, ">=", cursor.since)], order_by=(_UPDATED,))
    if cursor.after is None:
        return listed
    return listed.after(Document(paths.rager(event_id, cursor.after), {_UPDATED: cursor.after_at}))


async def page(database: Database, event_id: str, since: str | None, now: datetime, size: int = PAGE) -> Page:
    """One query. Raises InvalidCursor."""
    cursor = Cursor.parse(since) if since else Cursor()
    cursor = replace(cursor, started=cursor.started or now)
    found = await database.query(query(event_id, cursor, size))
    ragers = [rager for document in found if (rager := Rager.of(document))]
    entries = [told for rager in ragers if (told := entry(rager))]
    if len(found) < size:
        return Page(entries, Cursor(since=(cursor.started or now) - OVERLAP), more=False)
    last = ragers[-1]
    at = last.updated_at if cursor.since else None
    return Page(entries, replace(cursor, after=last.id, after_at=at), more=True)
