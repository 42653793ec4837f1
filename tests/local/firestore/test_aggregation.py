import math

import pytest
from google.cloud.firestore_v1.types import query as query_types

from deploy.local.firestore.aggregation import (
    Aggregation,
    AggregationQuery,
    Average,
    Count,
    Sum,
    decode_aggregation_query,
    run_aggregation,
)
from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.ordering import complete_orders
from deploy.local.firestore.query import Query, Scope
from deploy.local.firestore.values import Fields, Value
from deploy.local.firestore.wire import Message
from tests.support.memory_view import MemoryView
from tests.support.naive_query import DATABASE

AggregationPb = query_types.StructuredAggregationQuery.pb()
MAX = 2**63 - 1


def aggregate(documents: list[Fields], **aggregations: Aggregation) -> Fields:
    query = Query(Scope("", "c"), None, complete_orders(None, []), 0, None, None, 0, None, None)
    view = MemoryView({f"c/{i:03}": fields for i, fields in enumerate(documents)})
    return run_aggregation(AggregationQuery(query, aggregations), view)


def total(*values: Value) -> Value:
    return aggregate([{"n": value} for value in values], it=Sum(("n",)))["it"]


def average(*values: Value) -> Value:
    return aggregate([{"n": value} for value in values], it=Average(("n",)))["it"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), 0),
        ((1, 2), 3),
        ((1, 2.0), 3.0),
        ((1, "2", None, True, [3]), 1),
        ((MAX, 1), float(2**63)),
        ((MAX, 1, -1), MAX),
        ((-MAX, -2), float(-(2**63))),
        ((math.inf, 1), math.inf),
    ],
)
def test_sums_are_integers_while_they_can_be(values: tuple[Value, ...], expected: float) -> None:
    found = total(*values)
    assert (type(found), found) == (type(expected), expected)


def test_nan_makes_a_sum_and_an_average_nan() -> None:
    found = [total(1, math.nan), average(1, math.nan), total(math.inf, -math.inf)]
    assert all(isinstance(value, float) and math.isnan(value) for value in found)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((), None), (("x", None), None), ((1, 2), 1.5), ((2, 2), 2.0), ((1, 2.0, "x"), 1.5), ((MAX, MAX), float(MAX))],
)
def test_an_average_is_a_double_or_nothing(values: tuple[Value, ...], expected: float | None) -> None:
    found = average(*values)
    assert (type(found), found) == (type(expected), expected)


def test_counting_up_to_a_bound_reads_no_further() -> None:
    query = Query(Scope("", "c"), None, complete_orders(None, []), 0, None, None, 0, None, None)
    view = MemoryView({f"c/{i:03}": {} for i in range(100)})
    both: dict[str, Aggregation] = {"few": Count(3), "some": Count(5)}
    assert run_aggregation(AggregationQuery(query, both), view) == {"few": 3, "some": 5}
    assert view.touched == 5


def test_only_documents_with_all_aggregated_fields_take_part() -> None:
    documents: list[Fields] = [{"a": 1, "b": 2}, {"a": 10}, {"b": 20}, {"a": 100, "b": None}]
    assert aggregate(documents, count=Count(), a=Sum(("a",)), b=Sum(("b",))) == {"count": 2, "a": 101, "b": 2}
    assert aggregate(documents, count=Count()) == {"count": 4}


def request(*aggregations: Message) -> Message:
    return AggregationPb(structured_query={"from_": [{"collection_id": "c"}]}, aggregations=aggregations)


def test_aggregations_without_an_alias_are_numbered() -> None:
    decoded = decode_aggregation_query(
        request(
            {"count": {}, "alias": "all"}, {"count": {"up_to": {"value": 2}}}, {"sum": {"field": {"field_path": "a"}}}
        ),
        DATABASE,
        "",
    )
    assert decoded.aggregations == {"all": Count(), "field_1": Count(2), "field_2": Sum(("a",))}


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (AggregationPb(), "structured_query"),
        (request(), "1 to 5"),
        (request(*[{"count": {}}] * 6), "1 to 5"),
        (request({}), "no operator"),
        (request({"count": {"up_to": {"value": 0}}}), "greater than zero"),
        (request({"count": {}, "alias": "x"}, {"count": {}, "alias": "x"}), "unique"),
    ],
)
def test_what_no_aggregation_can_mean_is_refused(message: Message, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        decode_aggregation_query(message, DATABASE, "")
