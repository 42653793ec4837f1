"""Claiming a transfer: the tickets become the recipient's, under a new code. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.checkout.addresses import same
from services.checkout.batches import NewTickets, credited, issued
from services.checkout.notifications import told
from services.checkout.transfers import Refunded, check_unused, mail, named, tickets
from shared.documents import Event, Rager, TicketTransfer
from shared.errors import Conflict, Forbidden, Gone, NotFound
from shared.firestore import paths
from shared.operations import Decision, Delete, Documents, Merge, Write


class TransferNotFound(NotFound):
    code = "transfer_not_found"


class NotRecipient(Forbidden):
    code = "not_recipient"


class TransferNotPending(Conflict):
    """``status`` says what became of it."""

    code = "transfer_not_pending"


class TransferExpired(Gone):
    code = "transfer_expired"


@dataclass(frozen=True, slots=True)
class Claimer:
    """``email`` is an address that is known to be theirs."""

    user_id: str
    email: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    rager_id: str
    event_id: str
    event_name: str
    ticket_quantity: int
    replayed: bool


@dataclass(frozen=True, slots=True)
class ClaimTransfer:
    """``found`` is the transfer as it was looked up by its token; what it names does not change any more."""

    found: TicketTransfer
    claimer: Claimer
    tickets: NewTickets
    now: datetime

    @property
    def lane(self) -> str:
        return self.found.event_id

    @property
    def _rager_path(self) -> str:
        return paths.rager(self.found.event_id, self.found.rager_id)

    @property
    def _sums_path(self) -> str:
        return paths.summary(self.found.event_id, self.found.from_user_id)

    def reads(self) -> Sequence[str]:
        return (self.found.path, self._rager_path, self._sums_path, paths.event(self.found.event_id))

    def decide(self, docs: Documents) -> Decision[Claimed]:
        transfer, event = TicketTransfer.of(docs[self.found.path]), Event.of(docs[paths.event(self.found.event_id)])
        if transfer is None:
            raise TransferNotFound("There is no such transfer.")
        check_recipient(transfer, self.claimer)
        if transfer.status == "claimed" and transfer.to_user_id == self.claimer.user_id:
            replayed = transfer.claimed_at != self.now
            return Decision(_claimed(transfer, transfer.claimed_rager_id or "", event, replayed=replayed))
        check_pending(transfer, self.now)
        rager = Rager.of(docs[self._rager_path])
        if rager is None or rager.pending_transfer_id != transfer.id:
            raise TransferNotPending("These tickets are not being transferred any more.")
        check_unused(rager)
        if not rager.counts:
            raise Refunded("These tickets were refunded.")
        claimed = self._claimed(rager, transfer)
        writes = (*self._moved(rager, claimed, summed=docs[self._sums_path].exists), *self._records(transfer, event))
        return Decision(_claimed(transfer, claimed.id, event, replayed=False), writes)

    def _claimed(self, rager: Rager, transfer: TicketTransfer) -> Rager:
        """The recipient's batch: same tickets, same order, new holder and new code."""
        return replace(
            rager,
            path=paths.rager(rager.event_id, self.tickets.rager_id),
            user_id=self.claimer.user_id,
            email=self.claimer.email,
            guest_email=None,
            owner=self.claimer.name,
            ticket_token=self.tickets.token,
            pending_transfer_id=None,
            pending_transfer_to=None,
            previous_owner=rager.user_id,
            claimed_from_transfer=transfer.id,
            guest_claimed_at=None,
            split_from=None,
            updated_at=self.now,
        )

    def _moved(self, old: Rager, new: Rager, *, summed: bool) -> Iterator[Write]:
        """The old batch keeps its token, so that the door can say what became of it; its mapping goes.

        ``summed``: the sender has a summary. Where there is none, the next scan makes it from what is theirs by then.
        """
        yield old.changed(
            self.now,
            active=False,
            transferred_to=self.claimer.user_id,
            transferred_at=self.now,
            pending_transfer_id=None,
            pending_transfer_to=None,
        )
        if old.ticket_token:
            yield Delete(paths.ticket_token(old.ticket_token))
        yield from issued(new, self.now)
        if summed:
            yield credited(old.event_id, self.found.from_user_id, -old.ticket_quantity, self.now)
        yield credited(new.event_id, self.claimer.user_id, new.ticket_quantity, self.now)

    def _records(self, transfer: TicketTransfer, event: Event | None) -> Iterator[Write]:
        done = TicketTransfer.patch(
            status="claimed",
            to_user_id=self.claimer.user_id,
            claimed_at=self.now,
            claimed_rager_id=self.tickets.rager_id,
        )
        yield Merge(transfer.path, done)
        yield mail(transfer, "tickets", self.now)
        yield mail(transfer, "claimed", self.now)
        who = self.claimer.name or (f"@{transfer.to_username}" if transfer.to_username else "The recipient")
        body = f"{who} now has your {tickets(transfer)} for {named(event)}."
        yield from told(transfer.from_user_id, transfer, "claimed", body, self.now)


@dataclass(frozen=True, slots=True)
class Reissue:
    """A new claim token for a transfer whose first one cannot be written again: the server's secret is another now."""

    found: TicketTransfer
    token_hash: str

    @property
    def lane(self) -> str:
        return self.found.event_id

    def reads(self) -> Sequence[str]:
        return (self.found.path,)

    def decide(self, docs: Documents) -> Decision[bool]:
        """Whether the transfer can be claimed with it."""
        transfer = TicketTransfer.of(docs[self.found.path])
        if transfer is None or transfer.status != "pending":
            return Decision(False)
        if transfer.claim_token_hash == self.token_hash:
            return Decision(True)
        return Decision(True, (Merge(transfer.path, TicketTransfer.patch(claim_token_hash=self.token_hash)),))


def check_recipient(transfer: TicketTransfer, claimer: Claimer) -> None:
    """Raises NotRecipient unless it was sent to the claimer's account or to their address."""
    if claimer.user_id != transfer.to_user_id and not same(claimer.email, transfer.to_email):
        raise NotRecipient("These tickets were sent to somebody else. Please sign in with the account they are for.")


def check_pending(transfer: TicketTransfer, now: datetime) -> None:
    """Raises TransferExpired, also before the expiry's job came round, or TransferNotPending."""
    late = transfer.expires_at is not None and transfer.expires_at <= now
    if transfer.status == "expired" or (transfer.status == "pending" and late):
        raise TransferExpired("This transfer has expired. Please ask the sender for a new one.")
    if transfer.status != "pending":
        raise TransferNotPending(f"This transfer was {transfer.status}.", fields={"status": transfer.status})


def _claimed(transfer: TicketTransfer, rager_id: str, event: Event | None, *, replayed: bool) -> Claimed:
    name = event.name if event else ""
    return Claimed(rager_id, transfer.event_id, name, transfer.ticket_quantity, replayed)
