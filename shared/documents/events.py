"""Events, the tickets sold for them, and what each user has."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.documents.reading import cents
from shared.operations import Document, Increment, Merge
from shared.records import Embedded, Record, flag, listed, moment, stored, text, whole


@dataclass(frozen=True, slots=True)
class TicketTier(Embedded):
    name: str = stored("name", text, "")
    price_cents: int | None = stored("price", cents, None)


@dataclass(frozen=True, slots=True)
class Event(Record):
    name: str = stored("name", text, "")
    date: datetime | None = stored("date", moment, None)
    date_time: datetime | None = stored("dateTime", moment, None)
    quantity: int = stored("quantity", whole, 0)
    """Tickets left."""
    price_cents: int | None = stored("price", cents, None)
    tiers: tuple[TicketTier, ...] = stored("ticketTiers", listed(TicketTier.of_fields), ())
    seeded_quantity: int | None = stored("seededQuantity", whole, None)
    """The inventory the event started with."""

    @property
    def starts_at(self) -> datetime | None:
        return self.date_time or self.date

    def offer(self, ticket_type: str | None) -> TicketTier | None:
        """What is sold under this name, None if nothing is. An event without tiers sells one thing, which has none."""
        if not self.tiers or (ticket_type is None and self.price_cents is not None):
            return TicketTier("", self.price_cents)
        if ticket_type is None:
            return self.tiers[0] if len(self.tiers) == 1 else None
        wanted = ticket_type.casefold()
        return next((tier for tier in self.tiers if tier.name.casefold() == wanted), None)


def stocked(event: Document, change: int, attribute: str = "quantity") -> Merge:
    """The write by which an event has so many tickets more left (or fewer, if negative), or has begun with.

    A number that another program stored as text is replaced by one: an increment would count it as 0. So an operation
    writes it once an event.
    """
    raw = (event.fields or {}).get(Event.stored_name(attribute))
    if isinstance(raw, int | float) and not isinstance(raw, bool):
        return Merge(event.path, Event.patch(**{attribute: Increment(change)}))
    known = Event.of(event)
    return Merge(event.path, Event.patch(**{attribute: (getattr(known, attribute) or 0) + change}))


@dataclass(frozen=True, slots=True)
class Rager(Record):
    """One user's batch of tickets for one event."""

    user_id: str | None = stored("firebaseId", text, None)
    email: str | None = stored("email", text, None)
    guest_email: str | None = stored("guestEmail", text, None)
    guest_email_lower: str | None = stored("guestEmailLower", text, None)
    """To find it by: guests do not type their address the same way every time. Older documents have none."""
    owner: str | None = stored("owner", text, None)
    ticket_quantity: int = stored("ticketQuantity", whole, 1)
    used_count: int = stored("usedCount", whole, 0)
    active: bool = stored("active", flag, True)
    ticket_token: str | None = stored("ticketToken", text, None)
    ticket_type: str | None = stored("ticketType", text, None)
    purchase_date: datetime | None = stored("purchaseDate", moment, None)
    order_number: str | None = stored("orderNumber", text, None)
    payment_intent_id: str | None = stored("paymentIntentId", text, None)
    last_scan_at: datetime | None = stored("lastScanAt", moment, None)
    last_scanned_by: str | None = stored("lastScannedBy", text, None)
    pending_transfer_id: str | None = stored("pendingTransferId", text, None)
    pending_transfer_to: str | None = stored("pendingTransferTo", text, None)
    transferred_to: str | None = stored("transferredTo", text, None)
    transferred_at: datetime | None = stored("transferredAt", moment, None)
    previous_owner: str | None = stored("previousOwner", text, None)
    claimed_from_transfer: str | None = stored("claimedFromTransfer", text, None)
    refunded_at: datetime | None = stored("refundedAt", moment, None)
    refund_key: str | None = stored("refundKey", text, None)
    """The refund that took it."""
    split_from: str | None = stored("splitFrom", text, None)
    """The batch, by id, of which this was a part until some of it was transferred."""
    guest_claimed_at: datetime | None = stored("guestClaimedAt", moment, None)
    """When an account took over what a guest with its address had bought."""
    updated_at: datetime | None = stored("updatedAt", moment, None)
    """When one of our operations last wrote it: offline scanners ask for what has changed since."""

    def changed(self, now: datetime, **changes: Any) -> Merge:
        """The write that changes attributes of it. All of our writes to a batch go this way, to keep ``updatedAt``."""
        return Merge(self.path, self.patch(updated_at=now, **changes))

    @property
    def event_id(self) -> str:
        return self.path.split("/")[1]

    @property
    def transferred(self) -> bool:
        return self.transferred_to is not None or self.transferred_at is not None

    @property
    def counts(self) -> bool:
        """Whether its tickets are its user's: neither refunded nor transferred away."""
        return self.refunded_at is None and not self.transferred

    @property
    def left(self) -> int:
        """Tickets that have not been used, whether or not they may be."""
        return max(0, self.ticket_quantity - self.used_count)

    @property
    def remaining(self) -> int:
        """Tickets that the door would admit now."""
        return self.left if self.active and self.counts else 0


@dataclass(frozen=True, slots=True)
class TicketToken(Record):
    event_id: str = stored("eventId", text, "")
    rager_id: str = stored("ragerId", text, "")
    created_at: datetime | None = stored("createdAt", moment, None)
    user_id: str | None = stored("firebaseId", text, None)
    """A hint: with it the door reads the holder's summary in the same round trip. The rager's own field decides."""


@dataclass(frozen=True, slots=True)
class Summary(Record):
    """What one user has for one event: the sums over their ragers, kept in the same commit."""

    total_tickets: int = stored("totalTickets", whole, 0)
    used_count: int = stored("usedCount", whole, 0)
    last_scan_at: datetime | None = stored("lastScanAt", moment, None)
    last_updated: datetime | None = stored("lastUpdated", moment, None)
    updated_at: datetime | None = stored("updatedAt", moment, None)
