"""What a query means, said a second time and slowly: every document is looked at, nothing is planned."""

import math
from collections.abc import Sequence
from functools import cmp_to_key
from random import Random

from hypothesis import strategies as st

from deploy.local.firestore.field_paths import MISSING, FieldPath, Missing, get_field
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
from deploy.local.firestore.values import Fields, Reference, Value
from tests.support.memory_view import in_scope
from tests.support.naive_values import compare, rank

DATABASE = "projects/p/databases/(default)"
PATHS = [
    f"{parent}{collection}/{name}"
    for parent in ("", "c/a/", "c/a/c/a/", "d/x/")
    for collection in "cd"
    for name in "axz"
]
PLAIN: list[Value] = [None, math.nan, True, 0, 1, 1.0, 2, "a", "b", b"a", [], [1], [1, "a"], {"x": 1}]
FEW: list[Value] = [None, math.nan, 0, 1, 1.0, 2, 1, 2, "a", [1]]  # the array last: an array cannot hold one
FIELDS: list[FieldPath] = [("a",), ("b",), ("t",), ("m", "x"), NAME_FIELD]


def run_naively(query: Query, documents: dict[str, Fields]) -> list[str]:
    """The paths of the results."""
    found = [path for path in documents if in_scope(path, query.scope)]
    found = [path for path in found if query.where is None or matches(query.where, path, documents[path])]
    found = [path for path in found if all(read(path, documents[path], o.field) is not MISSING for o in query.orders)]

    def place(path: str) -> list[Value]:
        return [known(read(path, documents[path], order.field)) for order in query.orders]

    def before(one: str, other: str) -> int:
        return compare_places(query.orders, place(one), place(other))

    found.sort(key=cmp_to_key(before))
    if query.start is not None:
        found = [path for path in found if is_behind(query.orders, place(path), query.start)]
    if query.end is not None:
        found = [path for path in found if not is_behind(query.orders, place(path), query.end)]
    return found[query.offset :][: query.limit]


def is_behind(orders: Sequence[Order], place: list[Value], cursor: Cursor) -> bool:
    found = compare_places(orders, place, list(cursor.values))
    return found > 0 or (found == 0 and cursor.before)


def compare_places(orders: Sequence[Order], one: list[Value], other: list[Value]) -> int:
    """By as many values as both have."""
    for order, mine, theirs in zip(orders, one, other, strict=False):
        found = compare(mine, theirs)
        if found:
            return -found if order.descending else found
    return 0


def read(path: str, fields: Fields, field: FieldPath) -> Value | Missing:
    return Reference(f"{DATABASE}/documents/{path}") if field == NAME_FIELD else get_field(fields, field)


def known(value: Value | Missing) -> Value:
    assert not isinstance(value, Missing)
    return value


def matches(where: Filter, path: str, fields: Fields) -> bool:
    match where:
        case AllOf(parts):
            return all(matches(part, path, fields) for part in parts)
        case AnyOf(parts):
            return any(matches(part, path, fields) for part in parts)
        case FieldFilter(field, op, operand):
            value = read(path, fields, field)
            return not isinstance(value, Missing) and compares(op, value, operand)


def compares(op: Op, value: Value, operand: Value) -> bool:
    listed = operand if isinstance(operand, list) else []
    elements = value if isinstance(value, list) else []
    same_type = rank(value) == rank(operand) and not is_unequal(operand)
    tests = {
        Op.EQUAL: lambda: equal(value, operand),
        Op.NOT_EQUAL: lambda: value is not None and not equal(value, operand),
        Op.LESS_THAN: lambda: same_type and compare(value, operand) < 0,
        Op.LESS_THAN_OR_EQUAL: lambda: same_type and compare(value, operand) <= 0,
        Op.GREATER_THAN: lambda: same_type and compare(value, operand) > 0,
        Op.GREATER_THAN_OR_EQUAL: lambda: same_type and compare(value, operand) >= 0,
        Op.IN: lambda: any(equal(value, each) and not is_unequal(each) for each in listed),
        Op.NOT_IN: lambda: None not in [value, *listed] and not any(equal(value, each) for each in listed),
        Op.ARRAY_CONTAINS: lambda: not is_unequal(operand) and any(equal(each, operand) for each in elements),
        Op.ARRAY_CONTAINS_ANY: lambda: any(
            equal(each, wanted) for each in elements for wanted in listed if not is_unequal(wanted)
        ),
    }
    return tests[op]()


def equal(one: Value, other: Value) -> bool:
    return compare(one, other) == 0


def is_unequal(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


REFERENCES = st.sampled_from(PATHS).map(lambda path: Reference(f"{DATABASE}/documents/{path}"))


def operands(field: FieldPath) -> st.SearchStrategy[Value]:
    return REFERENCES if field == NAME_FIELD else st.one_of(st.sampled_from(FEW), st.sampled_from(PLAIN))


@st.composite
def field_filters(draw: st.DrawFn) -> FieldFilter:
    field = draw(st.sampled_from(FIELDS))
    op = draw(st.sampled_from(list(Op)))
    if op in {Op.IN, Op.NOT_IN, Op.ARRAY_CONTAINS_ANY}:
        return FieldFilter(field, op, draw(st.lists(operands(field), min_size=1, max_size=3)))
    return FieldFilter(field, op, draw(operands(field)))


def combined(inner: st.SearchStrategy[Filter]) -> st.SearchStrategy[Filter]:
    parts = st.lists(inner, min_size=1, max_size=3).map(tuple)
    return st.one_of(parts.map(AllOf), parts.map(AnyOf))


FILTERS: st.SearchStrategy[Filter] = st.one_of(
    field_filters(), combined(field_filters()), combined(combined(field_filters()))
)


def dense_documents(seed: int) -> dict[str, Fields]:
    """Nearly every path with nearly every field, from few values: so that filters, orders and cursors meet ties."""
    random = Random(seed)
    drawn: dict[str, Fields] = {}
    for path in PATHS:
        fields: Fields = {name: random.choice(FEW) for name in "ab" if random.random() < 0.9}
        fields["t"] = [random.choice(FEW[:-1]) for _ in range(random.randrange(4))]
        fields["m"] = {"x": random.choice(FEW)}
        if random.random() < 0.9:
            drawn[path] = fields
    return drawn


DOCUMENTS = st.integers(0, 2**16).map(dense_documents)
SCOPES = st.sampled_from(
    [Scope("", "c"), Scope("c/a", "c"), Scope("", "c", True), Scope("", "c", True), Scope("c/a", "d", True)]
)
ORDERS = st.lists(st.builds(Order, st.sampled_from(FIELDS), st.booleans()), max_size=2, unique_by=lambda o: o.field)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    where = draw(st.none() | FILTERS)
    explicit = draw(ORDERS)
    orders = complete_orders(where, explicit)
    return Query(
        scope=draw(SCOPES),
        where=where,
        orders=orders,
        explicit_orders=len(explicit),
        start=draw(st.none() | cursors(orders)),
        end=draw(st.none() | cursors(orders)),
        offset=draw(st.sampled_from((0, 0, 0, 1, 2))),
        limit=draw(st.none() | st.integers(0, 4)),
        select=None,
    )


@st.composite
def cursors(draw: st.DrawFn, orders: Sequence[Order]) -> Cursor:
    length = draw(st.integers(0, len(orders)))
    return Cursor(tuple(draw(operands(order.field)) for order in orders[:length]), draw(st.booleans()))
