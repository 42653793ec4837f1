"""The jobs by which tickets that change hands are told of and end."""

from aiohttp import web

from services.checkout.mail import MAILER
from services.checkout.settings import CHECKOUT_SETTINGS
from services.checkout.ticket_mails import TICKETS, TicketMails
from services.checkout.transfer_desk import TRANSFER_DESK
from services.checkout.transfer_mails import TransferMails
from services.checkout.transfers import EXPIRY, MAIL
from shared.wiring import DB
from shared.worker import JobHandler


def ticket_jobs(app: web.Application) -> dict[str, JobHandler]:
    desk, site = app[TRANSFER_DESK], app[CHECKOUT_SETTINGS].public_site_url
    mails = TransferMails(app[DB], app[MAILER], desk.tokens, site)
    return {MAIL: mails.run, EXPIRY: desk.expire, TICKETS: TicketMails(app[DB], app[MAILER]).run}
