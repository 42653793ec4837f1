"""From a StructuredQuery message to a ``Query``. ``query_rules`` knows what goes together."""

import math
from collections.abc import Sequence
from typing import Final

from google.cloud.firestore_v1.types import query as query_types

from deploy.local.firestore.errors import InvalidArgument, Unimplemented
from deploy.local.firestore.field_paths import FieldPath, parse_field_path
from deploy.local.firestore.ordering import complete_orders
from deploy.local.firestore.query import (
    NAME_FIELD,
    AllOf,
    AnyOf,
    Cursor,
    FieldFilter,
    Filter,
    Op,
    Order,
    Query,
    Scope,
)
from deploy.local.firestore.query_rules import check_query
from deploy.local.firestore.values import Value
from deploy.local.firestore.wire import Message, decode_value

_Query: Final = query_types.StructuredQuery
_FieldOp: Final = _Query.FieldFilter.Operator
_UnaryOp: Final = _Query.UnaryFilter.Operator
_CompositeOp: Final = _Query.CompositeFilter.Operator

_OPS: Final = {
    int(_FieldOp.EQUAL): Op.EQUAL,
    int(_FieldOp.NOT_EQUAL): Op.NOT_EQUAL,
    int(_FieldOp.LESS_THAN): Op.LESS_THAN,
    int(_FieldOp.LESS_THAN_OR_EQUAL): Op.LESS_THAN_OR_EQUAL,
    int(_FieldOp.GREATER_THAN): Op.GREATER_THAN,
    int(_FieldOp.GREATER_THAN_OR_EQUAL): Op.GREATER_THAN_OR_EQUAL,
    int(_FieldOp.ARRAY_CONTAINS): Op.ARRAY_CONTAINS,
    int(_FieldOp.ARRAY_CONTAINS_ANY): Op.ARRAY_CONTAINS_ANY,
    int(_FieldOp.IN): Op.IN,
    int(_FieldOp.NOT_IN): Op.NOT_IN,
}
_UNARY: Final[dict[int, tuple[Op, Value]]] = {
    int(_UnaryOp.IS_NULL): (Op.EQUAL, None),
    int(_UnaryOp.IS_NAN): (Op.EQUAL, math.nan),
    int(_UnaryOp.IS_NOT_NULL): (Op.NOT_EQUAL, None),
    int(_UnaryOp.IS_NOT_NAN): (Op.NOT_EQUAL, math.nan),
}
_COMPOSITE: Final[dict[int, type[AllOf | AnyOf]]] = {int(_CompositeOp.AND): AllOf, int(_CompositeOp.OR): AnyOf}
_DESCENDING: Final = int(_Query.Direction.DESCENDING)


def decode_query(message: Message, database: str, parent: str) -> Query:
    """``database`` is ``projects/p/databases/d``, ``parent`` a relative document path or "".

    Raises InvalidArgument for what no query can mean or production refuses, Unimplemented for vector search.
    """
    if message.HasField("find_nearest"):
        raise Unimplemented("Vector search (find_nearest) is not supported by the embedded Firestore.")
    where = _decode_filter(message.where) if message.HasField("where") else None
    explicit = [_decode_order(order) for order in message.order_by]
    query = Query(
        scope=_decode_scope(message.from_, parent),
        where=where,
        orders=complete_orders(where, explicit),
        explicit_orders=len(explicit),
        start=_decode_cursor(message.start_at) if message.HasField("start_at") else None,
        end=_decode_cursor(message.end_at) if message.HasField("end_at") else None,
        offset=message.offset,
        limit=message.limit.value if message.HasField("limit") else None,
        select=_decode_projection(message.select),
    )
    check_query(query, database)
    return query


def _decode_scope(selectors: Sequence[Message], parent: str) -> Scope:
    if len(selectors) > 1:
        raise InvalidArgument("A query names at most one collection in its from clause.")
    if not selectors:
        return Scope(parent, None)
    return Scope(parent, selectors[0].collection_id or None, selectors[0].all_descendants)


def _decode_filter(message: Message) -> Filter:
    match message.WhichOneof("filter_type"):
        case "field_filter":
            return _decode_field_filter(message.field_filter)
        case "unary_filter":
            return _decode_unary_filter(message.unary_filter)
        case "composite_filter":
            return _decode_composite_filter(message.composite_filter)
    raise InvalidArgument("A filter is empty: set a composite, field or unary filter.")


def _decode_field_filter(message: Message) -> FieldFilter:
    op = _OPS.get(message.op)
    if op is None:
        raise InvalidArgument(f"A filter on {message.field.field_path} has no operator.")
    return FieldFilter(_decode_field(message.field), op, decode_value(message.value))


def _decode_unary_filter(message: Message) -> FieldFilter:
    if message.op not in _UNARY:
        raise InvalidArgument(f"A unary filter on {message.field.field_path} has no operator.")
    op, value = _UNARY[message.op]
    return FieldFilter(_decode_field(message.field), op, value)


def _decode_composite_filter(message: Message) -> Filter:
    composite = _COMPOSITE.get(message.op)
    if composite is None:
        raise InvalidArgument("A composite filter has no operator: AND or OR.")
    if not message.filters:
        raise InvalidArgument("A composite filter requires at least one filter.")
    return composite(tuple(map(_decode_filter, message.filters)))


def _decode_order(message: Message) -> Order:
    return Order(_decode_field(message.field), message.direction == _DESCENDING)


def _decode_cursor(message: Message) -> Cursor:
    return Cursor(tuple(map(decode_value, message.values)), message.before)


def _decode_projection(message: Message) -> tuple[FieldPath, ...] | None:
    fields = tuple(_decode_field(field) for field in message.fields)
    return tuple(field for field in fields if field != NAME_FIELD) if fields else None


def _decode_field(message: Message) -> FieldPath:
    return parse_field_path(message.field_path)
