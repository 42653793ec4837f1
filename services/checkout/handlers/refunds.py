"""Money that goes back."""

import hashlib
import secrets
from datetime import UTC, datetime

from aiohttp import web

from services.checkout.counter import refunds_of
from services.checkout.payments import StripeDisabled
from services.checkout.refund_rules import (
    ItemSplit,
    OrderNotFound,
    RefundExceedsPayment,
    TicketsTransferred,
    TicketsUsed,
    UnknownItem,
)
from services.checkout.refunds import RefundAsked
from services.checkout.schemas.refunds import OrderRefunded, RefundOrder
from shared.http import Routes

routes = Routes()


@routes.post(
    "/refund-order",
    RefundOrder,
    OrderRefunded,
    admin=True,
    refusals=[
        OrderNotFound, RefundExceedsPayment, TicketsUsed, TicketsTransferred, UnknownItem, ItemSplit, StripeDisabled
    ],
)  # fmt: skip
async def refund_order(request: web.Request, asked: RefundOrder) -> OrderRefunded:
    """Refund an order, some of its items, or an amount; with x-idempotency-key once, however often it is sent."""
    wanted = RefundAsked(
        payment_intent_id=asked.payment_intent_id,
        key=_key(request),
        rager_ids=[item.rager_id for item in asked.items] if asked.items else None,
        amount=asked.amount_cents,
        reason=asked.reason,
        note=asked.note,
        force=asked.force,
        restock=asked.restock,
    )
    return OrderRefunded.of(await refunds_of(request.app).refund(wanted, datetime.now(UTC)))


def _key(request: web.Request) -> str:
    given = request.headers.get("x-idempotency-key", "").strip()
    return "admin-" + (hashlib.sha256(given.encode()).hexdigest()[:32] if given else secrets.token_hex(12))
