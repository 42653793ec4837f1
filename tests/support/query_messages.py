"""A ``Query`` as the StructuredQuery that a client would send: the reverse of ``query_wire``."""

from typing import Final

from google.cloud.firestore_v1.types import query as query_types

from deploy.local.firestore.field_paths import FieldPath, render_field_path
from deploy.local.firestore.query import AllOf, AnyOf, Cursor, Filter, Op, Query
from deploy.local.firestore.values import Reference, Value
from deploy.local.firestore.wire import Message, encode_value
from tests.support.naive_query import is_unequal

StructuredQuery: Final = query_types.StructuredQuery.pb()
_UNARY: Final = {Op.EQUAL: ("IS_NULL", "IS_NAN"), Op.NOT_EQUAL: ("IS_NOT_NULL", "IS_NOT_NAN")}


def encode_query(query: Query, database: str) -> Message:
    """``database`` is where the names in filters and cursors are moved to."""
    message = StructuredQuery(offset=query.offset)
    message.from_.add(collection_id=query.scope.collection_id or "", all_descendants=query.scope.all_descendants)
    if query.where is not None:
        encode_filter(query.where, database, message.where)
    for order in query.orders[: query.explicit_orders]:
        message.order_by.add(field=reference(order.field), direction="DESCENDING" if order.descending else "ASCENDING")
    for cursor, into in ((query.start, message.start_at), (query.end, message.end_at)):
        if cursor is not None:
            encode_cursor(cursor, database, into)
    if query.limit is not None:
        message.limit.value = query.limit
    return message


def encode_filter(where: Filter, database: str, into: Message) -> None:
    if isinstance(where, AllOf | AnyOf):
        into.composite_filter.op = "AND" if isinstance(where, AllOf) else "OR"
        for part in where.parts:
            encode_filter(part, database, into.composite_filter.filters.add())
    elif where.op in _UNARY and is_unequal(where.value):
        into.unary_filter.op = _UNARY[where.op][where.value is not None]
        into.unary_filter.field.CopyFrom(reference(where.field))
    else:
        into.field_filter.op = where.op.name
        into.field_filter.field.CopyFrom(reference(where.field))
        encode_value(moved(where.value, database), into.field_filter.value)


def encode_cursor(cursor: Cursor, database: str, into: Message) -> None:
    into.before = cursor.before
    into.SetInParent()
    for value in cursor.values:
        encode_value(moved(value, database), into.values.add())


def reference(field: FieldPath) -> Message:
    return query_types.StructuredQuery.FieldReference.pb()(field_path=render_field_path(field))


def moved(value: Value, database: str) -> Value:
    match value:
        case Reference(name):
            return Reference(f"{database}/documents/" + name.split("/documents/", 1)[1])
        case list():
            return [moved(element, database) for element in value]
    return value
