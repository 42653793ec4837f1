"""What the refund route takes and gives."""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from services.checkout.manual_tickets import UNPAID
from services.checkout.schemas.orders import PaymentIntentId
from shared.documents import Refund
from shared.schemas import DocumentId, Model, Text


class RefundItem(Model):
    """An item of the order, by the batch of tickets that came of it; all of it goes back."""

    rager_id: DocumentId


_MADE_BY_HAND: Final = re.compile(f"{UNPAID}[0-9a-f]{{1,64}}")


def _or_made_by_hand(given: Any, payment_intent_id: ValidatorFunctionWrapHandler) -> str:
    made_by_hand = isinstance(given, str) and _MADE_BY_HAND.fullmatch(given)
    return str(given if made_by_hand else payment_intent_id(given))


OrderId = Annotated[PaymentIntentId, WrapValidator(_or_made_by_hand)]
"""An order as the ledger has it: by its payment, or by the name it has instead."""


class RefundOrder(Model):
    """All that is left of a payment, or the items named, or an amount in minor units."""

    payment_intent_id: OrderId
    items: Annotated[list[RefundItem], Field(min_length=1, max_length=50)] | None = None
    amount_cents: Annotated[int, Field(gt=0, lt=2**63)] | None = None
    reason: Literal["requested_by_customer", "duplicate", "fraudulent", "event_canceled", "other"]
    note: Text | None = None
    force: bool = False
    """Refund used and transferred tickets too."""
    restock: bool = True
    """Put the tickets on sale again."""

    @property
    def paid(self) -> bool:
        """Whether there is a payment at all."""
        return not self.payment_intent_id.startswith(UNPAID)

    @model_validator(mode="after")
    def _items_or_amount(self) -> Self:
        if self.items is not None and self.amount_cents is not None:
            raise PydanticCustomError("refund", "items and amountCents exclude each other")
        return self


class OrderRefunded(Model):
    ok: bool
    """False when Stripe refused: see ``status``."""
    refund_id: str
    """Stripe's id once it has one, ours until then."""
    amount: int
    status: str

    @classmethod
    def of(cls, refund: Refund) -> Self:
        return cls(
            ok=refund.status != "failed",
            refund_id=refund.stripe_refund_id or refund.id,
            amount=refund.amount,
            status=refund.status,
        )
