"""The letters of a transfer, each sent by a job of its own: what has become of the tickets, to those they concern."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from services.checkout.claim_tokens import ClaimTokens, hash_of
from services.checkout.claims import Reissue
from services.checkout.letters import Letter, when
from services.checkout.mail import Mailer
from services.checkout.recipients import address_of
from services.checkout.ticket_mails import tickets_letter
from services.checkout.transfers import named, tickets
from shared.documents import Event, Rager, TicketTransfer
from shared.firestore import paths
from shared.firestore.client import Database
from shared.operations import Write
from shared.worker import Run


@dataclass(frozen=True, slots=True)
class Posted:
    """A letter and what makes it another one than an earlier letter of the same job, e.g. its token's hash."""

    letter: Letter
    edition: str = ""


@dataclass(frozen=True, slots=True)
class TransferMails:
    """``site`` is where a transfer can be claimed: ``<site>/claim-ticket?t=<token>``."""

    database: Database
    mailer: Mailer
    tokens: ClaimTokens
    site: str

    async def run(self, run: Run) -> Sequence[Write]:
        """The job: payload ``transferId`` and ``letter``, a key of LETTERS."""
        payload = run.job.payload or {}
        transfer = TicketTransfer.of(await self.database.get(paths.ticket_transfer(str(payload["transferId"]))))
        if transfer is None:
            return ()
        event_path = paths.event(transfer.event_id)
        event = Event.of(await self.database.get(event_path)) or Event(event_path)
        write = LETTERS[str(payload["letter"])]
        if (posted := await write(self, run, transfer, event)) is not None:
            await self.mailer.send(posted.letter, run.idempotency_key + posted.edition)
        return ()

    async def offer(self, run: Run, transfer: TicketTransfer, event: Event) -> Posted | None:
        """To the recipient, while they can claim: the one place where the claim token is written."""
        to, token = await self._recipient(transfer), self.tokens.token(transfer.id)
        if to is None or not await run.committer.run(Reissue(transfer, hash_of(token))):
            return None
        context = {
            "transfer": transfer,
            "tickets": tickets(transfer),
            "event": event,
            "link": f"{self.site.rstrip('/')}/claim-ticket?t={quote(token, safe='')}",
        }
        subject = f"{transfer.from_name or 'Somebody'} sent you {tickets(transfer)} for {named(event)}"
        return Posted(Letter("transfer_offer", to, subject, context), f"-{hash_of(token)[:16]}")

    async def sent(self, _run: Run, transfer: TicketTransfer, event: Event) -> Posted | None:
        to = transfer.to_email or f"@{transfer.to_username}"
        lines = (
            f"You sent {tickets(transfer)} for {named(event)} to {to}.",
            f"They can be claimed until {when(transfer.expires_at)}. Until then you can take them back.",
            "Once one of them has been scanned at the door, they can no longer be claimed.",
        )
        return _news(await self._sender(transfer), "Your tickets are on their way", lines)

    async def claimed(self, _run: Run, transfer: TicketTransfer, event: Event) -> Posted | None:
        line = (
            f"The {tickets(transfer)} for {named(event)} that you sent were claimed. Your code no longer admits them."
        )
        return _news(await self._sender(transfer), "Your tickets were claimed", (line,))

    async def expired(self, _run: Run, transfer: TicketTransfer, event: Event) -> Posted | None:
        line = f"Nobody claimed the {tickets(transfer)} for {named(event)} that you sent. They are yours again."
        return _news(await self._sender(transfer), "Your transfer has expired", (line,))

    async def cancelled(self, _run: Run, transfer: TicketTransfer, event: Event) -> Posted | None:
        line = f"{transfer.from_name or 'The sender'} took back the {tickets(transfer)} for {named(event)}."
        lines = (line, "The link in our earlier mail does not work any more.")
        return _news(await self._recipient(transfer), "A transfer was cancelled", lines)

    async def new_code(self, _run: Run, transfer: TicketTransfer, event: Event) -> Posted | None:
        """To the new holder."""
        path = paths.rager(transfer.event_id, transfer.claimed_rager_id or "-")
        rager = Rager.of(await self.database.get(path))
        to = (rager and rager.email) or await self._recipient(transfer)
        if rager is None or not rager.counts or to is None:
            return None
        return Posted(await asyncio.to_thread(tickets_letter, rager, event, to))

    async def _sender(self, transfer: TicketTransfer) -> str | None:
        return transfer.from_email or await address_of(self.database, transfer.from_user_id)

    async def _recipient(self, transfer: TicketTransfer) -> str | None:
        if transfer.to_email or transfer.to_user_id is None:
            return transfer.to_email
        return await address_of(self.database, transfer.to_user_id)


def _news(to: str | None, heading: str, lines: Sequence[str]) -> Posted | None:
    return Posted(Letter("transfer_news", to, heading, {"heading": heading, "lines": lines})) if to else None


Author = Callable[[TransferMails, Run, TicketTransfer, Event], Awaitable[Posted | None]]
LETTERS: Final[Mapping[str, Author]] = {
    "offer": TransferMails.offer,
    "sent": TransferMails.sent,
    "claimed": TransferMails.claimed,
    "tickets": TransferMails.new_code,
    "cancelled": TransferMails.cancelled,
    "expired": TransferMails.expired,
}
