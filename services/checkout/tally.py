"""Going through the items of a paid order: what can be had of each, and what it changes. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from services.checkout import promos
from shared.documents import Event, FailedItem, FulfilledItem, Hold, OrderItem, PromoCode
from shared.operations import Increment, Merge, Write


@dataclass(slots=True)
class Tally:
    """What is left of each event, its hold included, while the items of an order are gone through."""

    events: Mapping[str, Event | None]
    hold: Hold | None
    promo: PromoCode | None
    left: dict[str, int] = field(init=False)
    details: list[FulfilledItem] = field(default_factory=list)
    errors: list[FailedItem] = field(default_factory=list)
    unpaid: list[int] = field(default_factory=list)
    """Which items' money has to go back, by their place in the order."""
    writes: list[Write] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.left = {
            event_id: event.quantity + self._held(event_id) for event_id, event in self.events.items() if event
        }

    def _held(self, event_id: str) -> int:
        return self.hold.quantity_of(event_id) if self.hold else 0

    def refuse(self, place: int, item: OrderItem, code: str, message: str) -> None:
        self.errors.append(FailedItem(item.event_id, item.quantity, code, message))
        self.unpaid.append(place)

    def inventory(self) -> Iterator[Write]:
        """What the events have left now: what is sold is taken, and what was held for it is given back."""
        sold = Counter[str]()
        for detail in self.details:
            sold[detail.event_id] += detail.qty
        for event_id, event in self.events.items():
            if event is not None and (change := self._held(event_id) - sold[event_id]):
                yield Merge(event.path, Event.patch(quantity=Increment(change)))
        if self.hold and self.hold.status == "held":
            yield Merge(self.hold.path, Hold.patch(status="consumed" if self.details else "released"))
        yield from promos.release(self.promo, self.hold)
        if self.details:
            yield from promos.count(self.promo)
