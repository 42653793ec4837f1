"""Firestore documents as typed records: each attribute says under which name it is stored and how it is read.

Documents are older than this code and were written by several programs, so reading is tolerant (a number may be a
string, a time may be text) and never fails; a field that cannot be understood reads as its default. Writing is exact.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Self, TypeVar

from shared.operations import INT64, Change, Document, Fields, Value

T = TypeVar("T")

_NAME: Final = "stored name"
_READ: Final = "how it is read"
_UNREADABLE: Final = (TypeError, ValueError, OverflowError)


def stored(name: str, read: Callable[[Value], T], default: T) -> T:
    """Declares an attribute of a record. ``read`` raises ValueError or TypeError for what it cannot understand."""
    return field(default=default, metadata={_NAME: name, _READ: read})


def text(value: Value) -> str:
    if isinstance(value, str):
        return value
    raise TypeError(value)


def flag(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(value)


def whole(value: Value) -> int:
    """An integer, also one that another program stored as a double or as digits."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    number = int(value)
    if number not in INT64 or (isinstance(value, float) and number != value):
        raise ValueError(value)
    return number


def moment(value: Value) -> datetime:
    """A time in UTC; also ISO 8601 text, which older documents hold, taken as UTC where it names no zone."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    raise TypeError(value)


def listed(read: Callable[[Fields], T]) -> Callable[[Value], tuple[T, ...]]:
    """A list of maps; entries that are no maps are passed over."""

    def read_list(value: Value) -> tuple[T, ...]:
        if not isinstance(value, list | tuple):
            raise TypeError(value)
        return tuple(read(item) for item in value if isinstance(item, dict))

    return read_list


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a record is stored."""

    names: Mapping[str, str]
    readers: Sequence[tuple[str, str, Callable[[Value], object]]]


_LAYOUTS: Final[dict[type, _Layout]] = {}  # by class, so that a record is inspected once


def _layout(record: type) -> _Layout:
    if record not in _LAYOUTS:
        declared = [entry for entry in fields(record) if _NAME in entry.metadata]
        readers = [(entry.name, entry.metadata[_NAME], entry.metadata[_READ]) for entry in declared]
        _LAYOUTS[record] = _Layout({attribute: name for attribute, name, _ in readers}, readers)
    return _LAYOUTS[record]


@dataclass(frozen=True, slots=True)
class Embedded:
    """A map inside a document."""

    @classmethod
    def of_fields(cls, stored_fields: Fields, **given: Any) -> Self:
        values = dict(given)
        for attribute, name, read in _layout(cls).readers:
            value = stored_fields.get(name)
            if value is None:
                continue
            try:
                values[attribute] = read(value)
            except _UNREADABLE:
                continue
        return cls(**values)

    @classmethod
    def unreadable(cls, stored_fields: Fields) -> tuple[str, ...]:
        """The stored names of fields that say something, though nothing we understand: each reads as its default."""
        readers = {name: read for _, name, read in _layout(cls).readers}
        return tuple(name for name, read in readers.items() if not _is_readable(stored_fields.get(name), read))

    def fields(self) -> dict[str, Value]:
        """Everything, as it is stored."""
        return {name: _plain(getattr(self, attribute)) for attribute, name in _layout(type(self)).names.items()}

    @classmethod
    def stored_name(cls, attribute: str) -> str:
        """The field's name in the document, for queries."""
        return _layout(cls).names[attribute]

    @classmethod
    def patch(cls, **changes: Any) -> dict[str, Change]:
        """Changes by attribute as changes by stored name; KeyError for an attribute the record does not have."""
        names = _layout(cls).names
        return {names[attribute]: _plain(change) for attribute, change in changes.items()}


@dataclass(frozen=True, slots=True)
class Record(Embedded):
    """A document. ``path`` is where it lives, and its last segment is its id."""

    COLLECTION: ClassVar[str]

    path: str

    @classmethod
    def of(cls, document: Document) -> Self | None:
        """The record, None where there is no document."""
        return None if document.fields is None else cls.of_fields(document.fields, path=document.path)

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]


def _is_readable(value: Value, read: Callable[[Value], object]) -> bool:
    if value is None:
        return True
    try:
        read(value)
    except _UNREADABLE:
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, Embedded):
        return value.fields()
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
