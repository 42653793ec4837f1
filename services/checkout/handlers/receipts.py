"""Receipts, sent again."""

from datetime import UTC, datetime

from aiohttp import web

from services.checkout import limits
from services.checkout.archive import Archive
from services.checkout.idempotency import idempotency_key
from services.checkout.receipt_requests import KeyUsedBefore, NoAddress, OrderNotFound, ReceiptDesk
from services.checkout.schemas.receipts import Accepted, MyReceipts, ReceiptQueued, ResendReceipt
from shared.http import Routes
from shared.wiring import COMMITTER, DB

routes = Routes()


def _desk(app: web.Application) -> ReceiptDesk:
    return ReceiptDesk(Archive(app[DB]), app[COMMITTER])


@routes.post(
    "/resend-receipt", ResendReceipt, ReceiptQueued, admin=True, refusals=[OrderNotFound, NoAddress, KeyUsedBefore]
)
async def resend_receipt(request: web.Request, asked: ResendReceipt) -> ReceiptQueued:
    """Send an order's receipt again; with x-idempotency-key once, however often it is asked."""
    await _desk(request.app).again(asked.which(), asked.email, idempotency_key(request), datetime.now(UTC))
    return ReceiptQueued()


@routes.post("/my-receipts", MyReceipts, Accepted, limits=limits.MY_RECEIPTS)
async def my_receipts(request: web.Request, asked: MyReceipts) -> Accepted:
    """Mail an address its orders, or one order's receipt. The answer does not tell whether there are any."""
    await _desk(request.app).mine(asked.email, asked.order_number, datetime.now(UTC))
    return Accepted()
