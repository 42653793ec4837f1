"""An operation that counts, for whoever wants to see what becomes of operations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import Conflict
from shared.firestore.client import Database
from shared.operations import Decision, Documents, Increment, Merge, Put, Write

COUNTER = "counters/c"


class TooMany(Conflict):
    code = "too_many"


@dataclass(frozen=True, slots=True)
class Count:
    """Adds one to a counter, once for each marker, up to a limit."""

    id: str
    limit: int = 1_000_000
    lane: str = "c"
    extra: Sequence[Write] = ()
    heard: Callable[[str], None] = field(default=lambda _: None)

    @property
    def marker(self) -> str:
        return f"marks/{self.id}"

    def reads(self) -> Sequence[str]:
        return (COUNTER, self.marker)

    def decide(self, docs: Documents) -> Decision[str]:
        self.heard(self.id)
        if docs[self.marker].exists:
            return Decision("replayed")
        counted: Any = (docs[COUNTER].fields or {}).get("n", 0)
        if counted >= self.limit:
            raise TooMany("Enough.")
        mark = Put(self.marker, {"n": counted + 1})
        return Decision("counted", (Merge(COUNTER, {"n": Increment(1)}), mark, *self.extra))


async def counted(database: Database) -> int:
    value: Any = (await database.get(COUNTER)).fields
    return int(value["n"]) if value else 0
