"""Requests and replies of the door."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from services.scanning.asking import Method
from services.scanning.payload import token_of
from services.scanning.preview import Preview
from services.scanning.verdict import Answer
from shared.documents import Rager
from shared.schemas import DocumentId, Model, Quantity

Label = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]
"""Who scans, as staff will read it."""


def _token(payload: str) -> str:
    try:
        return token_of(payload)
    except ValueError:
        raise PydanticCustomError("token", "is not a ticket's code") from None


Token = Annotated[str, AfterValidator(_token), Field(max_length=4000)]
"""A ticket token, bare or as a QR code holds it."""


class Named(Model):
    """Names a ticket: by its token, or else by rager, or else by user (both at an event)."""

    token: Token | None = None
    user_id: DocumentId | None = None
    rager_id: DocumentId | None = None

    @property
    def method(self) -> Method:
        return "token" if self.token else "rager" if self.rager_id else "user"

    @property
    def key(self) -> str:
        return self.token or self.rager_id or self.user_id or ""

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if not self.key:
            raise PydanticCustomError("ticket", "Give a token, or a userId or ragerId with an eventId")
        return self


class ScanRequest(Named):
    event_id: DocumentId | None = None
    """The gate's event; with a token, the ticket must be for it."""
    scanner_id: Label | None = None
    scan_id: DocumentId | None = None
    """The scanner's own, so that it may ask again and hear the same answer."""
    count: Quantity = 1


class ScanReply(Model):
    ok: Literal[True] = True
    event_id: str | None
    rager_id: str | None
    count: int
    remaining: int
    """Of the rager."""
    remaining_total: int
    """Of its holder, for the event."""
    status: str
    scan_id: str
    transfer_pending: bool | None = None
    """Present where the ticket had been offered to somebody, which ends when it is used."""
    replayed: bool | None = None
    undone_at: datetime | None = None

    @classmethod
    def of(cls, answer: Answer) -> Self:
        verdict = answer.verdict
        return cls(
            event_id=verdict.event_id,
            rager_id=verdict.rager_id,
            count=verdict.count,
            remaining=verdict.remaining,
            remaining_total=verdict.remaining_total,
            status=verdict.status,
            scan_id=answer.scan_id,
            transfer_pending=verdict.transfer_pending or None,
            replayed=answer.replayed or None,
            undone_at=answer.undone_at,
        )


class PreviewRequest(Named):
    event_id: DocumentId | None = None


class PreviewItem(Model):
    rager_id: str
    remaining: int
    ticket_quantity: int
    used_count: int
    active: bool
    purchase_date: datetime | None

    @classmethod
    def of(cls, rager: Rager) -> Self:
        return cls(
            rager_id=rager.id,
            remaining=rager.remaining,
            ticket_quantity=rager.ticket_quantity,
            used_count=rager.used_count,
            active=rager.active,
            purchase_date=rager.purchase_date,
        )


class PreviewReply(Model):
    ok: Literal[True] = True
    event_id: str
    user_id: str | None
    status: str
    """What a scan would answer now: ``admitted`` or the code of its refusal."""
    remaining_total: int
    items: list[PreviewItem]
    next_candidate: PreviewItem | None
    """What a scan would consume."""
    next: PreviewItem | None
    """The same, under the name that the present scanner page reads."""

    @classmethod
    def of(cls, preview: Preview) -> Self:
        candidate = PreviewItem.of(preview.next) if preview.next else None
        return cls(
            event_id=preview.event_id,
            user_id=preview.user_id,
            status=preview.status,
            remaining_total=preview.remaining_total,
            items=[PreviewItem.of(rager) for rager in preview.ragers],
            next_candidate=candidate,
            next=candidate,
        )
