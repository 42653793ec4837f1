"""The vocabulary of state changes: an operation names what it reads and decides what is written.

Everything here is pure. ``shared.firestore.committer`` does the reading and writing; a decision may be taken again on
newer documents, so ``decide`` must depend on nothing but its arguments (time, ids and randomness are fields of the
operation).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Generic, Protocol, TypeAlias, TypeVar, final

T_co = TypeVar("T_co", covariant=True)


@final
@dataclass(frozen=True, slots=True)
class Reference:
    """A reference value: the full resource name of a document."""

    name: str


@final
@dataclass(frozen=True, slots=True)
class GeoPoint:
    """Degrees."""

    latitude: float
    longitude: float


Scalar: TypeAlias = bool | int | float | str | bytes | datetime | Reference | GeoPoint | None
Value: TypeAlias = "Scalar | Sequence[Value] | Mapping[str, Value]"
Fields: TypeAlias = Mapping[str, Value]


@final
@dataclass(frozen=True, slots=True)
class Increment:
    """Adds to the number that is there; a missing or non-numeric field counts as 0. Stops at the ends of 64 bits."""

    by: int


@final
@dataclass(frozen=True, slots=True)
class Remove:
    """Takes the field out of the document."""


REMOVE: Final = Remove()
INT64: Final = range(-(2**63), 2**63)
"""The integers that Firestore can hold."""

Change: TypeAlias = "Value | Increment | Remove"


@final
@dataclass(frozen=True, slots=True)
class Document:
    """A document as it was read. ``fields`` is None where there is none at ``path``."""

    path: str
    fields: Fields | None
    update_time: datetime | None = None

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def exists(self) -> bool:
        return self.fields is not None


@final
@dataclass(frozen=True, slots=True)
class Put:
    """The document becomes exactly these fields, whether or not it was there."""

    path: str
    fields: Fields


@final
@dataclass(frozen=True, slots=True)
class Merge:
    """These top-level fields change, the others stay; a missing document is created."""

    path: str
    fields: Mapping[str, Change]


@final
@dataclass(frozen=True, slots=True)
class Delete:
    path: str


Write: TypeAlias = Put | Merge | Delete


@dataclass(frozen=True, slots=True)
class Decision(Generic[T_co]):
    """What an operation answers and writes. Without writes it is an answer from the record (a replay)."""

    result: T_co
    writes: Sequence[Write] = field(default=())


class Documents:
    """The documents an operation asked for, as earlier operations of the same commit left them."""

    __slots__ = ("_allowed", "_current")

    def __init__(self, current: Mapping[str, Document], allowed: Iterable[str]) -> None:
        self._current = current
        self._allowed = frozenset(allowed)

    def __getitem__(self, path: str) -> Document:
        """The document at ``path``; LookupError if the operation did not name it in ``reads``."""
        if path not in self._allowed:
            raise LookupError(f"{path} was not among the operation's reads")
        return self._current[path]


class Operation(Protocol[T_co]):
    """One state change. Its lane says with which others it may share a commit, e.g. the event's id.

    It must read the marker document that it writes (the ledger entry, the scan, the transfer) and answer from it when
    it is there: after a lost reply nobody else knows whether the commit happened.
    """

    @property
    def lane(self) -> str: ...

    def reads(self) -> Sequence[str]: ...

    def decide(self, docs: Documents) -> Decision[T_co]: ...


def applied(fields: Fields | None, write: Write) -> Fields | None:
    """The fields of a document after a write, None if it is gone."""
    match write:
        case Put():
            return write.fields
        case Delete():
            return None
        case Merge():
            after = dict(fields or {})
            for name, change in write.fields.items():
                _change(after, name, change)
            return after


def _change(after: dict[str, Value], name: str, change: Change) -> None:
    match change:
        case Remove():
            after.pop(name, None)
        case Increment(by):
            after[name] = _sum(_number(after.get(name)), by)
        case _:
            after[name] = change


def _number(value: Change) -> int | float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else 0


def _sum(number: int | float, by: int) -> int | float:  # noqa: PYI041  an int stays one
    """As Firestore adds: an integer that would leave 64 bits stays at their end."""
    total = number + by
    return total if isinstance(total, float) else _within(total)


def _within(total: int) -> int:
    return min(max(total, INT64[0]), INT64[-1])


def combined(earlier: Write, later: Write) -> Write:
    """The one write that does what two to the same document do in order.

    Two increments become their sum, which is the same unless one of them meets an end of 64 bits.
    """
    match earlier, later:
        case Merge(path, before), Merge(_, after):
            merged = dict(before)
            for name, change in after.items():
                merged[name] = _after(merged[name], change) if name in merged else change
            return Merge(path, merged)
        case ((Put(path, _) | Delete(path)), Merge()):
            base = earlier.fields if isinstance(earlier, Put) else None
            return Put(path, applied(base, later) or {})
        case _:
            return later


def _after(earlier: Change, later: Change) -> Change:
    match earlier, later:
        case Increment(a), Increment(b):
            return Increment(_within(a + b))
        case _, Increment(b):
            return _sum(_number(earlier), b)
        case _:
            return later


class Batch:
    """The documents read for one commit and what the operations in it have decided so far."""

    def __init__(self, documents: Mapping[str, Document]) -> None:
        self._current = dict(documents)
        self._writes: dict[str, Write] = {}

    def __len__(self) -> int:
        """How many documents would be written."""
        return len(self._writes)

    def view(self, reads: Iterable[str]) -> Documents:
        return Documents(self._current, reads)

    def add(self, writes: Iterable[Write]) -> None:
        for write in writes:
            earlier = self._writes.get(write.path)
            self._writes[write.path] = write if earlier is None else combined(earlier, write)
            read = self._current.get(write.path)
            if read is not None:
                self._current[write.path] = Document(read.path, applied(read.fields, write), read.update_time)

    def writes(self) -> Sequence[Write]:
        """One write a document, in the order of their first mention."""
        return tuple(self._writes.values())
