"""Where tickets change hands: looks transfers up, runs their operations, ends those that nobody claimed."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web
from prometheus_client import Counter

from services.checkout.batches import NewTickets
from services.checkout.claim_tokens import ClaimTokens, hash_of
from services.checkout.claims import Claimed, Claimer, ClaimTransfer, TransferNotFound, check_pending
from services.checkout.metrics import CHECKOUT_METRICS
from services.checkout.settings import CHECKOUT_SETTINGS
from services.checkout.transfer_ends import CancelTransfer, ExpireTransfer
from services.checkout.transfers import Offer, Started, StartTransfer
from shared.documents import Event, TicketTransfer
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query
from shared.operations import Write
from shared.wiring import COMMITTER, DB
from shared.worker import Run


@dataclass(frozen=True, slots=True)
class TransferDesk:
    """``outcomes`` counts what becomes of transfers, ``lifetime`` is how long one can be claimed."""

    database: Database
    committer: Committer
    tokens: ClaimTokens
    lifetime: timedelta
    outcomes: Counter

    async def start(self, offer: Offer, *, idempotency_key: str | None, now: datetime) -> Started:
        """Raises what ``StartTransfer`` refuses."""
        transfer_id = _transfer_id(offer.sender.user_id, idempotency_key)
        token_hash = self.tokens.hash(transfer_id)
        started = await self.committer.run(
            StartTransfer(offer, transfer_id, token_hash, NewTickets.draw(), self.lifetime, now)
        )
        self.outcomes.labels("started").inc(not started.replayed)
        return started

    async def preview(self, token: str, now: datetime) -> tuple[TicketTransfer, Event | None]:
        """What can be claimed with a token; TransferNotFound, TransferExpired or TransferNotPending."""
        transfer = await self._by_token(token)
        check_pending(transfer, now)
        return transfer, Event.of(await self.database.get(paths.event(transfer.event_id)))

    async def claim(self, token: str, claimer: Claimer, now: datetime) -> Claimed:
        """Raises what ``ClaimTransfer`` refuses, and TransferNotFound."""
        found = await self._by_token(token)
        claimed = await self.committer.run(ClaimTransfer(found, claimer, NewTickets.draw(), now))
        self.outcomes.labels("claimed").inc(not claimed.replayed)
        return claimed

    async def cancel(self, transfer_id: str, sender_id: str | None, now: datetime) -> None:
        """``sender_id`` None is an admin's doing. Raises TransferNotFound, NotOwner or TransferNotPending."""
        found = TicketTransfer.of(await self.database.get(paths.ticket_transfer(transfer_id)))
        if found is None:
            raise TransferNotFound("There is no such transfer.")
        if await self.committer.run(CancelTransfer(found, now, sender_id)):
            self.outcomes.labels("cancelled").inc()

    async def expire(self, run: Run) -> Sequence[Write]:
        """The job that is due when a transfer expires: payload ``transferId``."""
        path = paths.ticket_transfer(str((run.job.payload or {})["transferId"]))
        found = TicketTransfer.of(await self.database.get(path))
        if found is not None and await self.committer.run(ExpireTransfer(found, datetime.now(UTC))):
            self.outcomes.labels("expired").inc()
        return ()

    async def _by_token(self, token: str) -> TicketTransfer:
        name = TicketTransfer.stored_name("claim_token_hash")
        found = await self.database.query(Query("ticketTransfers", where=[(name, "==", hash_of(token))], limit=1))
        if not found or (transfer := TicketTransfer.of(found[0])) is None:
            raise TransferNotFound("There is no such transfer. Please use the link from the mail as it is.")
        return transfer


def _transfer_id(user_id: str, idempotency_key: str | None) -> str:
    """Follows from the sender and their key, where there is one."""
    if idempotency_key is None:
        return secrets.token_hex(16)
    return hashlib.sha256(repr((user_id, idempotency_key)).encode()).hexdigest()[:32]


TRANSFER_DESK: Final = web.AppKey("transfer_desk", TransferDesk)


async def transfer_desk(app: web.Application) -> AsyncIterator[None]:
    settings, metrics = app[CHECKOUT_SETTINGS], app[CHECKOUT_METRICS]
    lifetime = timedelta(hours=settings.transfer_ttl_hours)
    app[TRANSFER_DESK] = TransferDesk(app[DB], app[COMMITTER], ClaimTokens.of(settings), lifetime, metrics.transfers)
    yield
