"""Tickets that an admin makes."""

from datetime import UTC, datetime

from aiohttp import web

from services.checkout.idempotency import idempotency_key
from services.checkout.manual_desk import AmbiguousEvent, ManualDesk
from services.checkout.manual_tickets import AlreadyFulfilled, EventNotFound, OrderNumberTaken
from services.checkout.pricing import SoldOut
from services.checkout.schemas.manual import ManualCreateTicket, ManualTicketCreated
from services.checkout.transfers import IdempotencyConflict
from shared.http import Routes
from shared.wiring import COMMITTER, DB

routes = Routes()


@routes.post(
    "/manual-create-ticket",
    ManualCreateTicket,
    ManualTicketCreated,
    admin=True,
    nulls=True,
    refusals=[EventNotFound, AmbiguousEvent, SoldOut, AlreadyFulfilled, OrderNumberTaken, IdempotencyConflict],
)
async def manual_create_ticket(request: web.Request, asked: ManualCreateTicket) -> ManualTicketCreated:
    """Make tickets for somebody, without a payment of ours."""
    ticket = await ManualDesk(request.app[DB], request.app[COMMITTER]).create(
        asked.order(),
        event_name=asked.event_name,
        idempotency_key=idempotency_key(request),
        now=datetime.now(UTC),
    )
    return ManualTicketCreated.of(ticket)
