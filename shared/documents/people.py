"""Customers, accounts, and tickets on their way between them."""

from dataclasses import dataclass
from datetime import datetime

from shared.records import Record, flag, moment, stored, text, whole


@dataclass(frozen=True, slots=True)
class Customer(Record):
    stripe_customer_id: str | None = stored("stripeCustomerId", text, None)
    email: str | None = stored("email", text, None)
    name: str | None = stored("name", text, None)
    description: str | None = stored("description", text, None)


@dataclass(frozen=True, slots=True)
class Username(Record):
    """Who has a name; the document's id is the name in lower case."""

    uid: str | None = stored("uid", text, None)
    user_id: str | None = stored("userId", text, None)
    """The same, as some documents call it."""

    @property
    def holder(self) -> str | None:
        return self.uid or self.user_id


@dataclass(frozen=True, slots=True)
class Profile(Record):
    """What everybody may see of a user. ``email`` is in older documents only."""

    username: str | None = stored("username", text, None)
    display_name: str | None = stored("displayName", text, None)
    email: str | None = stored("email", text, None)


@dataclass(frozen=True, slots=True)
class TicketTransfer(Record):
    """A batch on its way to somebody else. The claim token itself is only in the recipient's mail.

    A transfer to a username has ``to_user_id`` and no address; one to an address gets its ``to_user_id`` when claimed.
    """

    from_user_id: str = stored("fromUserId", text, "")
    from_email: str | None = stored("fromEmail", text, None)
    from_name: str | None = stored("fromName", text, None)
    to_user_id: str | None = stored("toUserId", text, None)
    to_email: str | None = stored("toEmail", text, None)
    to_username: str | None = stored("toUsername", text, None)
    told_user_id: str | None = stored("toldUserId", text, None)
    """The account that is notified. For an address it was found by it, which does not make it the recipient."""
    event_id: str = stored("eventId", text, "")
    rager_id: str = stored("ragerId", text, "")
    """The batch that is pending: the sender's own, or the part that was split from it."""
    ticket_quantity: int = stored("ticketQuantity", whole, 0)
    status: str = stored("status", text, "pending")
    """pending, claimed, cancelled or expired."""
    claim_token_hash: str = stored("claimTokenHash", text, "")
    """SHA-256 of the claim token, hex."""
    request_hash: str | None = stored("requestHash", text, None)
    """What was asked for, hashed, so that an idempotency key cannot be used for another transfer."""
    created_at: datetime | None = stored("createdAt", moment, None)
    expires_at: datetime | None = stored("expiresAt", moment, None)
    claimed_at: datetime | None = stored("claimedAt", moment, None)
    claimed_rager_id: str | None = stored("claimedRagerId", text, None)
    cancelled_at: datetime | None = stored("cancelledAt", moment, None)
    expired_at: datetime | None = stored("expiredAt", moment, None)


@dataclass(frozen=True, slots=True)
class User(Record):
    """What the app keeps for a user besides their profile."""

    unread_notifications: int = stored("unreadNotifications", whole, 0)


@dataclass(frozen=True, slots=True)
class Notification(Record):
    """News in the app for one user. The web app sets ``read`` and counts ``users/{uid}.unreadNotifications`` down."""

    kind: str = stored("type", text, "")
    title: str = stored("title", text, "")
    body: str = stored("body", text, "")
    event_id: str | None = stored("eventId", text, None)
    transfer_id: str | None = stored("transferId", text, None)
    read: bool = stored("read", flag, False)
    created_at: datetime | None = stored("createdAt", moment, None)
