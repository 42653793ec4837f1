"""Inventory set aside while a buyer pays: taken once, and given back or turned into tickets exactly once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.checkout.payments import IdempotencyConflict
from services.checkout.pricing import check_available
from services.checkout.promos import release, reserve
from shared.documents import Event, HeldItem, Hold, PendingOrder, PromoCode, stocked
from shared.firestore import paths
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Merge, Put, Write

EXPIRY: Final = "hold_expiry"
OPEN: Final = "pending"
"""The state of a remembered order that nothing has come of yet."""


def hold_for(order: PendingOrder, expires_at: datetime, now: datetime) -> Hold:
    """What an order needs set aside."""
    wanted = Counter[str]()
    for item in order.items:
        wanted[item.event_id] += item.quantity
    items = tuple(HeldItem(event_id, quantity) for event_id, quantity in sorted(wanted.items()))
    return Hold(
        path=paths.hold(order.id),
        items=items,
        event_ids=tuple(sorted(wanted)),
        created_at=now,
        expires_at=expires_at,
    )


@dataclass(frozen=True, slots=True)
class RememberOrder:
    """Store the priced cart under its payment, and set its tickets aside where holds are on, and one use of its promo
    code.

    The order and its hold are their own markers. A hold that has been given back is taken anew, as long as nothing
    has come of the order. Raises SoldOut, InvalidPromoCode, or IdempotencyConflict where the payment was cancelled.
    """

    order: PendingOrder
    hold: Hold | None
    now: datetime

    @property
    def lane(self) -> str:
        return min(item.event_id for item in self.order.items)

    def reads(self) -> Sequence[str]:
        always = (self.order.path, paths.hold(self.order.id))
        if self.hold is None:
            return always
        promo = (self.order.promo_path,) if self.order.promo_path else ()
        return (*always, *map(paths.event, self.hold.event_ids), *promo)

    def decide(self, docs: Documents) -> Decision[None]:
        known, held = PendingOrder.of(docs[self.order.path]), Hold.of(docs[paths.hold(self.order.id)])
        if known is not None and known.status == "canceled":
            raise IdempotencyConflict("This payment was cancelled. Please start again.")
        if known is not None and known.status != OPEN:
            return Decision(None)
        writes: list[Write] = [] if known else [Put(self.order.path, self.order.fields())]
        if self.hold is not None and (held is None or held.status != "held"):
            writes += self._taken(self.hold, docs)
        return Decision(None, writes)

    def _taken(self, hold: Hold, docs: Documents) -> Iterator[Write]:
        events = {event_id: Event.of(docs[paths.event(event_id)]) for event_id in hold.event_ids}
        check_available(self.order.items, {event_id: event for event_id, event in events.items() if event})
        promo = PromoCode.of(docs[self.order.promo_path]) if self.order.promo_path else None
        reserved = tuple(reserve(promo)) if promo else ()
        yield from reserved
        taken = replace(hold, promo_path=self.order.promo_path if reserved else None)
        yield Put(hold.path, taken.fields())
        for item in hold.items:
            yield stocked(docs[paths.event(item.event_id)], -item.quantity)
        due = hold.expires_at or self.now
        payload = {"paymentIntentId": self.order.id}
        yield enqueue(f"hold-{self.order.id}-{due:%Y%m%d%H%M%S%f}", EXPIRY, payload, now=self.now, due=due)


@dataclass(frozen=True, slots=True)
class ReleaseHold:
    """Give back what is held for a payment, once. ``status`` closes the remembered order with it."""

    hold: Hold
    status: str | None
    now: datetime

    @property
    def _order_path(self) -> str:
        return paths.pending_order(self.hold.id)

    @property
    def lane(self) -> str:
        return min(self.hold.event_ids, default=self.hold.path)

    def reads(self) -> Sequence[str]:
        promo = (self.hold.promo_path,) if self.hold.promo_path else ()
        return (self.hold.path, self._order_path, *map(paths.event, self.hold.event_ids), *promo)

    def decide(self, docs: Documents) -> Decision[None]:
        return Decision(None, tuple(self._writes(docs)))

    def _writes(self, docs: Documents) -> Iterator[Write]:
        order = PendingOrder.of(docs[self._order_path])
        if order is not None and self.status and order.status == OPEN:
            yield Merge(order.path, PendingOrder.patch(status=self.status))
        hold = Hold.of(docs[self.hold.path])
        if hold is None or hold.status != "held" or hold.event_ids != self.hold.event_ids:
            return  # also one that was taken after this was asked for: it has a time of its own
        yield Merge(hold.path, Hold.patch(status="released", released_at=self.now))
        yield from release(PromoCode.of(docs[hold.promo_path]) if hold.promo_path else None, hold)
        for item in hold.items:
            event = docs[paths.event(item.event_id)]
            if event.exists:
                yield stocked(event, item.quantity)
