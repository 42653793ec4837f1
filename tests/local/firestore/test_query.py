import math

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.ordering import complete_orders
from deploy.local.firestore.query import AnyOf, Cursor, FieldFilter, Filter, Op, Order, Query, Scope
from deploy.local.firestore.query_rules import check_query
from deploy.local.firestore.run import run_query
from deploy.local.firestore.values import Fields, Reference, Value
from tests.support.memory_view import MemoryView
from tests.support.naive_query import DATABASE, DOCUMENTS, queries, run_naively

MANY: dict[str, Fields] = {
    f"c/{i:04}": {"a": i % 100, "b": i, "even": i % 2 == 0, "t": [f"t{i % 50}"]} for i in range(1000)
}

ROOT_C = Scope("", "c")


def query(
    where: Filter | None = None,
    *explicit: Order,
    start: Cursor | None = None,
    limit: int | None = None,
    scope: Scope = ROOT_C,
) -> Query:
    orders = complete_orders(where, explicit)
    return Query(scope, where, orders, len(explicit), start, None, 0, limit, None)


def reference(path: str) -> Reference:
    return Reference(f"{DATABASE}/documents/{path}")


def run(asked: Query, documents: dict[str, Fields]) -> tuple[list[str], int]:
    """The results, and how many documents were touched for them."""
    view = MemoryView(documents)
    return [document.path for document in run_query(asked, view)], view.touched


@given(queries(), DOCUMENTS)
@settings(max_examples=600, deadline=None)
def test_queries_find_what_a_naive_reading_finds(asked: Query, documents: dict[str, Fields]) -> None:
    try:
        check_query(asked, DATABASE)
    except InvalidArgument:
        assume(False)
    assert run(asked, documents)[0] == run_naively(asked, documents)


BY_NAME = Order(("__name__",))
EQUAL_7 = FieldFilter(("a",), Op.EQUAL, 7)


@pytest.mark.parametrize(
    ("asked", "found", "touched"),
    [
        pytest.param(query(limit=3), 3, 3, id="the first documents"),
        pytest.param(query(EQUAL_7), 10, 10, id="an equality"),
        pytest.param(query(EQUAL_7, limit=2), 2, 2, id="an equality with a limit"),
        pytest.param(query(EQUAL_7, Order(("a",)), limit=2), 2, 2, id="an equality in its own order"),
        pytest.param(query(None, Order(("b",), True), limit=50), 50, 50, id="an order with a limit"),
        pytest.param(query(FieldFilter(("b",), Op.GREATER_THAN, 989)), 10, 10, id="a range"),
        pytest.param(query(FieldFilter(("t",), Op.ARRAY_CONTAINS, "t3")), 20, 20, id="an element"),
        pytest.param(query(FieldFilter(("a",), Op.IN, [1, 2, 3])), 30, 30, id="a list of values"),
        pytest.param(
            query(None, BY_NAME, start=Cursor((reference("c/0500"),), before=False), limit=2), 2, 3, id="a page by name"
        ),
        pytest.param(
            query(None, Order(("b",)), start=Cursor((500,), before=True), limit=2), 2, 2, id="a page by a field"
        ),
        pytest.param(
            query(EQUAL_7, BY_NAME, start=Cursor((reference("c/0507"),), before=False), limit=2),
            2,
            3,
            id="a page of an equality by name",
        ),
        pytest.param(
            query(FieldFilter(("__name__",), Op.EQUAL, reference("c/0007"))), 1, 1, id="one document by its name"
        ),
        pytest.param(
            query(FieldFilter(("__name__",), Op.GREATER_THAN_OR_EQUAL, reference("c/0990"))), 10, 10, id="names"
        ),
    ],
)
def test_a_query_touches_only_what_it_returns(asked: Query, found: int, touched: int) -> None:
    paths, cost = run(asked, MANY)
    assert (len(paths), cost) == (found, touched)
    assert paths == run_naively(asked, MANY)


def test_a_cursor_may_lie_outside_of_an_equality() -> None:
    before_all = query(EQUAL_7, Order(("a",)), start=Cursor((6, reference("c/0500")), before=False))
    after_all = query(EQUAL_7, Order(("a",)), start=Cursor((8, reference("c/0500")), before=False))
    assert (len(run(before_all, MANY)[0]), len(run(after_all, MANY)[0])) == (10, 0)


