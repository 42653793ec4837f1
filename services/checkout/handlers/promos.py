"""Promo codes."""

from datetime import UTC, datetime

from aiohttp import web

from services.checkout import limits
from services.checkout.promo_lookup import promo_of
from services.checkout.promos import InvalidPromoCode, check_usable
from services.checkout.schemas.promos import PromoCodeValidity, ValidatePromoCode
from shared.http import Routes
from shared.wiring import DB

routes = Routes()


@routes.post(
    "/validate-promo-code", ValidatePromoCode, PromoCodeValidity, limits=limits.VALIDATE_PROMO_CODE, nulls=True
)
async def validate_promo_code(request: web.Request, asked: ValidatePromoCode) -> PromoCodeValidity:
    """What a code would take off a cart; one that is not valid is an answer, not an error."""
    try:
        promo = await promo_of(request.app[DB], asked.code)
        check_usable(promo, asked.cart_total, datetime.now(UTC))
    except InvalidPromoCode as refusal:
        return PromoCodeValidity.refused(refusal)
    return PromoCodeValidity.of(promo, asked.cart_total)
