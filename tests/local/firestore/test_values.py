import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.local.firestore.entries import IndexEntry, index_entries
from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import (
    MISSING,
    get_field,
    parse_field_path,
    render_field_path,
)
from deploy.local.firestore.values import (
    GeoPoint,
    Reference,
    Timestamp,
    Value,
    Vector,
    index_key,
    order_key,
    path_key,
    type_bounds,
)
from tests.support.naive_values import NUMBERS, TEXTS, VALUES, compare, rank, segments, sign

IN_ORDER: list[Value] = [
    None,
    False,
    True,
    math.nan,
    -math.inf,
    -(2**63),
    -1.5,
    -1,
    0,
    5e-324,
    0.5,
    1,
    2**53,
    2**53 + 1,
    float(2**53 + 2),
    2**63 - 1,
    float(2**63),
    math.inf,
    Timestamp(-1),
    Timestamp(0),
    "",
    "a",
    "a\0",
    "a\0b",
    "ab",
    "é",
    "\uffff",
    "\U0001f600",
    b"",
    b"\0",
    b"\0\xff",
    b"\x01",
    b"\xff",
    Reference("projects/p/databases/d/documents/a/__id2__"),
    Reference("projects/p/databases/d/documents/a/__id10__"),
    Reference("projects/p/databases/d/documents/a/b"),
    Reference("projects/p/databases/d/documents/a/b/c/d"),
    Reference("projects/p/databases/d/documents/a/c"),
    GeoPoint(-90.0, 180.0),
    GeoPoint(0.0, -1.0),
    GeoPoint(0.0, 1.0),
    [],
    [1],
    [1, None],
    [1, "a"],
    [2],
    Vector((9.0,)),
    Vector((1.0, 2.0)),
    Vector((1.0, 3.0)),
    {},
    {"a": "aaa", "b": "baz"},
    {"a": "foo", "b": "bar"},
    {"a": "foo", "b": "bar", "c": "qux"},
    {"a": "foo", "b": "baz"},
    {"b": "aaa", "c": "baz"},
    {"c": "aaa"},
]


def test_values_of_all_types_have_one_order() -> None:
    keys = [order_key(value) for value in IN_ORDER]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (0, -0.0),
        (2**53, float(2**53)),
        (-(2**63), float(-(2**63))),
        (GeoPoint(0.0, 0.0), GeoPoint(-0.0, 0.0)),
        ([1], [1.0]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ],
)
def test_equal_values_have_equal_keys(one: Value, other: Value) -> None:
    assert order_key(one) == order_key(other)


@given(VALUES, VALUES)
@example([1, 2], [1])
def test_keys_compare_as_the_values_do(one: Value, other: Value) -> None:
    assert sign(order_key(one), order_key(other)) == compare(one, other)


@given(NUMBERS, NUMBERS)
def test_integers_and_doubles_compare_exactly(one: float, other: float) -> None:
    assert sign(order_key(one), order_key(other)) == compare(one, other)


@given(VALUES, VALUES)
def test_no_key_is_a_prefix_of_another(one: Value, other: Value) -> None:
    first, second = order_key(one), order_key(other)
    assert first == second or not second.startswith(first)


@given(VALUES, VALUES)
def test_type_bounds_hold_the_values_of_one_type(one: Value, other: Value) -> None:
    lower, upper = type_bounds(order_key(one))
    assert (lower <= order_key(other) < upper) == (rank(one) == rank(other))


@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=3), st.lists(TEXTS.filter(bool), min_size=1, max_size=3))
def test_names_sort_by_segments(one: list[str], other: list[str]) -> None:
    first, second = "/".join(one), "/".join(other)
    assert sign(path_key(first), path_key(second)) == sign(segments(first), segments(second))


def test_only_the_plain_spelling_of_a_number_is_a_numeric_id() -> None:
    ids = ["__id7__", "__id07__", "__id-0__", "__id0__", "__id9223372036854775808__", f"__id{'9' * 5000}__"]
    keys = [path_key(each) for each in ids]
    assert len(set(keys)) == len(ids)
    assert [each for each in ids if path_key(each) < path_key("") + b"\x03"] == ["__id7__", "__id0__"]


def test_a_name_is_below_its_descendants_and_above_its_neighbours() -> None:
    assert path_key("a/b") < path_key("a/b/c/d") < path_key("a/b\x01") < path_key("a/c")
    assert path_key("a/b/c/d").startswith(path_key("a/b"))
    assert not path_key("a/bb").startswith(path_key("a/b"))


def test_queries_see_the_first_1500_bytes_of_a_value() -> None:
    long = "x" * 1500
    assert index_key(long + "a") == index_key(long + "b")
    assert order_key(long + "a") != order_key(long + "b")
    assert index_key(long[:-1] + "a") < index_key(long[:-1] + "b")


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_rendered_field_path_parses_back(path: list[str]) -> None:
    assert parse_field_path(render_field_path(tuple(path))) == tuple(path)


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a..b", "1a", "a b", "`a", "a`b`", "``", "a-b", "`a`b"])
def test_a_malformed_field_path_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid property path"):
        parse_field_path(text)


def test_a_quoted_field_path_may_hold_anything() -> None:
    assert parse_field_path(r"a.`b.c`.`d\`e\\f`") == ("a", "b.c", "d`e\\f")


def test_a_missing_field_is_not_null() -> None:
    fields: dict[str, Value] = {"a": {"b": None}}
    assert get_field(fields, ("a", "b")) is None
    assert get_field(fields, ("a", "c")) is MISSING
    assert get_field(fields, ("a", "b", "c")) is MISSING


def test_every_field_is_indexed_and_every_element_once() -> None:
    entries = list(index_entries({"a": 1, "m": {"x y": None}, "t": ["p", "q", "p"]}))
    assert IndexEntry("a", "value", index_key(1)) in entries
    assert IndexEntry("m.`x y`", "value", index_key(None)) in entries
    assert IndexEntry("m", "value", index_key({"x y": None})) in entries
    assert sorted(entry.key for entry in entries if entry.kind == "contains") == [index_key("p"), index_key("q")]
