import json
from pathlib import Path

import pytest

from deploy.local.firestore.errors import FailedPrecondition
from deploy.local.firestore.field_paths import parse_field_path
from deploy.local.firestore.index_file import IndexDefinitions, load_indexes
from deploy.local.firestore.indexes import check_indexes
from deploy.local.firestore.ordering import complete_orders
from deploy.local.firestore.query import AllOf, AnyOf, FieldFilter, Filter, Op, Order, Query, Scope
from deploy.local.firestore.values import Value

LISTS = {"in", "not-in", "array-contains-any"}


def by(field: str, op: str = "==") -> FieldFilter:
    value: Value = [1, 2] if op in LISTS else 1
    return FieldFilter(parse_field_path(field), Op(op), value)


def every(*filters: Filter) -> Filter:
    return AllOf(filters)


def ask(where: Filter | None = None, order: str = "", *, group: bool = False) -> Query:
    """``order`` lists fields, ``-a`` descending."""
    explicit = [Order(parse_field_path(field.strip("-")), field.startswith("-")) for field in order.split()]
    orders = complete_orders(where, explicit)
    return Query(Scope("", "c", group), where, orders, len(explicit), None, None, 0, None, None)


def indexed(text: str) -> dict[str, object]:
    """``a -b t[]``: a ascending, b descending, elements of t; a leading ``*`` makes it a collection group's."""
    scope = "COLLECTION_GROUP" if text.startswith("*") else "COLLECTION"
    return {"collectionGroup": "c", "queryScope": scope, "fields": [one(field) for field in text.strip("*").split()]}


def one(field: str) -> dict[str, str]:
    if field.endswith("[]"):
        return {"fieldPath": field[:-2], "arrayConfig": "CONTAINS"}
    return {"fieldPath": field.strip("-"), "order": "DESCENDING" if field.startswith("-") else "ASCENDING"}


def definitions(tmp_path: Path, *composite: str, overrides: tuple[dict[str, object], ...] = ()) -> IndexDefinitions:
    file = tmp_path / "firestore.indexes.json"
    file.write_text(json.dumps({"indexes": [indexed(text) for text in composite], "fieldOverrides": overrides}))
    return load_indexes(file)


def refusal(query: Query, known: IndexDefinitions) -> str:
    with pytest.raises(FailedPrecondition, match="The query requires an index") as refused:
        check_indexes(query, known)
    return str(refused.value)


@pytest.mark.parametrize(
    "query",
    [
        ask(),
        ask(order="__name__"),
        ask(group=True),
        ask(by("__name__", ">")),
        ask(by("__name__", "in"), "a b"),
        ask(by("a")),
        ask(by("m.x")),
        ask(every(by("a"), by("b"), by("c", "in"))),
        ask(by("a"), "-__name__"),
        ask(by("a"), "a"),
        ask(by("a", ">")),
        ask(every(by("a", ">"), by("a", "<")), "-a"),
        ask(by("a", "!=")),
        ask(None, "-a"),
        ask(by("t", "array-contains")),
        ask(by("t", "array-contains-any")),
        ask(every(by("t", "array-contains"), by("a"))),
        ask(every(by("t", "array-contains"), by("a", "in"), by("b"))),
        ask(every(by("t", "array-contains-any"), by("a"))),
        ask(AnyOf((by("a"), by("b")))),
    ],
)
def test_single_field_indexes_are_there_by_themselves(query: Query) -> None:
    check_indexes(query, IndexDefinitions())


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (ask(every(by("a"), by("b", ">"))), "a b"),
        (ask(by("a"), "b"), "a b"),
        (ask(by("a"), "-b"), "a -b"),
        (ask(by("a", "in"), "-b"), "a -b"),
        (ask(None, "a -b"), "a -b"),
        (ask(every(by("a", ">"), by("b", "<"))), "a b"),
        (ask(by("t", "array-contains"), "a"), "t[] a"),
        (ask(by("t", "array-contains-any"), "-a"), "t[] -a"),
        (ask(every(by("t", "array-contains"), by("a")), "b"), "t[] a b"),
        (ask(every(by("a"), by("b")), "m.x"), "a b m.x"),
        (ask(AnyOf((by("a"), by("b", ">")))), "a b"),
        (ask(every(by("a"), by("b", ">")), group=True), "*a b"),
        (ask(by("a"), "b -__name__"), "a b -__name__"),
    ],
)
def test_other_queries_need_the_composite_index_that_the_refusal_names(
    query: Query, index: str, tmp_path: Path
) -> None:
    sentence = refusal(query, IndexDefinitions())
    assert json.loads(sentence[sentence.index("{") :]) == indexed(index)
    check_indexes(query, definitions(tmp_path, index))


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (ask(by("a"), "-b"), "a b"),
        (ask(by("a"), "b"), "b a"),
        (ask(by("a"), "b"), "a b m"),
        (ask(by("a"), "b"), "*a b"),
        (ask(by("a"), "b"), "a b -__name__"),
        (ask(None, "a b"), "b a"),
        (ask(by("t", "array-contains"), "a"), "t a"),
    ],
)
def test_an_index_in_another_order_does_not_serve(query: Query, index: str, tmp_path: Path) -> None:
    refusal(query, definitions(tmp_path, index))


