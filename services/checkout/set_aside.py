"""How much one buyer may have set aside at once, so that nobody keeps an event from the others without paying.

Buyers open several tabs and change their carts, and each of these is a payment with a hold of its own. So nobody who
asks for more is refused: the oldest holds are given back instead, and a payment for one of them takes its tickets anew
where there still are any, as after any hold that has ended.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from services.checkout.buyers import Buyer
from services.checkout.holds import ReleaseHold
from shared.documents import Hold, OrderItem
from shared.errors import Conflict
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


class TooManyTickets(Conflict):
    """``max`` tickets of ``eventId`` are the most that one order may have."""

    code = "too_many_tickets"


def owner_of(buyer: Buyer) -> str:
    """Whose a hold is. A guest's address is one buyer however it is typed."""
    return f"user:{buyer.user_id}" if buyer.user_id else f"guest:{(buyer.guest_email or '').casefold()}"


def check_size(items: Iterable[OrderItem], most: int) -> None:
    """Raises TooManyTickets for an order that could not be set aside as a whole."""
    wanted = Counter[str]()
    for item in items:
        wanted[item.event_id] += item.quantity
    for event_id, quantity in wanted.items():
        if quantity > most:
            fields = {"eventId": event_id, "max": most}
            raise TooManyTickets(f"One order can have at most {most} tickets of an event.", fields=fields)


def beyond(holds: Iterable[Hold], most: int) -> Iterator[Hold]:
    """The holds that have to go, so that the newer ones are at most so many tickets of each event."""
    kept = Counter[str]()
    for hold in sorted(holds, key=lambda hold: (hold.created_at or _BEGINNING, hold.id), reverse=True):
        wanted = Counter({event_id: hold.quantity_of(event_id) for event_id in hold.event_ids})
        if any(kept[event_id] + quantity > most for event_id, quantity in wanted.items()):
            yield hold
        else:
            kept += wanted


@dataclass(frozen=True, slots=True)
class Shelf:
    """Everything that is set aside. ``most`` is of one event, for one buyer."""

    database: Database
    committer: Committer
    most: int

    async def trim(self, owner: str, now: datetime) -> None:
        """Give back what a buyer has beyond the most. Called after each new hold, so that of holds that are taken at
        the same time whoever comes last sees all.
        """
        whose, status = Hold.stored_name("owner"), Hold.stored_name("status")
        query = Query("holds", where=((whose, "==", owner), (status, "==", "held")))
        holds = [hold for document in await self.database.query(query) if (hold := Hold.of(document))]
        for hold in beyond(holds, self.most):
            await self.committer.run(ReleaseHold(hold, None, now))
