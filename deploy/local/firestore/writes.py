"""What a write makes of a document: masks, preconditions and transforms on plain values. No I/O.

The rules are those of ``google/firestore/v1/write.proto``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from deploy.local.firestore.documents import Document, resource_name
from deploy.local.firestore.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from deploy.local.firestore.field_paths import FieldPath, Missing, get_field
from deploy.local.firestore.values import Fields, Timestamp, Value, order_key

_INT64_MAX: Final = 2**63 - 1
_INT64_MIN: Final = -(2**63)

Rule: TypeAlias = Callable[[Value | Missing, int], Value]
"""From the field's value and the time of the commit (microseconds) to the new value."""


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold of the document; ``update_time`` in microseconds."""

    exists: bool | None = None
    update_time: int | None = None


@dataclass(frozen=True, slots=True)
class Transform:
    """``reports``: the client is told the new value, otherwise null."""

    path: FieldPath
    rule: Rule
    reports: bool = True


@dataclass(frozen=True, slots=True)
class Write:
    """``fields`` None deletes; ``mask`` None replaces the document, otherwise only the fields it names change.

    A mask may name a field and one inside it, which adds nothing: ``a`` covers ``a.b``. The client libraries refuse to
    send such masks, and what production makes of them is documented nowhere.
    """

    database: str
    path: str
    fields: Fields | None
    mask: tuple[FieldPath, ...] | None = None
    transforms: tuple[Transform, ...] = ()
    precondition: Precondition = Precondition()

    @property
    def name(self) -> str:
        return resource_name(self.database, self.path)


@dataclass(frozen=True, slots=True)
class Change:
    """``fields`` None means no document any more; ``results`` holds one value per transform."""

    fields: Fields | None
    results: tuple[Value, ...] = ()


def decide(write: Write, current: Document | None, commit_time: int) -> Change:
    """The document after the write; raises what its precondition demands. Never touches ``current``'s fields."""
    check(write, current, commit_time)
    if write.fields is None:
        return Change(None)
    fields = _merged(write.fields, write.mask, current)
    results = tuple(_transformed(fields, transform, commit_time) for transform in write.transforms)
    return Change(fields, results)


def check(write: Write, current: Document | None, commit_time: int) -> None:
    wanted = write.precondition
    if wanted.exists is True and current is None:
        raise NotFound(f"No document to update: {write.name}")
    if wanted.exists is False and current is not None:
        raise AlreadyExists(f"Document already exists: {write.name}")
    if wanted.update_time is not None:
        _check_time(write, current, wanted.update_time, commit_time)


def _check_time(write: Write, current: Document | None, wanted: int, commit_time: int) -> None:
    if wanted > commit_time:
        raise InvalidArgument(f"The update_time required of {write.name} lies in the future.")
    if current is None:
        raise NotFound(f"No document to update: {write.name}")
    if current.update_time != wanted:
        raise FailedPrecondition(
            f"The stored version ({current.update_time}) of {write.name} does not match the required base version "
            f"({wanted}). Read the document again."
        )


def _merged(written: Fields, mask: tuple[FieldPath, ...] | None, current: Document | None) -> Fields:
    if mask is None:
        return _copied(written)
    fields = _copied(current.fields) if current else {}
    for path in mask:
        value = get_field(written, path)
        if isinstance(value, Missing):
            _remove(fields, path)
        else:
            put_field(fields, path, value)
    return fields


def _copied(fields: Fields) -> Fields:
    """Maps are copied, since paths reach into them; other values are never changed in place."""
    return {name: _copied(value) if isinstance(value, dict) else value for name, value in fields.items()}


def put_field(fields: Fields, path: FieldPath, value: Value) -> None:
    """Set a field in place, through maps that are made where they are missing."""
    *way, last = path
    for name in way:
        inner = fields.get(name)
        if not isinstance(inner, dict):
            inner = fields[name] = {}
        fields = inner
    fields[last] = _copied(value) if isinstance(value, dict) else value


def _remove(fields: Fields, path: FieldPath) -> None:
    *way, last = path
    parent = get_field(fields, tuple(way)) if way else fields
    if isinstance(parent, dict):
        parent.pop(last, None)


def _transformed(fields: Fields, transform: Transform, commit_time: int) -> Value:
    value = transform.rule(get_field(fields, transform.path), commit_time)
    put_field(fields, transform.path, value)
    return value if transform.reports else None


def request_time(_: Value | Missing, commit_time: int) -> Value:
    return Timestamp(commit_time)


def increment(by: float) -> Rule:
    """Integers stop at the ends of 64 bits; one double makes a double; what is no number counts as absent."""

    def add(current: Value | Missing, _: int) -> Value:
        number = _number(current)
        if number is None:
            return by
        total = number + by
        return total if isinstance(total, float) else min(max(total, _INT64_MIN), _INT64_MAX)

    return add


def maximum(other: float) -> Rule:
    return _extreme(other, lambda number: other > number)


def minimum(other: float) -> Rule:
    return _extreme(other, lambda number: other < number)


def _extreme(other: float, wins: Callable[[int | float], bool]) -> Rule:
    """Of equal numbers the stored one stays; NaN wins."""

    def choose(current: Value | Missing, _: int) -> Value:
        number = _number(current)
        if number is None:
            return other
        if math.isnan(number) or math.isnan(other):
            return math.nan
        return other if wins(number) else number

    return choose


def append_missing(elements: Sequence[Value]) -> Rule:
    def append(current: Value | Missing, _: int) -> Value:
        kept = list(current) if isinstance(current, list) else []
        seen = set(map(order_key, kept))
        for element in elements:
            key = order_key(element)
            if key not in seen:
                seen.add(key)
                kept.append(element)
        return kept

    return append


def remove_all(elements: Sequence[Value]) -> Rule:
    unwanted = set(map(order_key, elements))

    def remove(current: Value | Missing, _: int) -> Value:
        kept = current if isinstance(current, list) else []
        return [element for element in kept if order_key(element) not in unwanted]

    return remove


def _number(value: Value | Missing) -> int | float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
