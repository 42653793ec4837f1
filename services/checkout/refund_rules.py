"""Refunds as decisions: what may go back, what it takes with it, and what Stripe said of it. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.checkout.batches import credited
from services.checkout.payments import IdempotencyConflict
from shared.documents import AdminAlert, Event, Fulfillment, Rager, Refund, RefundTotal, TicketTransfer, stocked
from shared.errors import BadRequest, Conflict, NotFound
from shared.firestore import paths
from shared.jobs import enqueue
from shared.operations import Decision, Document, Documents, Merge, Put, Write

EXECUTE: Final = "refund"
NOTICE: Final = "refund_email"


class OrderNotFound(NotFound):
    code = "order_not_found"


class RefundExceedsPayment(Conflict):
    code = "refund_exceeds_payment"


class BatchesChanged(Conflict):
    """A batch of the order was split or claimed after its batches had been looked up: look again."""

    code = "order_is_changing"


class UnknownItem(BadRequest):
    code = "unknown_item"


class ItemSplit(Conflict):
    """The item is not whole any more: refund the whole order, or an amount."""

    code = "item_split"


class TicketsUsed(Conflict):
    code = "tickets_used"


class TicketsTransferred(Conflict):
    code = "tickets_transferred"


def total_after(total: RefundTotal | None, refund: Refund, before: str | None) -> RefundTotal:
    """The order's total once a refund has the status it has; ``before`` is what it had, None if it is new."""
    known = total or RefundTotal()
    counted = (refund.status != "failed") - (before is not None and before != "failed")
    arrived = (refund.status == "succeeded") - (before == "succeeded")
    amount, succeeded = known.amount + counted * refund.amount, known.succeeded + arrived * refund.amount
    status = "none" if amount == 0 else "succeeded" if succeeded == amount else "pending"
    return RefundTotal(amount, succeeded, status, refund.stripe_refund_id or known.last_refund_id)


def job_payload(refund: Refund) -> dict[str, str]:
    return {"paymentIntentId": refund.payment_intent_id, "key": refund.id}


def requested(refund: Refund, *, now: datetime, due: datetime) -> Iterator[Write]:
    """The intent, before Stripe is asked: the refund and the job that sees to it."""
    yield Put(refund.path, refund.fields())
    yield enqueue(f"refund-{refund.payment_intent_id}-{refund.id}", EXECUTE, job_payload(refund), now=now, due=due)


def revoked(rager: Rager, key: str, now: datetime) -> Iterator[Write]:
    """A batch whose money goes back: it admits nobody, counts for nobody, and is on its way to nobody."""
    yield rager.changed(
        now, active=False, refunded_at=now, refund_key=key, pending_transfer_id=None, pending_transfer_to=None
    )
    if rager.pending_transfer_id:
        yield Merge(paths.ticket_transfer(rager.pending_transfer_id), TicketTransfer.patch(status="cancelled"))
    yield from _counted(rager, -1, now)


def reinstated(rager: Rager, now: datetime) -> Iterator[Write]:
    """A batch that was taken for a refund which Stripe would not make: it is its holder's again."""
    yield rager.changed(now, active=rager.left > 0, refunded_at=None, refund_key=None)
    yield from _counted(rager, 1, now)


def _returned(batches: Sequence[Rager], docs: Documents, *, restock: bool, sign: int = 1) -> Iterator[Write]:
    """What revoked tickets (or, with sign -1, reinstated ones) do to the inventory, one write an event.

    Without restocking they leave circulation, so the event has started with that many fewer.
    """
    tickets = Counter[str]()
    for rager in batches:
        tickets[rager.event_id] += rager.ticket_quantity
    for event_id, count in tickets.items():
        event = docs[paths.event(event_id)]
        known = Event.of(event)
        if known is not None and restock:
            yield stocked(event, sign * count)
        elif known is not None and known.seeded_quantity is not None:
            yield stocked(event, -sign * count, "seeded_quantity")


def _counted(rager: Rager, sign: int, now: datetime) -> Iterator[Write]:
    if rager.user_id:
        tickets, used = sign * rager.ticket_quantity, sign * rager.used_count
        yield credited(rager.event_id, rager.user_id, tickets, now, used=used)


