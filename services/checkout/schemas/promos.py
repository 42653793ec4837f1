"""What the route of promo codes takes and gives."""

from typing import Annotated, Final, Self

from pydantic import Field

from services.checkout.promos import InvalidPromoCode, discount
from shared.documents import PromoCode
from shared.schemas import Model, Text

_INT64: Final = 2**63


class ValidatePromoCode(Model):
    code: Text
    cart_total: Annotated[int, Field(ge=0, lt=_INT64)]
    """The sum of the tickets before tax, in minor units, as all our amounts are."""


class PromoCodeValidity(Model):
    valid: bool
    discount_amount: int
    """Minor units; 0 for a code that is not valid."""
    display_code: str | None = None
    type: str | None = None
    """percentage or fixed."""
    value: float | None = None
    """Percent or dollars, as the code's document has it."""
    message: str

    @classmethod
    def of(cls, promo: PromoCode, cart_total: int) -> Self:
        off = f"{promo.value.normalize():f}%" if promo.type == "percentage" else f"{promo.value:.2f} USD"
        return cls(
            valid=True,
            discount_amount=discount(promo, cart_total),
            display_code=promo.shown,
            type=promo.type,
            value=float(promo.value),
            message=f"{promo.shown}: {off} off.",
        )

    @classmethod
    def refused(cls, refusal: InvalidPromoCode) -> Self:
        return cls(valid=False, discount_amount=0, message=refusal.error)
