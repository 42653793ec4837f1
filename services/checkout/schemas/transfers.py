"""What the routes take and give by which tickets change hands."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from services.checkout.claims import Claimed
from services.checkout.guest_claims import ClaimedBatch
from services.checkout.transfers import Recipient
from shared.documents import Event, TicketTransfer
from shared.schemas import CallerUid, DocumentId, Email, Model, Quantity, RequiredText, Text

PersonName = Annotated[str, StringConstraints(strip_whitespace=True, max_length=100)]
"""Shown to others, and in their mail."""


class TransferTicket(Model):
    """To an address or to a username, never both."""

    rager_id: DocumentId
    event_id: DocumentId
    sender_user_id: CallerUid
    sender_email: Email | None = None
    sender_name: PersonName | None = None
    recipient_email: Email | None = None
    recipient_username: Text | None = None
    quantity: Quantity | None = None
    """The whole batch where it is missing."""

    @model_validator(mode="after")
    def _one_recipient(self) -> Self:
        if bool(self.recipient_email) == bool(self.recipient_username):
            raise PydanticCustomError("recipient", "one of recipientEmail and recipientUsername is needed")
        return self


class TicketTransferred(Model):
    ok: bool = True
    transfer_id: str
    rager_id: str
    """The batch that is pending: a part that was sent has become a batch of its own."""
    ticket_quantity: int
    expires_at: datetime | None
    recipient_has_account: bool
    recipient_username: str | None
    recipient_display_name: str | None

    @classmethod
    def of(cls, transfer: TicketTransfer, recipient: Recipient) -> Self:
        return cls(
            transfer_id=transfer.id,
            rager_id=transfer.rager_id,
            ticket_quantity=transfer.ticket_quantity,
            expires_at=transfer.expires_at,
            recipient_has_account=recipient.account is not None,
            recipient_username=recipient.username,
            recipient_display_name=recipient.display_name,
        )


class PreviewTransfer(Model):
    token: Annotated[RequiredText, Field(alias="t")]


class TransferPreview(Model):
    event_name: str
    event_date: datetime | None
    ticket_quantity: int
    from_name: str | None
    to_email: str | None
    to_username: str | None
    expires_at: datetime | None

    @classmethod
    def of(cls, transfer: TicketTransfer, event: Event | None) -> Self:
        return cls(
            event_name=event.name if event else "",
            event_date=event.starts_at if event else None,
            ticket_quantity=transfer.ticket_quantity,
            from_name=transfer.from_name,
            to_email=transfer.to_email,
            to_username=transfer.to_username,
            expires_at=transfer.expires_at,
        )


class ClaimTicket(Model):
    claim_token: RequiredText
    claimer_user_id: CallerUid
    claimer_email: Email | None = None
    claimer_name: PersonName | None = None


class TicketClaimed(Model):
    ok: bool = True
    rager_id: str
    event_id: str
    event_name: str
    ticket_quantity: int

    @classmethod
    def of(cls, claimed: Claimed) -> Self:
        return cls(
            rager_id=claimed.rager_id,
            event_id=claimed.event_id,
            event_name=claimed.event_name,
            ticket_quantity=claimed.ticket_quantity,
        )


class CancelTransferRequest(Model):
    transfer_id: DocumentId
    sender_user_id: CallerUid | None = None
    """Missing where an admin cancels."""


class TransferCancelled(Model):
    ok: bool = True
    message: str


class ClaimGuestTicketsRequest(Model):
    user_id: CallerUid
    user_email: Email


class GuestBatch(Model):
    event_id: str
    event_name: str
    rager_id: str
    ticket_quantity: int
    order_number: str | None

    @classmethod
    def of(cls, batch: ClaimedBatch) -> Self:
        return cls(
            event_id=batch.event_id,
            event_name=batch.event_name,
            rager_id=batch.rager_id,
            ticket_quantity=batch.ticket_quantity,
            order_number=batch.order_number,
        )


class GuestTicketsClaimed(Model):
    claimed: int
    """Batches that were handed over now; the same request again answers 0."""
    ticket_count: int
    tickets: list[GuestBatch]
