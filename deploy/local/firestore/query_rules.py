"""What production refuses in a query, with INVALID_ARGUMENT.

From https://firebase.google.com/docs/firestore/query-data/queries ("Query limitations") and the comments of
``google.firestore.v1.StructuredQuery``.
"""

from collections.abc import Iterable
from typing import Final

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import FieldPath, render_field_path
from deploy.local.firestore.limits import validate_id
from deploy.local.firestore.normal_form import EXPANDED, count_disjunctions, disjuncts, field_filters
from deploy.local.firestore.query import INEQUALITIES, NAME_FIELD, Cursor, FieldFilter, Filter, Op, Order, Query
from deploy.local.firestore.values import Reference, Value

MAX_DISJUNCTIONS: Final = 30
MAX_NOT_IN: Final = 10
MAX_INEQUALITY_FIELDS: Final = 10
MAX_PARTS: Final = 100

_LISTS: Final = {Op.IN: "IN", Op.NOT_IN: "NOT_IN", Op.ARRAY_CONTAINS_ANY: "ARRAY_CONTAINS_ANY"}
_CONTAINMENT: Final = frozenset({Op.ARRAY_CONTAINS, Op.ARRAY_CONTAINS_ANY})


def check_query(query: Query, database: str) -> None:
    """``database`` is ``projects/p/databases/d``: names in filters and cursors must lie in it."""
    if query.offset < 0:
        raise InvalidArgument(f"offset is {query.offset}; it must not be negative.")
    if query.limit is not None and query.limit < 0:
        raise InvalidArgument(f"limit is {query.limit}; it must not be negative.")
    filters = list(field_filters(query.where))
    _check_collection(query, filters)
    for test in filters:
        _check_filter(test, database)
    if query.where is not None:
        _check_disjunctions(query.where)
    _check_not_in(query.where, filters)
    _check_orders(query, filters)
    for cursor in filter(None, (query.start, query.end)):
        _check_cursor(cursor, query.orders, database)


def _check_collection(query: Query, filters: list[FieldFilter]) -> None:
    if query.scope.collection_id is not None:
        validate_id(query.scope.collection_id)
        return
    for test in filters:
        if test.field != NAME_FIELD:
            raise InvalidArgument(f"kind is required for filter: {render_field_path(test.field)}")
    if query.orders != (Order(NAME_FIELD),):
        raise InvalidArgument("kind is required for all orders except __key__ ascending")


def _check_filter(test: FieldFilter, database: str) -> None:
    if test.op in _LISTS and not (isinstance(test.value, list) and test.value):
        raise InvalidArgument(f"'{_LISTS[test.op]}' requires a non-empty ArrayValue.")
    if test.op in EXPANDED and isinstance(test.value, list) and len(test.value) > MAX_DISJUNCTIONS:
        raise InvalidArgument(f"'{_LISTS[test.op]}' supports up to {MAX_DISJUNCTIONS} comparison values.")
    if test.op is Op.NOT_IN and isinstance(test.value, list) and len(test.value) > MAX_NOT_IN:
        raise InvalidArgument(f"'NOT_IN' supports up to {MAX_NOT_IN} comparison values.")
    if test.field == NAME_FIELD:
        _check_name_filter(test, database)


def _check_name_filter(test: FieldFilter, database: str) -> None:
    if test.op in _CONTAINMENT:
        raise InvalidArgument(f"'{test.op.value}' cannot be used with __name__, which is not an array.")
    values = test.value if test.op in _LISTS and isinstance(test.value, list) else [test.value]
    for value in values:
        _check_name(value, database)


def _check_name(value: Value, database: str) -> None:
    if not isinstance(value, Reference):
        raise InvalidArgument("__key__ filter value must be a Key: compare __name__ with a document's reference.")
    if not value.name.startswith(f"{database}/documents/"):
        raise InvalidArgument(f"{value.name} is not in the database that is queried, {database}.")


def _check_disjunctions(where: Filter) -> None:
    count = count_disjunctions(where)
    if count > MAX_DISJUNCTIONS:
        raise InvalidArgument(
            f"The query has {count} disjunctions in its disjunctive normal form; "
            f"at most {MAX_DISJUNCTIONS} are allowed."
        )
    for term in disjuncts(where):
        _check_containment(term)


def _check_containment(term: Iterable[FieldFilter]) -> None:
    ops = [test.op for test in term if test.op in _CONTAINMENT]
    if len(ops) > 1:
        raise InvalidArgument(
            "A maximum of 1 'ARRAY_CONTAINS' or 'ARRAY_CONTAINS_ANY' filter is allowed per disjunction."
        )


def _check_not_in(where: Filter | None, filters: list[FieldFilter]) -> None:
    ops = [test.op for test in filters]
    negated = ops.count(Op.NOT_IN) + ops.count(Op.NOT_EQUAL)
    if negated > 1:
        raise InvalidArgument(
            "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query."
        )
    if Op.NOT_IN not in ops:
        return
    if EXPANDED & set(ops) or (where is not None and count_disjunctions(where) > 1):
        raise InvalidArgument("'NOT_IN' cannot be used in the same query as 'OR', 'IN', or 'ARRAY_CONTAINS_ANY'.")


def _check_orders(query: Query, filters: list[FieldFilter]) -> None:
    fields = [order.field for order in query.orders]
    repeated = {field for field in fields if fields.count(field) > 1}
    if repeated:
        raise InvalidArgument(f"order by clause cannot contain duplicate fields {_listed(repeated)}.")
    unequal = {test.field for test in filters if test.op in INEQUALITIES}
    if len(unequal) > MAX_INEQUALITY_FIELDS:
        raise InvalidArgument(
            f"The query has inequality filters on {len(unequal)} fields; at most {MAX_INEQUALITY_FIELDS} are allowed."
        )
    if len(filters) + len(fields) > MAX_PARTS:
        raise InvalidArgument(f"The query has more than {MAX_PARTS} filters and sort orders.")


def _listed(fields: Iterable[FieldPath]) -> str:
    return ", ".join(sorted(map(render_field_path, fields)))


def _check_cursor(cursor: Cursor, orders: tuple[Order, ...], database: str) -> None:
    if len(cursor.values) > len(orders):
        raise InvalidArgument("Cursor has too many values.")
    for order, value in zip(orders, cursor.values, strict=False):
        if order.field == NAME_FIELD:
            _check_name(value, database)
