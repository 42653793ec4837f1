"""Transfers that come to nothing: taken back by the sender, or not claimed in time. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.checkout.claims import TransferNotFound, TransferNotPending
from services.checkout.notifications import told
from services.checkout.transfers import NotOwner, mail, named, tickets
from shared.documents import Event, Rager, TicketTransfer
from shared.firestore import paths
from shared.operations import Decision, Documents, Merge, Write


@dataclass(frozen=True, slots=True)
class _Ending:
    """``found`` is the transfer as it was looked up; what it names does not change any more."""

    found: TicketTransfer
    now: datetime

    @property
    def lane(self) -> str:
        return self.found.event_id

    @property
    def _rager_path(self) -> str:
        return paths.rager(self.found.event_id, self.found.rager_id)

    def reads(self) -> Sequence[str]:
        return (self.found.path, self._rager_path, paths.event(self.found.event_id))

    def _event(self, docs: Documents) -> Event | None:
        return Event.of(docs[paths.event(self.found.event_id)])

    def _freed(self, docs: Documents) -> Iterator[Write]:
        """The sender's batch without the mark; a part that was split off stays a batch of its own."""
        rager = Rager.of(docs[self._rager_path])
        if rager is not None and rager.pending_transfer_id == self.found.id:
            yield rager.changed(self.now, pending_transfer_id=None, pending_transfer_to=None)


@dataclass(frozen=True, slots=True)
class CancelTransfer(_Ending):
    """``sender_id`` None is an admin's doing."""

    sender_id: str | None

    def decide(self, docs: Documents) -> Decision[bool]:
        """Whether it was cancelled now."""
        transfer = TicketTransfer.of(docs[self.found.path])
        if transfer is None:
            raise TransferNotFound("There is no such transfer.")
        if self.sender_id not in {None, transfer.from_user_id}:
            raise NotOwner("Only its sender may cancel a transfer.")
        if transfer.status == "cancelled":
            return Decision(transfer.cancelled_at == self.now)
        if transfer.status != "pending":
            raise TransferNotPending(f"This transfer was {transfer.status}.", fields={"status": transfer.status})
        return Decision(True, (*self._freed(docs), *self._records(transfer, self._event(docs))))

    def _records(self, transfer: TicketTransfer, event: Event | None) -> Iterator[Write]:
        yield Merge(transfer.path, TicketTransfer.patch(status="cancelled", cancelled_at=self.now))
        yield mail(transfer, "cancelled", self.now)
        body = f"{transfer.from_name or 'The sender'} took back the {tickets(transfer)} for {named(event)}."
        yield from told(transfer.told_user_id, transfer, "cancelled", body, self.now)


@dataclass(frozen=True, slots=True)
class ExpireTransfer(_Ending):
    """Nothing happens to a transfer that has ended another way."""

    def decide(self, docs: Documents) -> Decision[bool]:
        """Whether it expired now."""
        transfer = TicketTransfer.of(docs[self.found.path])
        if transfer is None or transfer.status != "pending":
            return Decision(transfer is not None and transfer.expired_at == self.now)
        return Decision(True, (*self._freed(docs), *self._records(transfer, self._event(docs))))

    def _records(self, transfer: TicketTransfer, event: Event | None) -> Iterator[Write]:
        yield Merge(transfer.path, TicketTransfer.patch(status="expired", expired_at=self.now))
        yield mail(transfer, "expired", self.now)
        body = f"Nobody claimed your {tickets(transfer)} for {named(event)}; they are yours again."
        yield from told(transfer.from_user_id, transfer, "expired", body, self.now)
