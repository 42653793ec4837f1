"""count, sum and avg over a query, by the rules in the comments of ``StructuredAggregationQuery.Aggregation``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import MISSING, FieldPath, get_field, parse_field_path
from deploy.local.firestore.query import Document, Query, View
from deploy.local.firestore.query_wire import decode_query
from deploy.local.firestore.run import run_query
from deploy.local.firestore.values import Fields, Value
from deploy.local.firestore.wire import Message

MAX_AGGREGATIONS: Final = 5
_INT64: Final = range(-(1 << 63), 1 << 63)


@dataclass(frozen=True, slots=True)
class Count:
    up_to: int | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    field: FieldPath


@dataclass(frozen=True, slots=True)
class Average:
    field: FieldPath


Aggregation: TypeAlias = Count | Sum | Average


@dataclass(frozen=True, slots=True)
class AggregationQuery:
    """``aggregations`` are by alias, the name of their result."""

    query: Query
    aggregations: dict[str, Aggregation]

    @property
    def fields(self) -> tuple[FieldPath, ...]:
        """The fields that are summed or averaged: a document without one of them does not take part at all."""
        fields = (a.field for a in self.aggregations.values() if not isinstance(a, Count))
        return tuple(dict.fromkeys(fields))


def decode_aggregation_query(message: Message, database: str, parent: str) -> AggregationQuery:
    """From a StructuredAggregationQuery; the arguments are those of ``decode_query``."""
    if message.WhichOneof("query_type") != "structured_query":
        raise InvalidArgument("An aggregation query needs a structured_query to aggregate over.")
    if not 1 <= len(message.aggregations) <= MAX_AGGREGATIONS:
        raise InvalidArgument(f"An aggregation query has 1 to {MAX_AGGREGATIONS} aggregations.")
    aliases = _aliases([aggregation.alias for aggregation in message.aggregations])
    decoded = map(_decode_aggregation, message.aggregations)
    query = decode_query(message.structured_query, database, parent)
    return AggregationQuery(query, dict(zip(aliases, decoded, strict=True)))


def run_aggregation(request: AggregationQuery, view: View) -> Fields:
    """The results by alias."""
    query = _bounded(request)
    tallies = {alias: _Tally(aggregation) for alias, aggregation in request.aggregations.items()}
    fields = request.fields
    for document in run_query(query, view):
        values = [get_field(document.fields, field) for field in fields] if fields else []
        if MISSING in values:
            continue
        for tally in tallies.values():
            tally.add(document)
    return {alias: tally.result() for alias, tally in tallies.items()}


def _bounded(request: AggregationQuery) -> Query:
    """Counting up to a bound needs no documents beyond it."""
    bounds = [a.up_to for a in request.aggregations.values() if isinstance(a, Count) and a.up_to]
    if len(bounds) < len(request.aggregations):
        return request.query
    limit = max(bounds) if request.query.limit is None else min(max(bounds), request.query.limit)
    return replace(request.query, limit=limit)


class _Tally:
    """Integers are added exactly, so that only the result can overflow; doubles as IEEE 754 has it."""

    __slots__ = ("_aggregation", "_count", "_double", "_has_double", "_integer")

    def __init__(self, aggregation: Aggregation) -> None:
        self._aggregation = aggregation
        self._count = 0
        self._integer = 0
        self._double = 0.0
        self._has_double = False

    def add(self, document: Document) -> None:
        if isinstance(self._aggregation, Count):
            self._count += 1
            return
        value = get_field(document.fields, self._aggregation.field)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        self._count += 1
        if isinstance(value, float):
            self._double += value
            self._has_double = True
        else:
            self._integer += value

    def result(self) -> Value:
        match self._aggregation:
            case Count(up_to):
                return self._count if up_to is None else min(self._count, up_to)
            case Sum():
                return self._sum()
            case Average():
                return self._average()

    def _sum(self) -> int | float:
        if self._has_double:
            return self._integer + self._double
        return self._integer if self._integer in _INT64 else float(self._integer)

    def _average(self) -> float | None:
        if not self._count:
            return None
        return (self._integer + self._double if self._has_double else self._integer) / self._count


def _decode_aggregation(message: Message) -> Aggregation:
    match message.WhichOneof("operator"):
        case "count":
            return _decode_count(message.count)
        case "sum":
            return Sum(parse_field_path(message.sum.field.field_path))
        case "avg":
            return Average(parse_field_path(message.avg.field.field_path))
    raise InvalidArgument("An aggregation has no operator: count, sum or avg.")


def _decode_count(message: Message) -> Count:
    if not message.HasField("up_to"):
        return Count()
    if message.up_to.value <= 0:
        raise InvalidArgument(f"COUNT_UP_TO must be greater than zero, not {message.up_to.value}.")
    return Count(message.up_to.value)


def _aliases(given: Sequence[str]) -> list[str]:
    """Those given; ``field_1``, ``field_2`` and so on for the others."""
    unnamed = iter(range(1, len(given) + 1))
    aliases = [alias or f"field_{next(unnamed)}" for alias in given]
    repeated = {alias for alias in aliases if aliases.count(alias) > 1}
    if repeated:
        raise InvalidArgument(f"Aggregation aliases must be unique: {', '.join(sorted(repeated))} is there twice.")
    return aliases