@dataclass(frozen=True, slots=True)
class _OfOrder:
    """A refund of one order. ``refund.rager_ids`` are the batches that go with it; once nothing of the payment is left,
    all of them go.

    ``rager_paths`` are all batches known to have come of the order, ``complete`` says that there are no others: a
    transfer may split one at any time, so unless it is said, the batches have to add up to what was sold.
    """

    refund: Refund
    rager_paths: Sequence[str]
    complete: bool
    now: datetime

    @property
    def _ledger_path(self) -> str:
        return paths.fulfillment(self.refund.payment_intent_id)

    @property
    def _event_ids(self) -> Sequence[str]:
        return sorted({path.split("/")[1] for path in self.rager_paths})

    @property
    def lane(self) -> str:
        return min(self._event_ids, default=self._ledger_path)

    def reads(self) -> Sequence[str]:
        return (self._ledger_path, self.refund.path, *self.rager_paths, *map(paths.event, self._event_ids))

    def going(self, ledger: Fulfillment, total: RefundTotal, docs: Documents) -> Sequence[Rager]:
        """The batches that go with the money. Raises BatchesChanged where some are not known yet."""
        batches = [rager for path in self.rager_paths if (rager := Rager.of(docs[path]))]
        known = sum(rager.ticket_quantity for rager in batches if rager.counts or rager.refunded_at)
        if known != ledger.created_tickets and not self.complete:
            raise BatchesChanged("The tickets of this order are changing hands.")
        whole = total.amount >= ledger.amount
        return [rager for rager in batches if rager.counts and (whole or rager.id in self.refund.rager_ids)]

    def taken(self, batches: Sequence[Rager], docs: Documents, *, restock: bool) -> Iterator[Write]:
        for rager in batches:
            yield from revoked(rager, self.refund.id, self.now)
        yield from _returned(batches, docs, restock=restock)


@dataclass(frozen=True, slots=True)
class RequestRefund(_OfOrder):
    """Decide that money goes back, and take the tickets with it; the refund is the marker.

    ``force`` refunds used and transferred tickets too. ``due`` is when the job takes over from whoever asks Stripe
    first. Raises OrderNotFound, RefundExceedsPayment, UnknownItem, ItemSplit, TicketsUsed or TicketsTransferred.
    """

    force: bool
    restock: bool
    due: datetime

    def decide(self, docs: Documents) -> Decision[Refund]:
        if (known := Refund.of(docs[self.refund.path])) is not None:
            return Decision(self._replayed(known))
        ledger = Fulfillment.of(docs[self._ledger_path])
        if ledger is None:
            raise OrderNotFound("There is no such order.")
        total = total_after(ledger.refund, self.refund, None)
        going = self.going(ledger, total, docs)
        check_items(self.refund.rager_ids, ledger, {rager.id: rager for rager in going})
        self._check_amount(ledger)
        if not self.force:
            _check_untouched(going, ledger)
        return Decision(self.refund, (*self._records(ledger, total), *self.taken(going, docs, restock=self.restock)))

    def _replayed(self, known: Refund) -> Refund:
        if known.request_hash != self.refund.request_hash:
            raise IdempotencyConflict("This idempotency key was used for another refund.")
        return known

    def _check_amount(self, ledger: Fulfillment) -> None:
        """Nothing at all may go back only with items that cost nothing."""
        left = ledger.amount - (ledger.refund.amount if ledger.refund else 0)
        least = 0 if self.refund.rager_ids else 1
        if not least <= self.refund.amount <= left:
            fields = {"refundable": left}
            raise RefundExceedsPayment("That is not left of this payment to be refunded.", fields=fields)

    def _records(self, ledger: Fulfillment, total: RefundTotal) -> Iterator[Write]:
        status = "refunded" if total.amount >= ledger.amount else ledger.status
        yield Merge(ledger.path, Fulfillment.patch(refund=total, status=status))
        if self.refund.status == "requested":
            yield from requested(self.refund, now=self.now, due=self.due)
        else:
            yield Put(self.refund.path, self.refund.fields())


def check_items(rager_ids: Sequence[str], ledger: Fulfillment, going: Mapping[str, Rager]) -> None:
    """Raises UnknownItem or ItemSplit unless each of the batches is as it was sold."""
    sold = {detail.rager_id: detail for detail in ledger.details}
    for rager_id in rager_ids:
        detail, rager = sold.get(rager_id), going.get(rager_id)
        if detail is None or detail.amount is None:
            raise UnknownItem("This order has no such item.", fields={"ragerId": rager_id})
        if rager is None or rager.ticket_quantity != detail.qty:
            raise ItemSplit(
                "This item was refunded or transferred, as a whole or in part.", fields={"ragerId": rager_id}
            )


def _check_untouched(batches: Sequence[Rager], ledger: Fulfillment) -> None:
    if any(rager.used_count for rager in batches):
        raise TicketsUsed("Some of these tickets have been used at the door; refund them with force.")
    if any(rager.claimed_from_transfer and rager.user_id != ledger.user_id for rager in batches):
        raise TicketsTransferred("Some of these tickets belong to somebody else now; refund them with force.")


_RANK: Final = {"requested": 0, "pending": 1, "succeeded": 2, "failed": 3}


