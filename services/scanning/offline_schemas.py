"""Requests and replies of scanners that work offline."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator
from pydantic_core import PydanticCustomError

from services.scanning.asking import Ask, Method
from services.scanning.manifest import Entry, Page, salt
from services.scanning.refusals import AlreadyUsed, refusal
from services.scanning.schemas import Label
from services.scanning.verdict import Answer
from shared.errors import Refusal
from shared.schemas import DocumentId, Model, Quantity

MAX_SCANS = 500


class OfflineScan(Model):
    """One scan. ``token`` is what the code held, whatever that was: an odd one must not hold up the others."""

    token: Annotated[str, Field(max_length=4000)] | None = None
    user_id: DocumentId | None = None
    rager_id: DocumentId | None = None
    scan_id: DocumentId
    at: AwareDatetime
    """By the scanner's clock; taken as of 1970 or of now where it lies before or after."""
    scanner_id: Label | None = None
    count: Quantity = 1

    @property
    def method(self) -> Method:
        return "token" if self.token else "rager" if self.rager_id else "user"

    @property
    def key(self) -> str:
        return self.token or self.rager_id or self.user_id or ""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if not self.key:
            raise PydanticCustomError("ticket", "must give a token, a userId or a ragerId")
        return self


class UploadRequest(Model):
    event_id: DocumentId | None = None
    """May be left out with a door key."""
    scans: Annotated[list[OfflineScan], Field(max_length=MAX_SCANS)]


class Admitted(Model):
    scanner_id: str | None
    at: datetime | None


class Conflicting(Model):
    """The admission on record and the one that an offline scanner made of the same ticket."""

    recorded: Admitted
    offline: Admitted


class UploadResult(Model):
    scan_id: str
    ok: bool
    status: str
    """``admitted`` or the refusal's code."""
    code: str | None = None
    """The refusal's, as its envelope would have it, with ``error`` for a person."""
    error: str | None = None
    event_id: str | None = None
    rager_id: str | None = None
    count: int | None = None
    remaining: int | None = None
    remaining_total: int | None = None
    transfer_pending: bool | None = None
    replayed: bool | None = None
    undone_at: datetime | None = None
    conflict: Conflicting | None = None

    @classmethod
    def of(cls, ask: Ask, answer: Answer | Refusal) -> Self:
        if isinstance(answer, Refusal):
            return cls(scan_id=ask.scan_id, ok=False, status=answer.code, code=answer.code, error=answer.error)
        verdict, denied = answer.verdict, None if answer.verdict.admitted else refusal(answer.verdict)
        return cls(
            scan_id=ask.scan_id,
            ok=verdict.admitted,
            status=verdict.status,
            code=denied.code if denied else None,
            error=denied.error if denied else None,
            event_id=verdict.event_id,
            rager_id=verdict.rager_id,
            count=verdict.count,
            remaining=verdict.remaining,
            remaining_total=verdict.remaining_total,
            transfer_pending=verdict.transfer_pending or None,
            replayed=answer.replayed or None,
            undone_at=answer.undone_at,
            conflict=_conflict(ask, answer),
        )


def _conflict(ask: Ask, answer: Answer) -> Conflicting | None:
    """Whether somebody else was admitted; a party that is too large for tickets nobody has used meets nobody."""
    verdict = answer.verdict
    if verdict.status != AlreadyUsed.code or (verdict.remaining and verdict.last_scan_at is None):
        return None
    recorded = Admitted(scanner_id=verdict.last_scanned_by, at=verdict.last_scan_at)
    return Conflicting(recorded=recorded, offline=Admitted(scanner_id=ask.scanner_id, at=ask.at))


class UploadReply(Model):
    ok: Literal[True] = True
    results: list[UploadResult]
    """In the order of the scans sent."""


class ManifestRequest(Model):
    event_id: DocumentId
    since: Annotated[str, Field(max_length=4000)] | None = None
    """The cursor of the reply before."""


class ManifestEntry(Model):
    hash: str
    """SHA-256, hex, of the salt's text followed by the token's."""
    remaining: int
    status: str
    """``ok``, or why it admits nobody: refunded, transferred, already_used, inactive."""

    @classmethod
    def of(cls, entry: Entry) -> Self:
        return cls(hash=entry.token_hash, remaining=entry.remaining, status=entry.status)


class ManifestReply(Model):
    ok: Literal[True] = True
    event_id: str
    salt: str
    entries: list[ManifestEntry]
    """What is new about a hash replaces what was known of it."""
    cursor: str
    more: bool
    """Whether to ask again at once; else later, for what changes until then."""

    @classmethod
    def of(cls, event_id: str, page: Page) -> Self:
        return cls(
            event_id=event_id,
            salt=salt(event_id),
            entries=[ManifestEntry.of(entry) for entry in page.entries],
            cursor=str(page.cursor),
            more=page.more,
        )
