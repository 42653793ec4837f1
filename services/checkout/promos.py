"""Promo codes: what one takes off an order, and how often it may. Pure.

The discount comes off the sum of the tickets, before tax: tax is due on what is charged for them. A use is set aside
when a payment is started (with its hold) and counted in the commit that fulfils the order, so that no code is used
more often than ``maxUses`` whatever happens at the same time. Where no use was set aside (holds are off, or the hold
has run out) and none is left by then, the order is not fulfilled and its money goes back. A refund of a fulfilled order
does not give its use back.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, Self

from shared.documents import Hold, PendingOrder, PromoCode
from shared.errors import BadRequest
from shared.operations import Increment, Merge, Write

TYPES: Final = frozenset({"percentage", "fixed"})


class InvalidPromoCode(BadRequest):
    """``reason`` is unknown, inactive, expired, exhausted or minimum (with ``minimumTotal``, in minor units)."""

    code = "invalid_promo_code"


@dataclass(frozen=True, slots=True)
class Applied:
    """A code that an order was promised. ``cents`` is what it takes off; ``path`` is where its document is."""

    path: str
    code: str
    cents: int

    @classmethod
    def of(cls, order: PendingOrder | None) -> Self | None:
        if order is None or order.promo_path is None:
            return None
        return cls(order.promo_path, order.promo_code or "", order.discount_cents)


def refused(reason: str, sentence: str, **fields: object) -> InvalidPromoCode:
    return InvalidPromoCode(sentence, fields={"reason": reason, **fields})


def unknown() -> InvalidPromoCode:
    return refused("unknown", "This promo code does not exist.")


def check_usable(promo: PromoCode, subtotal: int, now: datetime) -> None:
    """Raises InvalidPromoCode unless the code is good for an order of ``subtotal`` (minor units)."""
    if promo.malformed or not promo.active or promo.type not in TYPES or promo.value <= 0:
        raise refused("inactive", "This promo code is not active.")
    if promo.expires_at is not None and promo.expires_at <= now:
        raise refused("expired", "This promo code has expired.")
    check_left(promo)
    if subtotal < promo.minimum_cents:
        least = f"{promo.minimum_cents // 100}.{promo.minimum_cents % 100:02d}"
        raise refused("minimum", f"This promo code is for orders from {least} USD.", minimumTotal=promo.minimum_cents)


def check_left(promo: PromoCode) -> None:
    if promo.exhausted:
        raise refused("exhausted", "This promo code has been used up.")


def discount(promo: PromoCode, subtotal: int) -> int:
    """What comes off (minor units), rounded half up, from nothing to all there is."""
    share = Decimal(subtotal) * promo.value / 100 if promo.type == "percentage" else promo.value * 100
    return int(max(Decimal(0), min(Decimal(subtotal), share)).to_integral_value(ROUND_HALF_UP))


def reserve(promo: PromoCode) -> Iterator[Write]:
    """Set one use aside; raises InvalidPromoCode when none is left. A code without a maximum needs none set aside."""
    check_left(promo)
    if promo.max_uses is not None:
        yield Merge(promo.path, PromoCode.patch(reserved=Increment(1)))


def release(promo: PromoCode | None, hold: Hold | None) -> Iterator[Write]:
    """Give back the use that a hold has set aside."""
    if promo is not None and _reserved(promo, hold):
        yield Merge(promo.path, PromoCode.patch(reserved=Increment(-1)))


def spent(promo: PromoCode | None, hold: Hold | None) -> bool:
    """Whether a paid order can no longer have its code: no use was set aside for it, and none is left."""
    return promo is not None and not _reserved(promo, hold) and promo.exhausted


def count(promo: PromoCode | None) -> Iterator[Write]:
    """One more fulfilled order has had it."""
    if promo is not None:
        yield Merge(promo.path, PromoCode.patch(uses=Increment(1)))


def _reserved(promo: PromoCode, hold: Hold | None) -> bool:
    return hold is not None and hold.status == "held" and hold.promo_path == promo.path
