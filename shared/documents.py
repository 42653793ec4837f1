"""The Firestore documents, as typed records: the one place for field names. The web app reads and writes them too."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Self

from shared.operations import Merge, Value
from shared.records import Embedded, Record, flag, listed, moment, stored, text, whole


def cents(value: Value) -> int:
    """Minor units from the dollars that existing documents hold, as number or text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    try:
        exact = Decimal(str(value)) * 100
        return int(exact.to_integral_value())
    except InvalidOperation as error:
        raise ValueError(value) from error


def exact(value: Value) -> Decimal:
    """A finite number as it was written, also one stored as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(value) from error
    if not number.is_finite():
        raise ValueError(value)
    return number


def _map(value: Value) -> Mapping[str, Value]:
    if isinstance(value, Mapping):
        return value
    raise TypeError(value)


def _texts(value: Value) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(item for item in value if isinstance(item, str))
    raise TypeError(value)


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


@dataclass(frozen=True, slots=True)
class Rager(Record):
    """One user's batch of tickets for one event."""

    user_id: str | None = stored("firebaseId", text, None)
    email: str | None = stored("email", text, None)
    guest_email: str | None = stored("guestEmail", text, None)
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
class Scan(Record):
    """Audit and idempotency of one admission, or of a denial that was given a scan id."""

    rager_id: str | None = stored("ragerId", text, None)
    user_id: str | None = stored("userId", text, None)
    method: str = stored("method", text, "")
    """How the ticket was named: token, user or rager."""
    scanner_id: str | None = stored("scannerId", text, None)
    count: int = stored("count", whole, 0)
    """Tickets admitted, 0 for a denial."""
    result: str = stored("result", text, "")
    """``admitted`` or the refusal's code."""
    at: datetime | None = stored("at", moment, None)
    undone_at: datetime | None = stored("undoneAt", moment, None)
    subject: str | None = stored("subject", text, None)
    """What the scan was asked for, hashed, so that its id cannot be used for another ticket."""
    reply: Mapping[str, Value] | None = stored("reply", _map, None)
    """What was answered, to answer it again."""
    consumed: Mapping[str, Value] | None = stored("consumed", _map, None)
    """Tickets taken, by rager id."""


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


@dataclass(frozen=True, slots=True)
class DoorKey(Record):
    """A scanner's credential for one event. The key itself is shown once and stored only as its hash."""

    event_id: str = stored("eventId", text, "")
    label: str = stored("label", text, "")
    key_hash: str = stored("keyHash", text, "")
    """SHA-256 of the whole key, hex."""
    created_at: datetime | None = stored("createdAt", moment, None)
    expires_at: datetime | None = stored("expiresAt", moment, None)
    revoked_at: datetime | None = stored("revokedAt", moment, None)


@dataclass(frozen=True, slots=True)
class UserSums(Embedded):
    """What a summary says, or should say."""

    total_tickets: int = stored("totalTickets", whole, 0)
    used_count: int = stored("usedCount", whole, 0)


@dataclass(frozen=True, slots=True)
class RepairedSummary(Embedded):
    user_id: str = stored("uid", text, "")
    prev: UserSums | None = stored("prev", lambda value: UserSums.of_fields(_map(value)), None)
    """None where there was no summary."""
    next: UserSums = stored("next", lambda value: UserSums.of_fields(_map(value)), UserSums())


@dataclass(frozen=True, slots=True)
class ReconcileRun(Record):
    """Audit of one comparison of an event's summaries with its ragers."""

    event_id: str = stored("eventId", text, "")
    processed_users: int = stored("processedUsers", whole, 0)
    updated_users: int = stored("updatedUsers", whole, 0)
    samples: tuple[RepairedSummary, ...] = stored("samples", listed(RepairedSummary.of_fields), ())
    """The first of the repaired ones."""
    scheduled: bool = stored("scheduled", flag, False)
    started_at: datetime | None = stored("startedAt", moment, None)
    finished_at: datetime | None = stored("finishedAt", moment, None)
    duration_ms: int = stored("durationMs", whole, 0)


@dataclass(frozen=True, slots=True)
class OrderItem(Embedded):
    """A line of a priced cart."""

    event_id: str = stored("eventId", text, "")
    quantity: int = stored("quantity", whole, 1)
    ticket_type: str | None = stored("ticketType", text, None)
    title: str | None = stored("title", text, None)
    unit_cents: int = stored("unitCents", whole, 0)


@dataclass(frozen=True, slots=True)
class FulfilledItem(Embedded):
    event_id: str = stored("eventId", text, "")
    rager_id: str = stored("ragerId", text, "")
    qty: int = stored("qty", whole, 0)
    new_qty: int = stored("newQty", whole, 0)
    """Tickets left for the event after this item."""
    amount: int | None = stored("amount", whole, None)
    """What the item contributed to the payment, in minor units; older entries do not say."""


@dataclass(frozen=True, slots=True)
class FailedItem(Embedded):
    event_id: str = stored("eventId", text, "")
    qty: int = stored("qty", whole, 0)
    code: str = stored("code", text, "")
    message: str = stored("message", text, "")


