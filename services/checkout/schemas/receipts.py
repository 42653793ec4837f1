"""What the routes of receipts take and give."""

from typing import Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from services.checkout.receipt_requests import WhichOrder
from shared.schemas import DocumentId, Email, Model


class ResendReceipt(Model):
    """The order by its ledger entry, its payment (which has the same id) or its number."""

    fulfillment_id: DocumentId | None = None
    payment_intent_id: DocumentId | None = None
    order_number: DocumentId | None = None
    email: Email | None = None
    """Instead of the order's own address."""

    @model_validator(mode="after")
    def _names_an_order(self) -> Self:
        if not (self.fulfillment_id or self.payment_intent_id or self.order_number):
            raise PydanticCustomError("order", "fulfillmentId, paymentIntentId or orderNumber is missing")
        return self

    def which(self) -> WhichOrder:
        return WhichOrder(self.fulfillment_id or self.payment_intent_id, self.order_number)


class ReceiptQueued(Model):
    ok: bool = True
    queued: bool = True


class MyReceipts(Model):
    email: Email
    order_number: DocumentId | None = None


class Accepted(Model):
    ok: bool = True
