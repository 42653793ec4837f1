"""Whether an event's tickets add up: those left and those sold must be those it started with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shared.documents import Event, Hold, Rager
from shared.errors import Conflict, NotFound
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Operator, Query
from shared.operations import Decision, Documents, Merge, Value

_PAGE: Final = 1000
_LOOKS: Final = 3
_STATUS: Final = Hold.stored_name("status")
_EVENTS: Final = Hold.stored_name("event_ids")
_ATTRIBUTES: Final = ("ticket_quantity", "refunded_at", "transferred_to", "transferred_at")
_FIELDS: Final = tuple(Rager.stored_name(attribute) for attribute in _ATTRIBUTES)


class EventNotFound(NotFound):
    code = "event_not_found"


class BaselineMissing(Conflict):
    """The event does not say with how many tickets it started."""

    code = "baseline_missing"


class EventIsSelling(Conflict):
    """The tickets could not be counted without a sale in between."""

    code = "event_is_selling"


@dataclass(frozen=True, slots=True)
class Inventory:
    """Tickets: ``seeded`` that the event started with, ``available`` that are left, ``sold`` that are somebody's,
    used or not, ``held`` for buyers who are paying. ``settled``: nothing was sold while they were counted.
    """

    event_id: str
    seeded: int | None
    available: int
    sold: int
    held: int
    settled: bool

    @property
    def present(self) -> int:
        return self.available + self.sold + self.held

    @property
    def drift(self) -> int | None:
        """Tickets too many, negative: missing; None without a baseline."""
        return None if self.seeded is None else self.present - self.seeded


@dataclass(frozen=True, slots=True)
class SetBaseline:
    """Takes what was counted as what the event started with, if nothing was sold since."""

    counted: Inventory

    @property
    def lane(self) -> str:
        return self.counted.event_id

    def reads(self) -> Sequence[str]:
        return (paths.event(self.counted.event_id),)

    def decide(self, docs: Documents) -> Decision[None]:
        event = Event.of(docs[paths.event(self.counted.event_id)])
        if event is None or not self.counted.settled or event.quantity != self.counted.available:
            raise EventIsSelling("Tickets are being sold right now. Please set the baseline when it is quiet.")
        if event.seeded_quantity == self.counted.present:
            return Decision(None)
        return Decision(None, (Merge(event.path, Event.patch(seeded_quantity=self.counted.present)),))


async def inventory(database: Database, event_id: str) -> Inventory:
    """Counted anew while sales come in between, up to three times. Raises EventNotFound."""
    counted = await _count(database, event_id)
    for _ in range(_LOOKS - 1):
        if counted.settled:
            break
        counted = await _count(database, event_id)
    return counted


async def _count(database: Database, event_id: str) -> Inventory:
    """A sale that comes in between changes what is left, or turns what is held into what is sold."""
    before, held = await _event(database, event_id), await _held(database, event_id)
    sold = await _sold(database, event_id)
    event = await _event(database, event_id)
    settled = event.quantity == before.quantity and held == await _held(database, event_id)
    return Inventory(event_id, event.seeded_quantity, event.quantity, sold, held, settled)


async def set_baseline(database: Database, committer: Committer, event_id: str) -> Inventory:
    """Raises EventNotFound and EventIsSelling."""
    await committer.run(SetBaseline(await inventory(database, event_id)))
    return await inventory(database, event_id)


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


async def _event(database: Database, event_id: str) -> Event:
    event = Event.of(await database.get(paths.event(event_id)))
    if event is None:
        raise EventNotFound("There is no such event.")
    return event


async def _sold(database: Database, event_id: str) -> int:
    """Tickets of the ragers that are their holders', used or not."""
    sold = 0
    async for page in database.pages(Query(paths.ragers(event_id), select=_FIELDS), _PAGE):
        sold += sum(rager.ticket_quantity for rager in map(Rager.of, page) if rager is not None and rager.counts)
    return sold


async def _held(database: Database, event_id: str) -> int:
    held: tuple[tuple[str, Operator, Value], ...] = ((_STATUS, "==", "held"), (_EVENTS, "array-contains", event_id))
    found = (Hold.of(document) for document in await database.query(Query("holds", where=held)))
    return sum(hold.quantity_of(event_id) for hold in found if hold is not None)
