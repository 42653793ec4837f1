"""Whether an event's tickets add up: those left and those sold must be those it started with.

A sale, refund or transfer moves tickets from one place to another, so all places are read as of one time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from shared.documents import Event, Hold, Rager
from shared.errors import Conflict, NotFound
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Operator, Query
from shared.operations import Decision, Documents, Merge, Value

PAGE: Final = 1000
_STATUS: Final = Hold.stored_name("status")
_EVENTS: Final = Hold.stored_name("event_ids")
_ATTRIBUTES: Final = ("ticket_quantity", "refunded_at", "transferred_to", "transferred_at")
_FIELDS: Final = tuple(Rager.stored_name(attribute) for attribute in _ATTRIBUTES)


class EventNotFound(NotFound):
    code = "event_not_found"


class BaselineMissing(Conflict):
    """The event does not say with how many tickets it started."""

    code = "baseline_missing"


@dataclass(frozen=True, slots=True)
class Inventory:
    """Tickets: ``seeded`` that the event started with, ``available`` that are left, ``sold`` that are somebody's,
    used or not, ``held`` for buyers who are paying.
    """

    event_id: str
    seeded: int | None
    available: int
    sold: int
    held: int

    @property
    def present(self) -> int:
        return self.available + self.sold + self.held

    @property
    def drift(self) -> int | None:
        """Tickets too many, negative: missing; None without a baseline."""
        return None if self.seeded is None else self.present - self.seeded


@dataclass(frozen=True, slots=True)
class SetBaseline:
    """Takes what was counted as what the event started with. Sales since then have not changed the sum."""

    counted: Inventory

    @property
    def lane(self) -> str:
        return self.counted.event_id

    def reads(self) -> Sequence[str]:
        return (paths.event(self.counted.event_id),)

    def decide(self, docs: Documents) -> Decision[None]:
        event = Event.of(docs[paths.event(self.counted.event_id)])
        if event is None:
            raise _unknown()
        if event.seeded_quantity == self.counted.present:
            return Decision(None)
        return Decision(None, (Merge(event.path, Event.patch(seeded_quantity=self.counted.present)),))


async def inventory(database: Database, event_id: str, page_size: int = PAGE) -> Inventory:
    """Raises EventNotFound."""
    now = await database.now()
    event = Event.of(await database.get(paths.event(event_id), read_time=now))
    if event is None:
        raise _unknown()
    sold, held = await _sold(database, event_id, now, page_size), await _held(database, event_id, now)
    return Inventory(event_id, event.seeded_quantity, event.quantity, sold, held)


async def set_baseline(database: Database, committer: Committer, event_id: str, page_size: int = PAGE) -> Inventory:
    """Raises EventNotFound."""
    counted = await inventory(database, event_id, page_size)
    await committer.run(SetBaseline(counted))
    return replace(counted, seeded=counted.present)


def with_baseline(counted: Inventory) -> Inventory:
    """The same; BaselineMissing, with what was counted, if there is nothing to compare it with."""
    if counted.seeded is None:
        counts = {
            "eventId": counted.event_id,
            "available": counted.available,
            "sold": counted.sold,
            "held": counted.held,
        }
        raise BaselineMissing(
            "This event does not say with how many tickets it started (seededQuantity).",
            message="Send setBaseline: true to record the present sum, if you trust it.",
            fields=counts,
        )
    return counted


def _unknown() -> EventNotFound:
    return EventNotFound("There is no such event.")


async def _sold(database: Database, event_id: str, now: datetime, page_size: int) -> int:
    """Tickets of the ragers that are their holders', used or not."""
    sold = 0
    async for page in database.pages(Query(paths.ragers(event_id), select=_FIELDS), page_size, read_time=now):
        sold += sum(rager.ticket_quantity for rager in map(Rager.of, page) if rager is not None and rager.counts)
    return sold


async def _held(database: Database, event_id: str, now: datetime) -> int:
    held: tuple[tuple[str, Operator, Value], ...] = ((_STATUS, "==", "held"), (_EVENTS, "array-contains", event_id))
    found = map(Hold.of, await database.query(Query("holds", where=held), read_time=now))
    return sum(hold.quantity_of(event_id) for hold in found if hold is not None)