def test_indexes_with_the_same_ending_merge(tmp_path: Path) -> None:
    query = ask(every(by("a"), by("b")), "-n")
    check_indexes(query, definitions(tmp_path, "a -n", "b -n"))
    refusal(query, definitions(tmp_path, "a -n", "b n"))
    refusal(query, definitions(tmp_path, "a -n"))
    query = ask(every(by("a"), by("t", "array-contains")), "n")
    check_indexes(query, definitions(tmp_path, "a n", "t[] n"))
    refusal(query, definitions(tmp_path, "a n"))
    refusal(query, definitions(tmp_path, "a n", "t n"))


def test_the_equalities_of_an_index_may_come_in_any_order(tmp_path: Path) -> None:
    check_indexes(ask(every(by("a"), by("b")), "n"), definitions(tmp_path, "b -a n"))


def test_a_collection_group_needs_an_override_for_its_single_fields(tmp_path: Path) -> None:
    query = ask(by("a"), group=True)
    sentence = refusal(query, IndexDefinitions())
    override = json.loads(sentence[sentence.index("{") :])
    assert {"order": "ASCENDING", "queryScope": "COLLECTION_GROUP"} in override["indexes"]
    known = definitions(tmp_path, overrides=(override,))
    check_indexes(query, known)
    check_indexes(ask(by("a")), known)  # the advice keeps what was there
    refusal(ask(by("t", "array-contains"), group=True), known)


def test_a_field_that_is_exempt_from_indexing_cannot_be_queried(tmp_path: Path) -> None:
    known = definitions(tmp_path, overrides=({"collectionGroup": "c", "fieldPath": "m", "indexes": []},))
    refusal(ask(by("m")), known)
    refusal(ask(by("m.x"), ""), known)
    check_indexes(ask(by("mm")), known)


@pytest.mark.parametrize("query", [ask(None, "-__name__"), ask(None, "a -__name__"), ask(None, "__name__ a")])
def test_an_order_that_no_index_can_have_is_refused_with_a_way_out(query: Query) -> None:
    assert "order by __name__" in refusal(query, IndexDefinitions())


def test_a_sum_needs_its_field_in_the_index(tmp_path: Path) -> None:
    check_indexes(ask(), IndexDefinitions(), [("n",)])
    check_indexes(ask(by("n")), IndexDefinitions(), [("n",)])
    with pytest.raises(FailedPrecondition, match="a ASCENDING, n ASCENDING"):
        check_indexes(ask(by("a")), IndexDefinitions(), [("n",)])
    check_indexes(ask(by("a")), definitions(tmp_path, "a -n"), [("n",)])


def test_a_broken_index_file_is_refused_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "broken.json"
    file.write_text('{"indexes": [{"collectionGroup": "c", "fields": []}]}')
    with pytest.raises(ValueError, match=r"broken\.json is not a valid index file"):
        load_indexes(file)


@pytest.mark.parametrize("path", ["a-b", "a..b", "", 7])
def test_a_field_path_that_is_none_is_refused_with_the_name_of_the_file(tmp_path: Path, path: object) -> None:
    composite = {"collectionGroup": "c", "fields": [{"fieldPath": "a"}, {"fieldPath": path}]}
    override = {"collectionGroup": "c", "fieldPath": path, "indexes": []}
    for broken in ({"indexes": [composite]}, {"indexes": [], "fieldOverrides": [override]}):
        file = tmp_path / "broken.json"
        file.write_text(json.dumps(broken))
        with pytest.raises(ValueError, match=r"broken\.json is not a valid index file(?s:.*)fieldPath"):
            load_indexes(file)


def test_the_index_file_that_is_deployed_is_valid() -> None:
    load_indexes(Path(__file__).parents[3] / "deploy/firestore/firestore.indexes.json")