@dataclass(frozen=True, slots=True)
class PendingOrder(Record):
    """The priced cart as it is to be paid for. ``amount`` is in minor units."""

    user_id: str | None = stored("firebaseId", text, None)
    guest_email: str | None = stored("guestEmail", text, None)
    email: str | None = stored("email", text, None)
    name: str | None = stored("name", text, None)
    amount: int = stored("amount", whole, 0)
    currency: str = stored("currency", text, "usd")
    items: tuple[OrderItem, ...] = stored("items", listed(OrderItem.of_fields), ())
    promo_code: str | None = stored("promoCode", text, None)
    promo_path: str | None = stored("promoPath", text, None)
    """Where the code's document is."""
    discount_cents: int = stored("discountCents", whole, 0)
    idempotency_key: str | None = stored("idempotencyKey", text, None)
    """What the browser called its attempt to pay."""
    address_details: Mapping[str, Value] | None = stored("addressDetails", _map, None)
    status: str = stored("status", text, "pending")
    created_at: datetime | None = stored("createdAt", moment, None)


@dataclass(frozen=True, slots=True)
class HeldItem(Embedded):
    event_id: str = stored("eventId", text, "")
    quantity: int = stored("quantity", whole, 0)


@dataclass(frozen=True, slots=True)
class Hold(Record):
    """Inventory set aside for a payment, at ``holds/{paymentIntentId}``; the event's ``quantity`` is without it."""

    status: str = stored("status", text, "held")
    """held, consumed (it became tickets) or released (it went back)."""
    items: tuple[HeldItem, ...] = stored("items", listed(HeldItem.of_fields), ())
    event_ids: tuple[str, ...] = stored("eventIds", _texts, ())
    """The events of the items, to find the holds of an event."""
    promo_path: str | None = stored("promoPath", text, None)
    """The promo code of which one use is set aside too."""
    created_at: datetime | None = stored("createdAt", moment, None)
    expires_at: datetime | None = stored("expiresAt", moment, None)
    released_at: datetime | None = stored("releasedAt", moment, None)

    def quantity_of(self, event_id: str) -> int:
        """Tickets of an event that are held now."""
        held = self.items if self.status == "held" else ()
        return sum(item.quantity for item in held if item.event_id == event_id)


@dataclass(frozen=True, slots=True)
class Refund(Record):
    """Money on its way back, at ``fulfillments/{paymentIntentId}/refunds/{key}``. ``amount`` is in minor units."""

    amount: int = stored("amount", whole, 0)
    currency: str = stored("currency", text, "usd")
    status: str = stored("status", text, "requested")
    """requested (Stripe may not know it yet), pending, succeeded or failed."""
    automatic: bool = stored("automatic", flag, False)
    """For an item that could not be fulfilled."""
    reason: str = stored("reason", text, "")
    note: str | None = stored("note", text, None)
    rager_ids: tuple[str, ...] = stored("ragerIds", _texts, ())
    stripe_refund_id: str | None = stored("stripeRefundId", text, None)
    error: str | None = stored("error", text, None)
    created_at: datetime | None = stored("createdAt", moment, None)
    updated_at: datetime | None = stored("updatedAt", moment, None)

    @property
    def payment_intent_id(self) -> str:
        return self.path.split("/")[1]


@dataclass(frozen=True, slots=True)
class RefundTotal(Embedded):
    """All refunds of an order that have not failed, in minor units."""

    amount: int = stored("amount", whole, 0)
    succeeded: int = stored("succeeded", whole, 0)
    """The part that Stripe says has gone back."""
    status: str = stored("status", text, "none")
    """none, pending or succeeded."""
    last_refund_id: str | None = stored("lastRefundId", text, None)

    @classmethod
    def read(cls, value: Value) -> Self:
        return cls.of_fields(_map(value))


@dataclass(frozen=True, slots=True)
class StripeEvent(Record):
    """An event of Stripe's that has been taken in; kept for 30 days so that its redelivery changes nothing."""

    type: str = stored("type", text, "")
    payment_intent_id: str | None = stored("paymentIntentId", text, None)
    created_at: datetime | None = stored("createdAt", moment, None)
    expires_at: datetime | None = stored("expiresAt", moment, None)


