"""The jobs that send receipts."""

from aiohttp import web

from services.checkout.archive import Archive
from services.checkout.fulfilment import RECEIPT
from services.checkout.mail import MAILER
from services.checkout.receipt_requests import AGAIN, MINE, RequestedReceipts
from services.checkout.receipts import Receipts
from shared.wiring import DB
from shared.worker import JobHandler


def receipt_jobs(app: web.Application) -> dict[str, JobHandler]:
    receipts = Receipts(app[DB], app[MAILER])
    requested = RequestedReceipts(Archive(app[DB]), receipts, app[MAILER])
    return {RECEIPT: receipts.run, AGAIN: requested.again, MINE: requested.mine}
