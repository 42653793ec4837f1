"""Carts, orders and the money for them. Amounts are integers in minor units."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

from shared.documents.reading import cents, exact, mapping, moment_or_millis, texts
from shared.operations import Fields, Value
from shared.records import Embedded, Record, flag, listed, moment, stored, text, whole


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
    address_details: Mapping[str, Value] | None = stored("addressDetails", mapping, None)
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
    event_ids: tuple[str, ...] = stored("eventIds", texts, ())
    """The events of the items, to find the holds of an event."""
    promo_path: str | None = stored("promoPath", text, None)
    """The promo code of which one use is set aside too."""
    owner: str | None = stored("owner", text, None)
    """Whose payment it is for, to find all that one buyer has set aside."""
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
    rager_ids: tuple[str, ...] = stored("ragerIds", texts, ())
    restock: bool = stored("restock", flag, True)
    """Whether its tickets went on sale again."""
    request_hash: str | None = stored("requestHash", text, None)
    """What was asked, so that its key cannot be used for another refund."""
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
        return cls.of_fields(mapping(value))


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
    address_details: Mapping[str, Value] | None = stored("addressDetails", mapping, None)
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
    expires_at: datetime | None = stored("expiresAt", moment_or_millis, None)
    max_uses: int | None = stored("maxUses", whole, None)
    uses: int = stored("uses", whole, 0)
    """Fulfilled orders that had it."""
    reserved: int = stored("reservedUses", whole, 0)
    """Uses set aside for payments under way; only counted where there is a maximum."""
    minimum_cents: int = stored("minimumTotal", cents, 0)
    malformed: tuple[str, ...] = ()
    """Fields that say something which cannot be understood. What limits a code must not be lost by a typing error."""

    @classmethod
    def of_fields(cls, stored_fields: Fields, **given: Any) -> Self:
        unreadable = set(cls.unreadable(stored_fields)) - {cls.stored_name("display_code")}
        return super(PromoCode, cls).of_fields(stored_fields, malformed=tuple(sorted(unreadable)), **given)

    @property
    def shown(self) -> str:
        return self.display_code or self.id

    @property
    def exhausted(self) -> bool:
        return self.max_uses is not None and self.uses + self.reserved >= self.max_uses


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
