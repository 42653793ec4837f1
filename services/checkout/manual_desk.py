"""Where an admin's tickets are made: finds the event and the customer, then runs the one operation."""

import hashlib
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.checkout.batches import NewTickets
from services.checkout.manual_tickets import CreateManualTicket, EventNotFound, ManualOrder
from shared.documents import Customer, Event, ManualTicket
from shared.errors import Conflict
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query

_SHOWN: Final = 10


class AmbiguousEvent(Conflict):
    """``eventIds`` are those that have the name, at most ten."""

    code = "ambiguous_event"


@dataclass(frozen=True, slots=True)
class ManualDesk:
    database: Database
    committer: Committer

    async def create(
        self, order: ManualOrder, *, event_name: str | None, idempotency_key: str | None, now: datetime
    ) -> ManualTicket:
        """The tickets, made now or when the same idempotency key came first.

        Raises EventNotFound, AmbiguousEvent, SoldOut, AlreadyFulfilled, OrderNumberTaken or IdempotencyConflict.
        """
        asked = order if order.event_id else replace(order, event_id=await self._event_id(event_name or ""))
        known = Customer.of(await self.database.get(paths.customer(order.user_id)))
        filled = asked
        if known is not None:
            filled = replace(asked, email=asked.email or known.email, name=asked.name or known.name)
        operation = CreateManualTicket(_ticket_id(idempotency_key), asked, filled, NewTickets.draw(), now)
        return await self.committer.run(operation)

    async def _event_id(self, name: str) -> str:
        query = Query("events", where=[(Event.stored_name("name"), "==", name)], limit=_SHOWN)
        found = [document.id for document in await self.database.query(query)]
        if not found:
            raise EventNotFound("There is no event with this name.")
        if len(found) > 1:
            raise AmbiguousEvent(
                "Several events have this name. Please give the id of one.", fields={"eventIds": found}
            )
        return found[0]


def _ticket_id(idempotency_key: str | None) -> str:
    """Follows from the key, where there is one."""
    if idempotency_key is None:
        return secrets.token_hex(16)
    return hashlib.sha256(idempotency_key.encode()).hexdigest()[:32]
