"""An account takes over what a guest with its address has bought, one event at a time. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.checkout.addresses import same
from services.checkout.batches import credited, mapped
from shared.documents import Event, Purchase, Rager
from shared.firestore import paths
from shared.operations import Decision, Documents, Merge, Put, Write


@dataclass(frozen=True, slots=True)
class Account:
    """``email`` is known to be theirs."""

    user_id: str
    email: str


@dataclass(frozen=True, slots=True)
class ClaimedBatch:
    event_id: str
    event_name: str
    rager_id: str
    ticket_quantity: int
    order_number: str | None


@dataclass(frozen=True, slots=True)
class ClaimGuestTickets:
    """``found`` are a guest's batches for one event, as they were looked up."""

    account: Account
    event_id: str
    found: Sequence[Rager]
    now: datetime

    @property
    def lane(self) -> str:
        return self.event_id

    def reads(self) -> Sequence[str]:
        orders = (path for rager in self.found if (path := _purchase_path(rager)))
        return (paths.event(self.event_id), *(rager.path for rager in self.found), *orders)

    def decide(self, docs: Documents) -> Decision[Sequence[ClaimedBatch]]:
        event = Event.of(docs[paths.event(self.event_id)])
        ragers = [rager for found in self.found if (rager := Rager.of(docs[found.path]))]
        done = [rager for rager in ragers if self._is_done(rager)]
        if done:  # this operation took them, and its reply was lost
            return Decision([_batch(rager, event) for rager in done])
        free = [rager for rager in ragers if self._may_take(rager)]
        writes = [write for rager in free for write in self._taken(rager, docs)]
        return Decision([_batch(rager, event) for rager in free], writes)

    def _is_done(self, rager: Rager) -> bool:
        return rager.user_id == self.account.user_id and rager.guest_claimed_at == self.now

    def _may_take(self, rager: Rager) -> bool:
        return rager.user_id is None and rager.counts and same(rager.guest_email, self.account.email)

    def _taken(self, rager: Rager, docs: Documents) -> Iterator[Write]:
        user_id = self.account.user_id
        yield rager.changed(self.now, user_id=user_id, guest_claimed_at=self.now)
        if rager.ticket_token:
            yield mapped(replace(rager, user_id=user_id), rager.purchase_date or self.now)
        yield credited(self.event_id, user_id, rager.ticket_quantity, self.now, used=rager.used_count)
        path = _purchase_path(rager)
        purchase = Purchase.of(docs[path]) if path else None
        if purchase is not None and purchase.user_id in {None, user_id}:
            own = replace(purchase, user_id=user_id)
            yield Merge(purchase.path, Purchase.patch(user_id=user_id))
            yield Put(paths.customer_purchase(user_id, purchase.id), own.fields())


def _purchase_path(rager: Rager) -> str | None:
    """Where the order is, if its number can be a document's id at all."""
    number = rager.order_number
    return paths.purchase(number) if number and paths.is_document_id(number) else None


def _batch(rager: Rager, event: Event | None) -> ClaimedBatch:
    name = event.name if event else ""
    return ClaimedBatch(rager.event_id, name, rager.id, rager.ticket_quantity, rager.order_number)
