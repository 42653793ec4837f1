"""Money that goes back."""

import hashlib
import secrets
from datetime import UTC, datetime
from typing import NoReturn

from aiohttp import web

from services.checkout.archive import Archive
from services.checkout.counter import refunds_of
from services.checkout.idempotency import idempotency_key
from services.checkout.payments import IdempotencyConflict, StripeDisabled
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
from shared.errors import Conflict
from shared.http import Routes
from shared.wiring import DB

routes = Routes()


class NoPayment(Conflict):
    """The order was made by hand."""

    code = "no_payment"


@routes.post(
    "/refund-order",
    RefundOrder,
    OrderRefunded,
    admin=True,
    refusals=[
        OrderNotFound, NoPayment, RefundExceedsPayment, TicketsUsed, TicketsTransferred, UnknownItem, ItemSplit,
        IdempotencyConflict, StripeDisabled,
    ],
)  # fmt: skip
async def refund_order(request: web.Request, asked: RefundOrder) -> OrderRefunded:
    """Refund an order, some of its items, or an amount; with x-idempotency-key once, however often it is sent."""
    if not asked.paid:
        await _refuse_unpaid(request.app, asked.payment_intent_id)
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


async def _refuse_unpaid(app: web.Application, ledger_id: str) -> NoReturn:
    if await Archive(app[DB]).by_payment(ledger_id) is None:
        raise OrderNotFound("There is no such order.")
    raise NoPayment("These tickets were made by hand and never paid for here, so no money can go back.")


def _key(request: web.Request) -> str:
    given = idempotency_key(request)
    return "admin-" + (hashlib.sha256(given.encode()).hexdigest()[:32] if given else secrets.token_hex(12))
