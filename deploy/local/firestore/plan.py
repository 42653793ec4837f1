"""How to find a query's documents: the walks along indexes that could answer it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.local.firestore.conditions import EVERYTHING, Condition, Conjunction, intersection, operand_key
from deploy.local.firestore.field_paths import FieldPath, render_field_path
from deploy.local.firestore.query import NAME_FIELD, Cursor, Document, Order, Query, Scope, Span, View

_BY_NAME: Final = Condition(NAME_FIELD, "value", EVERYTHING)


@dataclass(frozen=True, slots=True)
class Walk:
    """Along the index of ``entry``'s field, or along the names where that field is the name.

    ``ordered``: the documents come in the query's order and have all fields of it. ``residual`` is what remains to be
    checked of each document.
    """

    entry: Condition
    names: Span
    reverse: bool
    ordered: bool
    residual: Conjunction

    def documents(self, view: View, scope: Scope) -> Iterator[Document]:
        if self.entry.field == NAME_FIELD:
            return view.scan(scope, self.names, reverse=self.reverse)
        field, kind, keys = render_field_path(self.entry.field), self.entry.kind, self.entry.span
        return view.scan_index(scope, field, kind, keys, self.names, reverse=self.reverse)


def walks(query: Query, conditions: Conjunction) -> list[Walk]:
    """The walks worth trying, at least one: nobody keeps statistics, so ``run`` lets them race."""
    entries = _entries(query, conditions)
    return [_walk(query, conditions, entry) for entry in entries]


def _entries(query: Query, conditions: Conjunction) -> list[Condition]:
    """Where to enter: every condition's field, and the field that leads the order."""
    named = [c for c in conditions if c.field == NAME_FIELD]
    if any(c.is_equality for c in named):
        return named
    entries = list(conditions)
    leading = _remaining(query, conditions)[0].field
    if leading != NAME_FIELD and not any(c.field == leading and c.kind == "value" for c in entries):
        entries.append(Condition(leading, "value", EVERYTHING))
    return entries or [_BY_NAME]


def _remaining(query: Query, conditions: Conjunction) -> list[Order]:
    """The orders that still distinguish documents: a field that equals one value does not."""
    fixed = _fixed_keys(conditions)
    return [order for order in query.orders if order.field not in fixed]


def _fixed_keys(conditions: Conjunction) -> dict[FieldPath, bytes]:
    return {c.field: c.span.lower for c in conditions if c.kind == "value" and c.is_equality}


def _walk(query: Query, conditions: Conjunction, entry: Condition) -> Walk:
    orders = _remaining(query, conditions)
    fixed = _fixed_keys(conditions)
    natural = [field for field in dict.fromkeys((entry.field, NAME_FIELD)) if not _is_constant(field, entry, fixed)]
    ordered = [order.field for order in orders] == natural and len({order.descending for order in orders}) <= 1
    names = next((c.span for c in conditions if c.field == NAME_FIELD), EVERYTHING)
    implied = [c for c in (entry, Condition(NAME_FIELD, "value", names)) if not c.excluded]
    residual = tuple(c for c in conditions if c not in implied)
    if ordered and orders:
        cut = _cursor_span(query, fixed, query.orders.index(orders[0]))
        if natural[0] == NAME_FIELD:
            names = intersection(names, cut)
        else:
            entry = Condition(entry.field, entry.kind, intersection(entry.span, cut), entry.excluded)
    return Walk(entry, names, bool(orders) and orders[0].descending, ordered, residual)


def _is_constant(field: FieldPath, entry: Condition, fixed: dict[FieldPath, bytes]) -> bool:
    return field in fixed or (field == entry.field and entry.kind == "contains")


def _cursor_span(query: Query, fixed: dict[FieldPath, bytes], place: int) -> Span:
    """What the cursors leave of the order at ``place``, both ends included: the exact cut is made on sort keys."""
    first = _cursor_key(query.orders, query.start, fixed, place)
    last = _cursor_key(query.orders, query.end, fixed, place)
    if query.orders[place].descending:
        first, last = last, first
    return Span(first or b"", None if last is None else last + b"\x00")


def _cursor_key(
    orders: Sequence[Order], cursor: Cursor | None, fixed: dict[FieldPath, bytes], place: int
) -> bytes | None:
    if cursor is None or len(cursor.values) <= place:
        return None
    keys = [operand_key(order.field, value) for order, value in zip(orders, cursor.values, strict=False)]
    if any(keys[i] != fixed.get(orders[i].field) for i in range(place)):
        return None
    return keys[place]
