import pytest

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.ordering import complete_orders
from deploy.local.firestore.partition import partition_points
from deploy.local.firestore.query import Order, Query, Scope
from deploy.local.firestore.values import Fields
from tests.support.memory_view import MemoryView

GROUP: dict[str, Fields] = {f"a/{i // 10}/c/{i:03}": {} for i in range(100)}


def group(*explicit: Order, limit: int | None = None, scope: Scope = Scope("", "c", all_descendants=True)) -> Query:  # noqa: B008  immutable
    return Query(scope, None, complete_orders(None, explicit), len(explicit), None, None, 0, limit, None)


@pytest.mark.parametrize(
    ("count", "points"),
    [(1, ["a/5/c/050"]), (3, ["a/2/c/025", "a/5/c/050", "a/7/c/075"])],
)
def test_the_points_cut_a_group_into_equal_parts(count: int, points: list[str]) -> None:
    assert partition_points(group(), MemoryView(GROUP), count) == points


def test_there_are_no_more_points_than_documents_to_start_a_part_with() -> None:
    few: dict[str, Fields] = {"c/a": {}, "c/b": {}, "c/c": {}}
    assert partition_points(group(), MemoryView(few), 50) == ["c/b", "c/c"]
    assert partition_points(group(), MemoryView({}), 50) == []


@pytest.mark.parametrize(
    "query", [group(Order(("a",))), group(Order(("__name__",), True)), group(limit=1), group(scope=Scope("", "c"))]
)
def test_only_a_whole_collection_group_by_name_is_partitioned(query: Query) -> None:
    with pytest.raises(InvalidArgument, match="PartitionQuery requires"):
        partition_points(query, MemoryView(GROUP), 2)


def test_the_number_of_points_is_positive() -> None:
    with pytest.raises(InvalidArgument, match="greater than zero"):
        partition_points(group(), MemoryView(GROUP), 0)
