"""The account's records as one request sees and changes them."""

import random
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from deploy.local.stripe.deliveries import Deliveries
from deploy.local.stripe.errors import no_such
from deploy.local.stripe.params import Created, ListParams
from deploy.local.stripe.records import Event, Record
from deploy.local.stripe.store import Selection, Store

R = TypeVar("R", bound=Record)

ALPHABET = string.ascii_letters + string.digits
COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class Ids:
    """Stripe's ids: a prefix and 24 letters and digits. With a seed they repeat from run to run."""

    def __init__(self, seed: str | None = None) -> None:
        self._random = random.Random(secrets.token_hex(16) if seed is None else seed)  # noqa: S311  names, not secrets

    def new(self, prefix: str) -> str:
        return f"{prefix}_{self.suffix()}"

    def suffix(self) -> str:
        return "".join(self._random.choices(ALPHABET, k=24))


@dataclass(frozen=True, slots=True)
class Page:
    """A list endpoint's answer."""

    records: Sequence[Record]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    """A unit of work: reads, writes and events of one request, inside the store's transaction."""

    store: Store
    deliveries: Deliveries
    ids: Ids
    now: int
    request_id: str | None = None
    """None for what happens in the dashboard or at the bank."""
    idempotency_key: str | None = None

    def get(self, cls: type[R], record_id: str, param: str = "id") -> R:
        record = self.store.get(cls, record_id)
        if record is None:
            raise no_such(cls.KIND, record_id, param)
        return record

    def put(self, record: R, *events: str) -> R:
        """Store it, and tell the webhook endpoints so with an event of each type."""
        self.store.put(record)
        for event in events:
            self.emit(event, record)
        return record

    def emit(self, event_type: str, record: Record) -> None:
        event_id = self.ids.new(Event.PREFIX)
        event = Event(
            id=event_id,
            created=self.now,
            type=event_type,
            data={"object": record.render()},
            pending_webhooks=self.deliveries.enqueue(event_id, event_type),
            request={"id": self.request_id, "idempotency_key": self.idempotency_key},
        )
        self.store.put(event)

    def page(self, cls: type[R], params: ListParams, **where: str | None) -> Page:
        for cursor in (params.starting_after, params.ending_before):
            if cursor is not None:
                self.get(cls, cursor, "starting_after")
        selection = Selection(
            where={name: value for name, value in where.items() if value is not None},
            limit=params.limit + 1,
            after=params.starting_after,
            before=params.ending_before,
            created=_comparisons(params.created),
        )
        found = self.store.select(cls, selection)
        kept = found[-params.limit :] if params.ending_before else found[: params.limit]
        return Page(kept, has_more=len(found) > params.limit)


def _comparisons(created: Created | None) -> tuple[tuple[str, int], ...]:
    if created is None:
        return ()
    given = ((COMPARISONS[name], getattr(created, name)) for name in COMPARISONS)
    return tuple((operator, moment) for operator, moment in given if moment is not None)
