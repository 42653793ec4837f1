"""Going through the items of a paid order: what can be had of each, and what it changes. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from services.checkout import promos
from shared.documents import Event, FailedItem, FulfilledItem, Hold, OrderItem, PromoCode, stocked
from shared.operations import Document, Merge, Write


@dataclass(slots=True)
class Tally:
    """What is left of each event, its hold included, while the items of an order are gone through."""

    documents: Mapping[str, Document]
    """The events of the order, by id."""
    hold: Hold | None
    promo: PromoCode | None
    events: dict[str, Event | None] = field(init=False)
    left: dict[str, int] = field(init=False)
    details: list[FulfilledItem] = field(default_factory=list)
    errors: list[FailedItem] = field(default_factory=list)
    unpaid: list[int] = field(default_factory=list)
    """Which items' money has to go back, by their place in the order."""
    writes: list[Write] = field(default_factory=list)
    _had: list[tuple[str, int]] = field(default_factory=list)
    known: int = 0
    """How many of the details an earlier attempt had brought about already."""

    def __post_init__(self) -> None:
        self.events = {event_id: Event.of(document) for event_id, document in self.documents.items()}
        self.left = {
            event_id: event.quantity + self._held(event_id) for event_id, event in self.events.items() if event
        }

    def _held(self, event_id: str) -> int:
        return self.hold.quantity_of(event_id) if self.hold else 0

    def resume(self, details: Sequence[FulfilledItem], errors: Sequence[FailedItem]) -> None:
        """Go on where an earlier attempt, which did not write everything in one piece, has stopped."""
        self.details, self.errors, self.known = list(details), list(errors), len(details)
        outcomes: list[FulfilledItem | FailedItem] = [*details, *errors]
        self._had = [(outcome.event_id, outcome.qty) for outcome in outcomes]

    def had(self, item: OrderItem) -> bool:
        """Whether an earlier attempt has decided about the item; each of its outcomes counts once."""
        key = (item.event_id, item.quantity)
        if key not in self._had:
            return False
        self._had.remove(key)
        return True

    def refuse(self, place: int, item: OrderItem, code: str, message: str) -> None:
        self.errors.append(FailedItem(item.event_id, item.quantity, code, message))
        self.unpaid.append(place)

    def inventory(self) -> Iterator[Write]:
        """What the events have left now: what is sold is taken, and what was held for it is given back."""
        sold = Counter[str]()
        for detail in self.details[self.known :]:
            sold[detail.event_id] += detail.qty
        for event_id, document in self.documents.items():
            if document.exists and (change := self._held(event_id) - sold[event_id]):
                yield stocked(document, change)
        if self.hold and self.hold.status == "held":
            yield Merge(self.hold.path, Hold.patch(status="consumed" if self.details else "released"))
        yield from promos.release(self.promo, self.hold)
        if self.details:
            yield from promos.count(self.promo)
