"""What the checkout's routes take and give."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from services.checkout.buyers import Buyer
from services.checkout.fulfilment import Fulfilled
from services.checkout.pricing import CURRENCY, CartItem
from shared.documents import FailedItem, FulfilledItem
from shared.errors import BadRequest
from shared.schemas import CallerUid, DocumentId, Email, Model, Quantity, Text

MAX_CART_ITEMS: Final = 20
_MAX_DEPTH: Final = 3
_MAX_ENTRIES: Final = 50
_MAX_TEXT: Final = 500
_INT64: Final = 2**63
_PAYMENT_INTENT: Final = re.compile(r"pi_[A-Za-z0-9_]{1,250}")


class InvalidPaymentIntentId(BadRequest):
    code = "invalid_payment_intent"


class UnsupportedCurrency(BadRequest):
    code = "unsupported_currency"


def _payment_intent_id(text: str) -> str:
    if not _PAYMENT_INTENT.fullmatch(text):
        raise InvalidPaymentIntentId("This is not the id of a payment.", fields={"field": "paymentIntentId"})
    return text


def _currency(text: str) -> str:
    if text.lower() != CURRENCY:
        raise UnsupportedCurrency(f"Tickets are sold in {CURRENCY.upper()}.", fields={"field": "currency"})
    return CURRENCY


def _storable(value: object, depth: int = 0) -> bool:
    """Whether it can be kept as it is: plain JSON of a bounded size, with names Firestore takes."""
    match value:
        case None | bool() | float():
            return True
        case int():
            return -_INT64 <= value < _INT64
        case str():
            return len(value) <= _MAX_TEXT
        case dict():
            small = depth < _MAX_DEPTH and len(value) <= _MAX_ENTRIES
            return small and all(_is_name(name) and _storable(entry, depth + 1) for name, entry in value.items())
        case _:
            return False


def _is_name(name: object) -> bool:
    return isinstance(name, str) and 0 < len(name) <= 100 and not (name.startswith("__") and name.endswith("__"))  # noqa: PLR2004


def _address(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not _storable(value):
        raise PydanticCustomError("address", "must be a small object of texts")
    return value


PaymentIntentId = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_payment_intent_id)]
Currency = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_currency)]
Address = Annotated[dict[str, Any], AfterValidator(_address)]


class CartLine(Model):
    product_id: DocumentId
    quantity: Quantity = 1
    ticket_type: Text | None = None
    title: Text | None = None

    def item(self) -> CartItem:
        return CartItem(self.product_id, self.quantity, self.ticket_type or None, self.title)


class BuyerFields(Model):
    """An account (``firebaseId``) or a guest (``isGuest`` and ``guestEmail``), never both."""

    firebase_id: CallerUid | None = None
    is_guest: bool = False
    guest_email: Email | None = None

    @model_validator(mode="after")
    def _one_or_the_other(self) -> Self:
        if self.is_guest and self.firebase_id:
            raise PydanticCustomError("buyer", "isGuest and firebaseId exclude each other")
        if self.is_guest and not self.guest_email:
            raise PydanticCustomError("buyer", "guestEmail is missing for a guest")
        if not self.is_guest and not self.firebase_id:
            raise PydanticCustomError("buyer", "firebaseId is missing (or isGuest with guestEmail)")
        return self

    def buyer(self, email: str | None, name: str | None) -> Buyer:
        guest = self.guest_email if self.is_guest else None
        return Buyer(self.firebase_id, guest, email or guest, name or None)


class CreatePaymentIntent(BuyerFields):
    cart_items: Annotated[list[CartLine], Field(max_length=MAX_CART_ITEMS)] = Field(default_factory=list)
    amount: Annotated[int, Field(ge=0, lt=_INT64)] | None = None
    """What the browser shows as the total, in minor units."""
    currency: Currency = CURRENCY
    customer_email: Email | None = None
    name: Text | None = None
    promo_code: Text | None = None
    address_details: Address | None = None


class PaymentIntentCreated(Model):
    client_secret: Annotated[str | None, Field(alias="client_secret")]
    payment_intent_id: str
    amount: int
    currency: str


class CreateCustomer(Model):
    uid: CallerUid | None = None
    email: Email
    name: Text | None = None


class CustomerCreated(Model):
    id: str
    ok: bool = True
    reused: bool
    description: str


class FinalizeOrder(BuyerFields):
    payment_intent_id: PaymentIntentId
    user_email: Email | None = None
    user_name: Text | None = None
    cart_items: Annotated[list[CartLine], Field(max_length=MAX_CART_ITEMS)] = Field(default_factory=list)
    address_details: Address | None = None


class FulfilledLine(Model):
    event_id: str
    rager_id: str
    qty: int
    new_qty: int

    @classmethod
    def of(cls, item: FulfilledItem) -> Self:
        return cls(event_id=item.event_id, rager_id=item.rager_id, qty=item.qty, new_qty=item.new_qty)


class FailedLine(Model):
    event_id: str
    qty: int
    code: str
    message: str

    @classmethod
    def of(cls, item: FailedItem) -> Self:
        return cls(event_id=item.event_id, qty=item.qty, code=item.code, message=item.message)


class OrderFinalized(Model):
    ok: bool
    """Whether there is at least one ticket, and its money has not gone back."""
    order_number: str
    status: str
    created_tickets: int
    details: list[FulfilledLine]
    errors: list[FailedLine] | None = None
    idempotent: bool | None = None
    message: str | None = None

    @classmethod
    def of(cls, fulfilled: Fulfilled) -> Self:
        ledger = fulfilled.ledger
        return cls(
            ok=ledger.created_tickets > 0 and ledger.status != "refunded",
            order_number=ledger.order_number,
            status=ledger.status,
            created_tickets=ledger.created_tickets,
            details=[FulfilledLine.of(item) for item in ledger.details],
            errors=[FailedLine.of(item) for item in ledger.errors] or None,
            idempotent=fulfilled.replayed or None,
            message="Already fulfilled" if fulfilled.replayed else None,
        )
