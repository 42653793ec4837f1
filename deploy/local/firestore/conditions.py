"""Filters in the form in which they are decided: an index key lies in a span.

Every operator comes down to that, so the planner, which reads the span from an index, and the check of a single
document cannot disagree. What null and NaN match, and that ranges stay within one type, is what production does
(https://firebase.google.com/docs/firestore/query-data/queries, and the integration tests of its clients).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeAlias

from deploy.local.firestore.entries import IndexKind
from deploy.local.firestore.field_paths import MISSING, FieldPath, get_field
from deploy.local.firestore.normal_form import disjuncts
from deploy.local.firestore.query import NAME_FIELD, Document, FieldFilter, Filter, Op, Span
from deploy.local.firestore.values import Reference, Value, index_key, path_key, type_bounds

NOTHING: Final = Span(b"", b"")
EVERYTHING: Final = Span()
_NULL: Final = index_key(None)
_NOT_NULL: Final = Span(_NULL + b"\x00")


@dataclass(frozen=True, slots=True)
class Condition:
    """The field has an index entry of this kind in the span, and its key is none of the excluded."""

    field: FieldPath
    kind: IndexKind
    span: Span
    excluded: frozenset[bytes] = frozenset()

    @property
    def is_equality(self) -> bool:
        return self.span.upper == self.span.lower + b"\x00"

    def holds(self, document: Document) -> bool:
        if self.kind == "value":
            key = document_key(document, self.field)
            return key is not None and in_span(key, self.span) and key not in self.excluded
        elements = get_field(document.fields, self.field)
        return isinstance(elements, list) and any(in_span(index_key(e), self.span) for e in elements)


Conjunction: TypeAlias = tuple[Condition, ...]


def document_key(document: Document, field: FieldPath) -> bytes | None:
    """The key by which the document is indexed under the field; None where it lacks the field."""
    if field == NAME_FIELD:
        return path_key(document.path)
    value = get_field(document.fields, field)
    return None if value is MISSING else index_key(value)


def operand_key(field: FieldPath, value: Value) -> bytes:
    """The key of a value that the field is compared with."""
    if field == NAME_FIELD and isinstance(value, Reference):
        return path_key(value.name.split("/documents/", 1)[1])
    return index_key(value)


def in_span(key: bytes, span: Span) -> bool:
    return span.lower <= key and (span.upper is None or key < span.upper)


def only(key: bytes) -> Span:
    return Span(key, key + b"\x00")


def intersection(one: Span, other: Span) -> Span:
    uppers = [span.upper for span in (one, other) if span.upper is not None]
    return Span(max(one.lower, other.lower), min(uppers, default=None))


def is_empty(span: Span) -> bool:
    return span.upper is not None and span.upper <= span.lower


def conjunctions(where: Filter | None) -> list[Conjunction]:
    """The filter's disjunctive normal form; without the terms that nothing can satisfy."""
    terms = (term for filters in disjuncts(where) for term in product(*map(_conditions, filters)))
    merged = map(_merged, terms)
    return [term for term in merged if not any(is_empty(condition.span) for condition in term)]


def _merged(conditions: Iterable[Condition]) -> Conjunction:
    """One condition per field where several compare its value."""
    by_field: dict[tuple[FieldPath, IndexKind, bytes | None], Condition] = {}
    for condition in conditions:
        element = condition.span.lower if condition.kind == "contains" else None
        place = (condition.field, condition.kind, element)
        known = by_field.get(place, Condition(condition.field, condition.kind, EVERYTHING))
        span, excluded = intersection(known.span, condition.span), known.excluded | condition.excluded
        by_field[place] = Condition(condition.field, condition.kind, span, excluded)
    return tuple(by_field.values())


def _conditions(test: FieldFilter) -> list[Condition]:  # noqa: PLR0911  one return per operator: this is a table
    """The alternatives of one filter: several for IN and ARRAY_CONTAINS_ANY."""
    field, value = test.field, test.value
    listed = value if isinstance(value, list) else []
    match test.op:
        case Op.IN:
            return [_equality(field, element) for element in listed]
        case Op.ARRAY_CONTAINS_ANY:
            return [_containment(field, element) for element in listed]
        case Op.ARRAY_CONTAINS:
            return [_containment(field, value)]
        case Op.NOT_IN:
            return [_exclusion(field, listed)]
        case Op.NOT_EQUAL:
            excluded = frozenset((operand_key(field, value),))
            return [Condition(field, "value", _existing(field), excluded)]
        case Op.EQUAL:
            return [Condition(field, "value", only(operand_key(field, value)))]
        case _:
            return [Condition(field, "value", _range(field, test.op, value))]


def _equality(field: FieldPath, value: Value) -> Condition:
    return Condition(field, "value", NOTHING if _is_unequal(value) else only(operand_key(field, value)))


def _containment(field: FieldPath, value: Value) -> Condition:
    return Condition(field, "contains", NOTHING if _is_unequal(value) else only(index_key(value)))


def _exclusion(field: FieldPath, values: list[Value]) -> Condition:
    keys = frozenset(operand_key(field, value) for value in values)
    return Condition(field, "value", NOTHING if _NULL in keys else _existing(field), keys)


def _existing(field: FieldPath) -> Span:
    """What != and not-in choose from: neither missing nor null."""
    return EVERYTHING if field == NAME_FIELD else _NOT_NULL


def _range(field: FieldPath, op: Op, value: Value) -> Span:
    if _is_unequal(value):
        return NOTHING
    key = operand_key(field, value)
    lower, upper = (b"", None) if field == NAME_FIELD else type_bounds(key)
    match op:
        case Op.LESS_THAN:
            return Span(lower, key)
        case Op.LESS_THAN_OR_EQUAL:
            return Span(lower, key + b"\x00")
        case Op.GREATER_THAN:
            return Span(key + b"\x00", upper)
        case _:
            return Span(key, upper)


def _is_unequal(value: Value) -> bool:
    """Null and NaN equal nothing, except in the unary filters that ask for them."""
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124  the test for NaN
