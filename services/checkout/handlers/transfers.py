"""Tickets that change hands."""

from datetime import UTC, datetime

from aiohttp import web

from services.checkout import claims, guest_tickets, limits, recipients, transfers
from services.checkout.claims import Claimer
from services.checkout.guest_claims import Account
from services.checkout.idempotency import idempotency_key
from services.checkout.proven_email import EmailNotVerified, OtherEmail, own_email, proven_email
from services.checkout.schedule import EventPast
from services.checkout.schemas.transfers import (
    CancelTransferRequest,
    ClaimGuestTicketsRequest,
    ClaimTicket,
    GuestBatch,
    GuestTicketsClaimed,
    PreviewTransfer,
    TicketClaimed,
    TicketTransferred,
    TransferCancelled,
    TransferPreview,
    TransferTicket,
)
from services.checkout.transfer_desk import TRANSFER_DESK
from services.checkout.transfers import Offer, Recipient, Sender
from shared import auth
from shared.firestore.client import Database
from shared.http import Routes
from shared.wiring import COMMITTER, DB

routes = Routes()

RECIPIENT_REFUSALS = (recipients.UsernameNotFound, recipients.TransferToSelf, recipients.RecipientUnreachable)
TICKET_REFUSALS = (
    transfers.TicketNotFound,
    transfers.NotOwner,
    transfers.AlreadyUsed,
    transfers.TransferPending,
    transfers.AlreadyTransferred,
    transfers.Refunded,
    transfers.Inactive,
    transfers.NotEnoughTickets,
    EventPast,
    transfers.IdempotencyConflict,
)
PENDING_REFUSALS = (claims.TransferNotFound, claims.TransferNotPending, claims.TransferExpired)


@routes.post(
    "/transfer-ticket",
    TransferTicket,
    TicketTransferred,
    limits=limits.TRANSFER,
    nulls=True,
    refusals=[*RECIPIENT_REFUSALS, *TICKET_REFUSALS],
)
async def transfer_ticket(request: web.Request, asked: TransferTicket) -> TicketTransferred:
    """Send a batch of tickets, or a part of it, to somebody else."""
    sender = Sender(asked.sender_user_id, asked.sender_email, asked.sender_name or None)
    recipient = await _recipient(request.app[DB], asked, sender)
    offer = Offer(asked.event_id, asked.rager_id, sender, recipient, asked.quantity)
    started = await request.app[TRANSFER_DESK].start(
        offer, idempotency_key=idempotency_key(request), now=datetime.now(UTC)
    )
    return TicketTransferred.of(started.transfer, recipient)


async def _recipient(database: Database, asked: TransferTicket, sender: Sender) -> Recipient:
    if asked.recipient_email:
        return await recipients.by_email(database, asked.recipient_email, sender)
    return await recipients.by_username(database, asked.recipient_username or "", sender)


@routes.get("/transfer-preview", PreviewTransfer, TransferPreview, nulls=True, refusals=PENDING_REFUSALS)
async def transfer_preview(request: web.Request, asked: PreviewTransfer) -> TransferPreview:
    """What the holder of a claim link is about to claim."""
    transfer, event = await request.app[TRANSFER_DESK].preview(asked.token, datetime.now(UTC))
    return TransferPreview.of(transfer, event)


@routes.post(
    "/claim-ticket",
    ClaimTicket,
    TicketClaimed,
    limits=limits.CLAIM,
    refusals=[claims.NotRecipient, *PENDING_REFUSALS, transfers.AlreadyUsed, transfers.Refunded],
)
async def claim_ticket(request: web.Request, asked: ClaimTicket) -> TicketClaimed:
    """Take over the tickets of a transfer, under a new code."""
    email = await proven_email(request, asked.claimer_email)
    claimer = Claimer(asked.claimer_user_id, email, asked.claimer_name or None)
    claimed = await request.app[TRANSFER_DESK].claim(asked.claim_token, claimer, datetime.now(UTC))
    return TicketClaimed.of(claimed)


@routes.post(
    "/cancel-transfer",
    CancelTransferRequest,
    TransferCancelled,
    refusals=[claims.TransferNotFound, claims.TransferNotPending, transfers.NotOwner],
)
async def cancel_transfer(request: web.Request, asked: CancelTransferRequest) -> TransferCancelled:
    """Take back what has not been claimed yet."""
    if asked.sender_user_id is None:
        await auth.require_admin(request)
    await request.app[TRANSFER_DESK].cancel(asked.transfer_id, asked.sender_user_id, datetime.now(UTC))
    return TransferCancelled(message="The transfer was cancelled. The tickets are the sender's again.")


@routes.post(
    "/claim-guest-tickets",
    ClaimGuestTicketsRequest,
    GuestTicketsClaimed,
    limits=limits.CLAIM_GUEST_TICKETS,
    refusals=[auth.TokenMissing, EmailNotVerified, OtherEmail],
)
async def claim_guest_tickets(request: web.Request, asked: ClaimGuestTicketsRequest) -> GuestTicketsClaimed:
    """Hand what a guest bought to the account that has the guest's address."""
    app, account = request.app, Account(asked.user_id, await own_email(request, asked.user_email))
    claimed = await guest_tickets.claim_guest_tickets(app[DB], app[COMMITTER], account, datetime.now(UTC))
    return GuestTicketsClaimed(
        claimed=len(claimed),
        ticket_count=sum(batch.ticket_quantity for batch in claimed),
        tickets=[GuestBatch.of(batch) for batch in claimed],
    )
