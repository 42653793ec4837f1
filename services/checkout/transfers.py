"""Sending tickets to somebody else: the batch, or a part split from it, is marked until it is claimed. Pure."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.checkout.batches import NewTickets, issued
from services.checkout.notifications import told
from services.checkout.schedule import check_not_over
from shared.documents import Event, Rager, TicketTransfer
from shared.errors import Conflict, Forbidden, NotFound
from shared.firestore import paths
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Put, Write

MAIL: Final = "transfer_mail"
EXPIRY: Final = "transfer_expiry"


class TicketNotFound(NotFound):
    code = "ticket_not_found"


class NotOwner(Forbidden):
    code = "not_owner"


class AlreadyUsed(Conflict):
    code = "already_used"


class AlreadyTransferred(Conflict):
    code = "already_transferred"


class TransferPending(Conflict):
    code = "transfer_pending"


class Refunded(Conflict):
    code = "refunded"


class Inactive(Conflict):
    code = "inactive"


class NotEnoughTickets(Conflict):
    """``available`` is how many the batch has."""

    code = "not_enough_tickets"


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class Sender:
    user_id: str
    email: str | None
    name: str | None


@dataclass(frozen=True, slots=True)
class Recipient:
    """``user_id`` for a username, ``email`` for an address. ``account`` is the uid behind either, if there is one."""

    user_id: str | None
    email: str | None
    account: str | None
    username: str | None = None
    display_name: str | None = None

    @property
    def label(self) -> str:
        """How the sender named them."""
        return self.email or f"@{self.username}"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a sender asks for. ``quantity`` None is the whole batch."""

    event_id: str
    rager_id: str
    sender: Sender
    recipient: Recipient
    quantity: int | None

    @property
    def fingerprint(self) -> str:
        recipient = self.recipient.user_id or (self.recipient.email or "").casefold()
        asked = (self.event_id, self.rager_id, self.sender.user_id, recipient, self.quantity)
        return hashlib.sha256(repr(asked).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Started:
    transfer: TicketTransfer
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class StartTransfer:
    """``part`` is drawn for the batch that a part of the sender's becomes, if only a part is sent."""

    offer: Offer
    transfer_id: str
    token_hash: str
    part: NewTickets
    lifetime: timedelta
    now: datetime

    @property
    def lane(self) -> str:
        return self.offer.event_id

    @property
    def _path(self) -> str:
        return paths.ticket_transfer(self.transfer_id)

    @property
    def _rager_path(self) -> str:
        return paths.rager(self.offer.event_id, self.offer.rager_id)

    def reads(self) -> Sequence[str]:
        return (self._path, self._rager_path, paths.event(self.offer.event_id))

    def decide(self, docs: Documents) -> Decision[Started]:
        earlier = TicketTransfer.of(docs[self._path])
        if earlier is not None:
            return Decision(self._replayed(earlier))
        rager, event = Rager.of(docs[self._rager_path]), Event.of(docs[paths.event(self.offer.event_id)])
        if rager is None:
            raise TicketNotFound("There is no such ticket.")
        if rager.user_id is None or rager.user_id != self.offer.sender.user_id:
            raise NotOwner("These tickets belong to somebody else.")
        check_sendable(rager)
        check_not_over(event, self.now)
        pending, changes = self._marked(rager)
        transfer = self._transfer(pending)
        return Decision(Started(transfer), (*changes, *self._records(transfer, event)))

    def _replayed(self, earlier: TicketTransfer) -> Started:
        if earlier.request_hash != self.offer.fingerprint:
            raise IdempotencyConflict("This idempotency key was used for another transfer.")
        return Started(earlier, replayed=earlier.created_at != self.now)

    def _marked(self, rager: Rager) -> tuple[Rager, Sequence[Write]]:
        """The batch that is sent, and the writes that mark it."""
        quantity = self.offer.quantity or rager.ticket_quantity
        if quantity > rager.ticket_quantity:
            available = {"available": rager.ticket_quantity}
            raise NotEnoughTickets(f"This batch has {rager.ticket_quantity} tickets.", fields=available)
        to = self.offer.recipient.label
        if quantity == rager.ticket_quantity:
            return rager, (rager.changed(self.now, pending_transfer_id=self.transfer_id, pending_transfer_to=to),)
        part = replace(
            rager,
            path=paths.rager(rager.event_id, self.part.rager_id),
            ticket_quantity=quantity,
            ticket_token=self.part.token,
            split_from=rager.id,
            pending_transfer_id=self.transfer_id,
            pending_transfer_to=to,
            updated_at=self.now,
        )
        rest = rager.changed(self.now, ticket_quantity=rager.ticket_quantity - quantity)
        return part, (rest, *issued(part, self.now))

    def _transfer(self, pending: Rager) -> TicketTransfer:
        sender, recipient = self.offer.sender, self.offer.recipient
        return TicketTransfer(
            path=self._path,
            from_user_id=sender.user_id,
            from_email=sender.email or pending.email,
            from_name=sender.name or pending.owner,
            to_user_id=recipient.user_id,
            to_email=recipient.email,
            to_username=recipient.username if recipient.user_id else None,
            told_user_id=recipient.account,
            event_id=pending.event_id,
            rager_id=pending.id,
            ticket_quantity=pending.ticket_quantity,
            claim_token_hash=self.token_hash,
            request_hash=self.offer.fingerprint,
            created_at=self.now,
            expires_at=self.now + self.lifetime,
        )

    def _records(self, transfer: TicketTransfer, event: Event | None) -> Iterator[Write]:
        yield Put(transfer.path, transfer.fields())
        yield mail(transfer, "offer", self.now)
        yield mail(transfer, "sent", self.now)
        payload = {"transferId": transfer.id}
        yield enqueue(f"transfer-{transfer.id}-expiry", EXPIRY, payload, now=self.now, due=transfer.expires_at)
        body = f"{transfer.from_name or 'Somebody'} sent you {tickets(transfer)} for {named(event)}."
        yield from told(transfer.told_user_id, transfer, "offered", body, self.now)


def check_sendable(rager: Rager) -> None:
    """Raises the first rule that keeps a batch with its holder. One that was scanned, be it once, stays whole."""
    if rager.refunded_at is not None:
        raise Refunded("These tickets were refunded.")
    if rager.transferred:
        raise AlreadyTransferred("These tickets were transferred already.")
    check_unused(rager)
    if rager.pending_transfer_id is not None:
        raise TransferPending("These tickets are being transferred already.")
    if not rager.active:
        raise Inactive("These tickets are switched off.")


def check_unused(rager: Rager) -> None:
    if rager.used_count:
        raise AlreadyUsed("Tickets that were scanned at the door cannot be transferred any more.")


def mail(transfer: TicketTransfer, letter: str, now: datetime) -> Put:
    """The job for one of the letters of ``transfer_mails``."""
    payload = {"transferId": transfer.id, "letter": letter}
    return enqueue(f"transfer-{transfer.id}-{letter}", MAIL, payload, now=now)


def tickets(transfer: TicketTransfer) -> str:
    return "1 ticket" if transfer.ticket_quantity == 1 else f"{transfer.ticket_quantity} tickets"


def named(event: Event | None) -> str:
    return (event and event.name) or "an event"
