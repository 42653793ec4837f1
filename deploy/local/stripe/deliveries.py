"""Which event goes to which webhook endpoint, and how far that has come: the durable side of webhooks."""

import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from deploy.local.stripe.store import Store

Order = Literal["as_created", "reversed", "shuffled"]
COLUMNS = "id, event, endpoint, state, attempts, due, status, error"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events go. Several secrets sign every delivery once each, as while Stripe rolls a secret."""

    url: str
    secrets: tuple[str, ...]
    events: tuple[str, ...] = ("*",)

    def wants(self, event_type: str) -> bool:
        return "*" in self.events or event_type in self.events


@dataclass(frozen=True, slots=True)
class Delivery:
    id: int
    event: str
    endpoint: int
    """The endpoint's position: a restart may move it to another URL."""
    state: str
    """pending, delivered, or failed once the schedule is used up."""
    attempts: int
    due: float
    status: int | None
    error: str | None

    def render(self) -> dict[str, object]:
        return asdict(self)


class Deliveries:
    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._db = store.db
        self._clock = clock
        self.endpoints: Sequence[Endpoint] = self._load()
        self.copies = 1
        """How often each new event is delivered: Stripe promises at least once."""

    def _load(self) -> Sequence[Endpoint]:
        rows = self._db.execute("SELECT url, secrets, events FROM endpoints ORDER BY position")
        return [Endpoint(url, tuple(json.loads(s)), tuple(json.loads(e))) for url, s, e in rows]

    def configure(self, endpoints: Iterable[Endpoint]) -> None:
        """Replace them all; deliveries that wait for a position go to its new URL."""
        self.endpoints = list(endpoints)
        self._db.execute("DELETE FROM endpoints")
        self._db.executemany(
            "INSERT INTO endpoints VALUES (?, ?, ?, ?)",
            [(i, e.url, json.dumps(e.secrets), json.dumps(e.events)) for i, e in enumerate(self.endpoints)],
        )

    def enqueue(self, event_id: str, event_type: str) -> int:
        """The number of endpoints that will hear of it."""
        wanting = [i for i, endpoint in enumerate(self.endpoints) if endpoint.wants(event_type)]
        for position in wanting:
            for _ in range(self.copies):
                self.add(event_id, position)
        return len(wanting)

    def add(self, event_id: str, position: int) -> None:
        now = self._clock()
        self._db.execute(
            "INSERT INTO deliveries (event, endpoint, due, rank) VALUES (?, ?, ?, ?)", (event_id, position, now, now)
        )

    def due(self, limit: int, sending: Iterable[int]) -> Sequence[Delivery]:
        """The next ones to send now, those that are being sent left out."""
        query = (
            f"SELECT {COLUMNS} FROM deliveries INDEXED BY deliveries_by_rank WHERE state = 'pending' AND due <= ? "  # noqa: S608  names of ours
            "AND id NOT IN (SELECT value FROM json_each(?)) AND endpoint < ? ORDER BY rank, id LIMIT ?"
        )
        busy = json.dumps(list(sending))
        rows = self._db.execute(query, (self._clock(), busy, len(self.endpoints), limit))
        return [Delivery(*row) for row in rows]

    def next_due(self, sending: Iterable[int]) -> float | None:
        """Seconds until the next one, those that are being sent left out; None when nothing waits."""
        row = self._db.execute(
            "SELECT due FROM deliveries INDEXED BY deliveries_by_due WHERE state = 'pending' "
            "AND id NOT IN (SELECT value FROM json_each(?)) AND endpoint < ? ORDER BY due LIMIT 1",
            (json.dumps(list(sending)), len(self.endpoints)),
        ).fetchone()
        return None if row is None else max(0.0, row[0] - self._clock())

    def pending(self) -> int:
        """How many wait for an endpoint that there is."""
        query = "SELECT count(*) FROM deliveries WHERE state = 'pending' AND endpoint < ?"
        return int(self._db.execute(query, (len(self.endpoints),)).fetchone()[0])

    def listed(self, state: str | None = None, event: str | None = None) -> Sequence[Delivery]:
        """In the order of creation."""
        query = f"SELECT {COLUMNS} FROM deliveries WHERE ? IN ('', state) AND ? IN ('', event) ORDER BY id"  # noqa: S608
        return [Delivery(*row) for row in self._db.execute(query, (state or "", event or ""))]

    def settle(self, delivery: Delivery, *, status: int | None, error: str | None, wait: float | None) -> None:
        """Write down an attempt: without an error delivered, otherwise again after ``wait`` seconds, or never."""
        state = "delivered" if error is None else "failed" if wait is None else "pending"
        self._db.execute(
            "UPDATE deliveries SET state = ?, attempts = attempts + 1, status = ?, error = ?, due = ? WHERE id = ?",
            (state, status, error, self._clock() + (wait or 0), delivery.id),
        )

    def reorder(self, order: Order, seed: int) -> None:
        """Rank what is pending anew and make all of it due."""
        rows = self._db.execute("SELECT id FROM deliveries WHERE state = 'pending' ORDER BY id").fetchall()
        numbers = [row[0] for row in rows]
        if order == "reversed":
            numbers.reverse()
        elif order == "shuffled":
            random.Random(seed).shuffle(numbers)  # noqa: S311  repeatable, not secret
        ranked = [(rank, self._clock(), number) for rank, number in enumerate(numbers)]
        self._db.executemany("UPDATE deliveries SET rank = ?, due = ? WHERE id = ?", ranked)
