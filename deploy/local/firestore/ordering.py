"""The order of a query's results, as bytes: a document's sort key, and the window that cursors cut out of it."""

from collections.abc import Sequence
from typing import Final

from deploy.local.firestore.conditions import document_key, operand_key
from deploy.local.firestore.field_paths import render_field_path
from deploy.local.firestore.normal_form import field_filters
from deploy.local.firestore.query import INEQUALITIES, NAME_FIELD, Cursor, Document, Filter, Order, Span

_INVERTED: Final = bytes(range(255, -1, -1))
_NAME_END: Final = b"\x01"  # a parent's name must not be a prefix of a name below it
_BEYOND: Final = b"\xff"  # above whatever may follow a key, inverted or not


def complete_orders(where: Filter | None, explicit: Sequence[Order]) -> tuple[Order, ...]:
    """Append the fields of inequalities, sorted, and the name, in the direction of the last explicit order."""
    descending = explicit[-1].descending if explicit else False
    unequal = {test.field for test in field_filters(where) if test.op in INEQUALITIES} - {NAME_FIELD}
    named = [order.field for order in explicit]
    implied = [field for field in sorted(unequal, key=render_field_path) if field not in named]
    if NAME_FIELD not in named:
        implied.append(NAME_FIELD)
    return (*explicit, *(Order(field, descending) for field in implied))


def sort_key(document: Document, orders: Sequence[Order]) -> bytes | None:
    """Bytes that sort documents as the orders say; None for a document that lacks one of their fields."""
    parts: list[bytes] = []
    for order in orders:
        key = document_key(document, order.field)
        if key is None:
            return None
        parts.append(_directed(key, order))
    return b"".join(parts)


def window(orders: Sequence[Order], start: Cursor | None, end: Cursor | None) -> Span | None:
    """The sort keys between the cursors; None without any."""
    if start is None and end is None:
        return None
    return Span(b"" if start is None else _position(orders, start), None if end is None else _position(orders, end))


def _position(orders: Sequence[Order], cursor: Cursor) -> bytes:
    pairs = zip(orders, cursor.values, strict=False)  # a cursor may name the first fields only
    prefix = b"".join(_directed(operand_key(order.field, value), order) for order, value in pairs)
    return prefix if cursor.before else prefix + _BEYOND


def _directed(key: bytes, order: Order) -> bytes:
    if order.field == NAME_FIELD:
        key += _NAME_END
    return key.translate(_INVERTED) if order.descending else key