@dataclass(frozen=True, slots=True)
class Fulfillment(Record):
    """The idempotent ledger of paid orders. ``amount`` is in minor units."""

    status: str = stored("status", text, "processing")
    user_id: str | None = stored("firebaseId", text, None)
    guest_email: str | None = stored("guestEmail", text, None)
    email: str | None = stored("email", text, None)
    user_email: str | None = stored("userEmail", text, None)
    user_name: str | None = stored("userName", text, None)
    amount: int = stored("amount", whole, 0)
    currency: str = stored("currency", text, "usd")
    order_number: str = stored("orderNumber", text, "")
    created_tickets: int = stored("createdTickets", whole, 0)
    details: tuple[FulfilledItem, ...] = stored("details", listed(FulfilledItem.of_fields), ())
    errors: tuple[FailedItem, ...] = stored("errors", listed(FailedItem.of_fields), ())
    items: tuple[OrderItem, ...] = stored("items", listed(OrderItem.of_fields), ())
    promo_code: str | None = stored("promoCode", text, None)
    discount_cents: int = stored("discountCents", whole, 0)
    attempts: int = stored("attempts", whole, 0)
    created_at: datetime | None = stored("createdAt", moment, None)
    completed_at: datetime | None = stored("completedAt", moment, None)
    email_sent_at: datetime | None = stored("emailSentAt", moment, None)
    email_provider: str | None = stored("emailProvider", text, None)
    email_message_id: str | None = stored("emailMessageId", text, None)
    refund: RefundTotal | None = stored("refund", RefundTotal.read, None)
    needs_admin_review: bool = stored("needsAdminReview", flag, False)


@dataclass(frozen=True, slots=True)
class Purchase(Record):
    """An order in the customer's history. ``amount`` is in minor units."""

    user_id: str | None = stored("firebaseId", text, None)
    email: str | None = stored("email", text, None)
    email_lower: str | None = stored("emailLower", text, None)
    """For a search by address: people do not type theirs the same way every time."""
    order_number: str = stored("orderNumber", text, "")
    payment_intent_id: str = stored("paymentIntentId", text, "")
    amount: int = stored("amount", whole, 0)
    currency: str = stored("currency", text, "usd")
    items: tuple[OrderItem, ...] = stored("items", listed(OrderItem.of_fields), ())
    status: str = stored("status", text, "")
    address_details: Mapping[str, Value] | None = stored("addressDetails", _map, None)
    date_time: datetime | None = stored("dateTime", moment, None)


@dataclass(frozen=True, slots=True)
class PromoCode(Record):
    """A discount, at ``promoCodes/{code}`` or ``promoterCodes/{code}``, the code in capitals."""

    display_code: str | None = stored("displayCode", text, None)
    """The code as it is advertised."""
    type: str = stored("type", text, "")
    """percentage or fixed."""
    value: Decimal = stored("value", exact, Decimal(0))
    """Percent, or dollars."""
    active: bool = stored("active", flag, True)
    expires_at: datetime | None = stored("expiresAt", moment, None)
    max_uses: int | None = stored("maxUses", whole, None)
    uses: int = stored("uses", whole, 0)
    """Fulfilled orders that had it."""
    reserved: int = stored("reservedUses", whole, 0)
    """Uses set aside for payments under way; only counted where there is a maximum."""
    minimum_cents: int = stored("minimumTotal", cents, 0)

    @property
    def shown(self) -> str:
        return self.display_code or self.id

    @property
    def exhausted(self) -> bool:
        return self.max_uses is not None and self.uses + self.reserved >= self.max_uses


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


@dataclass(frozen=True, slots=True)
class ManualTicket(Record):
    """Tickets that an admin made: the marker that makes it repeatable, and what was answered."""

    event_id: str = stored("eventId", text, "")
    rager_id: str = stored("ragerId", text, "")
    user_id: str = stored("firebaseId", text, "")
    qty: int = stored("qty", whole, 0)
    order_number: str = stored("orderNumber", text, "")
    payment_intent_id: str | None = stored("paymentIntentId", text, None)
    email: str | None = stored("email", text, None)
    request_hash: str = stored("requestHash", text, "")
    """What was asked for, hashed, so that an idempotency key cannot be used for other tickets."""
    created_at: datetime | None = stored("createdAt", moment, None)


@dataclass(frozen=True, slots=True)
class AdminAlert(Record):
    """What a person must look at."""

    kind: str = stored("kind", text, "")
    message: str = stored("message", text, "")
    subject: str = stored("subject", text, "")
    """The path of the document it is about."""
    details: tuple[str, ...] = stored("details", _texts, ())
    created_at: datetime | None = stored("createdAt", moment, None)
    resolved_at: datetime | None = stored("resolvedAt", moment, None)


@dataclass(frozen=True, slots=True)
class Job(Record):
    """Durable background work. ``nextAt`` is when a worker should look next: when it is due, when a lease ends, or
    null once there is nothing left to do.
    """

    kind: str = stored("kind", text, "")
    payload: Mapping[str, Value] | None = stored("payload", _map, None)
    shard: int = stored("shard", whole, 0)
    state: str = stored("state", text, "ready")
    """ready, running, done or dead."""
    next_at: datetime | None = stored("nextAt", moment, None)
    attempts: int = stored("attempts", whole, 0)
    cursor: str | None = stored("cursor", text, None)
    lease_owner: str | None = stored("leaseOwner", text, None)
    lease_until: datetime | None = stored("leaseUntil", moment, None)
    epoch: int = stored("epoch", whole, 0)
    last_error: str | None = stored("lastError", text, None)
    created_at: datetime | None = stored("createdAt", moment, None)
    expires_at: datetime | None = stored("expiresAt", moment, None)
    """When a finished job may be deleted (a Firestore TTL field)."""
