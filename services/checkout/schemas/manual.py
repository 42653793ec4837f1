"""What ``/manual-create-ticket`` takes and gives."""

from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from services.checkout.manual_tickets import ManualOrder
from services.checkout.pricing import CURRENCY
from services.checkout.schemas.orders import PaymentIntentId
from shared.documents import ManualTicket
from shared.schemas import DocumentId, Email, Model, Quantity, Text

MAX_PRICE_CENTS = 100_000_000
CurrencyCode = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, pattern="^[A-Za-z]{3}$")]


class ManualCreateTicket(Model):
    """For an event by id or by its unique name."""

    uid: DocumentId
    event_id: DocumentId | None = None
    event_name: Text | None = None
    qty: Quantity = 1
    price_cents: Annotated[int, Field(ge=0, le=MAX_PRICE_CENTS)] = 0
    """Of one ticket, in minor units."""
    email: Email | None = None
    name: Text | None = None
    title: Text | None = None
    create_fulfillment: bool = False
    payment_intent_id: PaymentIntentId | None = None
    order_number: DocumentId | None = None
    currency: CurrencyCode = CURRENCY

    @model_validator(mode="after")
    def _event(self) -> Self:
        if not self.event_id and not self.event_name:
            raise PydanticCustomError("event", "one of eventId and eventName is needed")
        return self

    def order(self) -> ManualOrder:
        return ManualOrder(
            user_id=self.uid,
            event_id=self.event_id or "",
            qty=self.qty,
            price_cents=self.price_cents,
            currency=self.currency,
            email=self.email,
            name=self.name or None,
            title=self.title or None,
            order_number=self.order_number,
            payment_intent_id=self.payment_intent_id,
            ledger=self.create_fulfillment,
        )


class ManualTicketCreated(Model):
    ok: bool = True
    order_number: str
    event_id: str
    rager_id: str
    qty: int
    email: str | None

    @classmethod
    def of(cls, ticket: ManualTicket) -> Self:
        return cls(
            order_number=ticket.order_number,
            event_id=ticket.event_id,
            rager_id=ticket.rager_id,
            qty=ticket.qty,
            email=ticket.email,
        )