@dataclass(frozen=True, slots=True)
class RecordRefund:
    """What Stripe says of a refund. Its own status is the marker, and never goes back to an earlier one."""

    refund_path: str
    status: str
    stripe_refund_id: str | None
    error: str | None
    now: datetime

    @property
    def _ledger_path(self) -> str:
        return paths.fulfillment(self.refund_path.split("/")[1])

    @property
    def lane(self) -> str:
        return self._ledger_path

    def reads(self) -> Sequence[str]:
        return (self.refund_path, self._ledger_path)

    def decide(self, docs: Documents) -> Decision[Refund | None]:
        before, ledger = Refund.of(docs[self.refund_path]), Fulfillment.of(docs[self._ledger_path])
        if before is None or ledger is None or _RANK[self.status] <= _RANK[before.status]:
            return Decision(before)
        stripe_id = self.stripe_refund_id or before.stripe_refund_id
        after = replace(before, status=self.status, stripe_refund_id=stripe_id, error=self.error, updated_at=self.now)
        return Decision(after, (Put(after.path, after.fields()), *self._effects(ledger, before, after)))

    def _effects(self, ledger: Fulfillment, before: Refund, after: Refund) -> Iterator[Write]:
        total = total_after(ledger.refund, after, before.status)
        failed = after.status == "failed"
        lacking = failed and not all_back(ledger, total)
        yield Merge(ledger.path, Fulfillment.patch(refund=total, **(_reopened(ledger, total) if lacking else {})))
        if lacking:
            alert = _failed_alert(ledger, before, self.error or "Stripe says that it failed", self.now)
            yield Put(alert.path, alert.fields())
        elif not failed and before.status == "requested":
            yield enqueue(
                f"refund-mail-{before.payment_intent_id}-{before.id}", NOTICE, job_payload(before), now=self.now
            )


def all_back(ledger: Fulfillment, total: RefundTotal | None) -> bool:
    """Whether nothing of the payment is left, whoever sent it back."""
    return total is not None and total.amount >= ledger.amount


def _reopened(ledger: Fulfillment, total: RefundTotal) -> dict[str, str | bool]:
    """What a failed refund makes of an order: not all of its money has gone back, and a person has to look."""
    as_before = total.amount == 0 and not ledger.errors
    status = ("completed" if as_before else "partial") if ledger.status == "refunded" else ledger.status
    return {"status": status, "needs_admin_review": True}


@dataclass(frozen=True, slots=True)
class Reinstate(_OfOrder):
    """Give back the batches that were taken for a refund which Stripe refused outright: no money went back for them.

    Nothing is given back once all of the money has gone back in another way. Tickets that have been sold to others
    meanwhile cannot be given back; the refund's alert is about them then.
    """

    def decide(self, docs: Documents) -> Decision[None]:
        refund, ledger = Refund.of(docs[self.refund.path]), Fulfillment.of(docs[self._ledger_path])
        if refund is None or ledger is None or refund.status != "failed" or all_back(ledger, ledger.refund):
            return Decision(None)
        back = list(self._possible(refund, docs))
        writes = [write for rager in back for write in reinstated(rager, self.now)]
        return Decision(None, (*writes, *_returned(back, docs, restock=refund.restock, sign=-1)))

    def _possible(self, refund: Refund, docs: Documents) -> Iterator[Rager]:
        left = {event_id: _left(docs[paths.event(event_id)]) for event_id in self._event_ids}
        for path in self.rager_paths:
            rager = Rager.of(docs[path])
            if rager is None or rager.refund_key != refund.id:
                continue
            if refund.restock and left[rager.event_id] < rager.ticket_quantity:
                continue
            left[rager.event_id] -= rager.ticket_quantity
            yield rager


def _left(event: Document) -> int:
    known = Event.of(event)
    return known.quantity if known else 0


def _failed_alert(ledger: Fulfillment, refund: Refund, error: str, now: datetime) -> AdminAlert:
    return AdminAlert(
        path=paths.admin_alert(f"refund-{refund.payment_intent_id}-{refund.id}"),
        kind="refund_failed",
        message=f"A refund of {refund.amount} {refund.currency} for order {ledger.order_number} failed: {error}",
        subject=refund.path,
        created_at=now,
    )


@dataclass(frozen=True, slots=True)
class AdoptRefund(_OfOrder):
    """A refund made in Stripe's dashboard. When it leaves nothing of the payment, the tickets go with it."""

    def decide(self, docs: Documents) -> Decision[None]:
        ledger = Fulfillment.of(docs[self._ledger_path])
        if ledger is None or docs[self.refund.path].exists:
            return Decision(None)
        known = Put(self.refund.path, self.refund.fields())
        if self.refund.status == "failed":
            return Decision(None, (known,))
        total = total_after(ledger.refund, self.refund, None)
        going = self.going(ledger, total, docs)
        if total.amount < ledger.amount:
            return Decision(None, (known, *self._asking_which_tickets(ledger, total)))
        closed = Merge(ledger.path, Fulfillment.patch(refund=total, status="refunded"))
        return Decision(None, (known, closed, *self.taken(going, docs, restock=True)))

    def _asking_which_tickets(self, ledger: Fulfillment, total: RefundTotal) -> Iterator[Write]:
        alert = AdminAlert(
            path=paths.admin_alert(f"refund-{ledger.id}-{self.refund.id}"),
            kind="partial_dashboard_refund",
            message=f"Part of order {ledger.order_number} was refunded in Stripe's dashboard; its tickets still admit.",
            subject=self.refund.path,
            created_at=self.now,
        )
        yield Merge(ledger.path, Fulfillment.patch(refund=total, needs_admin_review=True))
        yield Put(alert.path, alert.fields())