@pytest.mark.parametrize("element", [None, math.nan])
def test_null_and_nan_are_found_by_asking_for_them_only(element: Value) -> None:
    documents: dict[str, Fields] = {"c/a": {"v": element, "t": [element, 1]}}
    found = {
        op for op in (Op.IN, Op.ARRAY_CONTAINS_ANY) if run(query(FieldFilter(("v",), op, [element])), documents)[0]
    }
    assert not found
    assert run(query(FieldFilter(("t",), Op.ARRAY_CONTAINS, element)), documents)[0] == []
    assert run(query(FieldFilter(("t",), Op.ARRAY_CONTAINS_ANY, [element, 1])), documents)[0] == ["c/a"]
    assert run(query(FieldFilter(("v",), Op.EQUAL, element)), documents)[0] == ["c/a"]


def test_the_best_of_several_walks_bounds_the_cost() -> None:
    rare = FieldFilter(("even",), Op.EQUAL, True)
    paths, cost = run(query(rare, Order(("b",)), limit=10), MANY)
    assert len(paths) == 10
    assert cost <= 2 * 20  # 20 documents along the order, as many along the equality, which has 500


def test_results_stream() -> None:
    view = MemoryView(MANY)
    results = run_query(query(), view)
    next(results)
    assert view.touched == 1


def test_inequalities_order_by_their_fields_then_by_name() -> None:
    where = AnyOf((FieldFilter(("z",), Op.GREATER_THAN, 1), FieldFilter(("a", "b"), Op.NOT_EQUAL, 1)))
    fields = [order.field for order in complete_orders(where, [])]
    assert fields == [("a", "b"), ("z",), ("__name__",)]


def test_implied_orders_take_the_last_explicit_direction() -> None:
    where = FieldFilter(("a",), Op.GREATER_THAN, 1)
    assert complete_orders(where, [Order(("b",)), Order(("c",), True)])[2:] == (
        Order(("a",), True),
        Order(("__name__",), True),
    )


def listed(op: Op, count: int) -> FieldFilter:
    values: list[Value] = list(range(count))
    return FieldFilter(("a",), op, values)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (query(listed(Op.IN, 31)), "'IN' supports up to 30"),
        (query(listed(Op.ARRAY_CONTAINS_ANY, 31)), "'ARRAY_CONTAINS_ANY' supports up to 30"),
        (query(listed(Op.NOT_IN, 11)), "'NOT_IN' supports up to 10"),
        (query(listed(Op.IN, 0)), "non-empty"),
        (query(FieldFilter(("a",), Op.IN, 1)), "non-empty"),
        (query(AnyOf((listed(Op.IN, 16), listed(Op.IN, 15)))), "31 disjunctions"),
        (query(AnyOf((listed(Op.NOT_IN, 2), EQUAL_7))), "'NOT_IN' cannot be used"),
        (query(FieldFilter(("__name__",), Op.EQUAL, "x")), "must be a Key"),
        (query(FieldFilter(("__name__",), Op.EQUAL, Reference("projects/q/databases/d/documents/c/a"))), "database"),
        (query(FieldFilter(("__name__",), Op.ARRAY_CONTAINS, reference("c/a"))), "not an array"),
        (query(None, Order(("a",)), Order(("a",), True)), "duplicate fields a"),
        (query(None, start=Cursor((1, 2), before=True)), "too many values"),
        (query(None, start=Cursor((1,), before=True)), "must be a Key"),
        (query(None, limit=-1), "negative"),
        (query(EQUAL_7, scope=Scope("", None)), "kind is required for filter: a"),
        (query(None, Order(("a",)), scope=Scope("", None)), "kind is required for all orders"),
    ],
)
def test_what_production_refuses_is_refused(asked: Query, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        check_query(asked, DATABASE)


@given(st.sampled_from([Op.IN, Op.ARRAY_CONTAINS_ANY]))
def test_thirty_alternatives_are_taken(op: Op) -> None:
    check_query(query(listed(op, 30)), DATABASE)
