import pytest

from deploy.local.firestore.entries import MAX_ENTRIES, bounded_index_entries
from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.limits import MAX_DOCUMENT, name_size, validate_document, validate_path
from deploy.local.firestore.values import Fields, Value, Vector

NAME = "projects/p/databases/(default)/documents/users/jeff/tasks/my_task_id"


def nested(depth: int) -> Fields:
    fields: Fields = {"leaf": 1}
    for _ in range(depth):
        fields = {"m": fields}
    return fields


def test_sizes_are_those_of_the_documentation() -> None:
    assert name_size("users/jeff/tasks/my_task_id") == 44


def test_a_document_may_have_exactly_one_mebibyte() -> None:
    room = MAX_DOCUMENT - 44 - 32 - len("a") - 1 - len("b") - 1 - 2
    validate_document(NAME, {"a": "x" * 1000, "b": "x" * (room - 1000)})
    with pytest.raises(InvalidArgument, match="1,048,577 bytes"):
        validate_document(NAME, {"a": "x" * 1000, "b": "x" * (room - 999)})


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"": 1}, "empty string"),
        ({"__a__": 1}, "reserved"),
        ({"m": {"__a__": 1}}, "reserved"),
        ({"a" * 1501: 1}, "longer than 1,500 bytes"),
        ({"a": "x" * 1_048_488}, "longer than 1048487 bytes"),
        ({"a": [[1]]}, "array value in an array"),
        ({"a": Vector((1.0,) * 2049)}, "2,048"),
        (nested(21), "20"),
    ],
)
def test_fields_that_production_refuses_are_refused(fields: Fields, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        validate_document(NAME, fields)


@pytest.mark.parametrize("fields", [nested(20), {"a": [{"b": [1]}]}, {"_": 1}, {"__a": 1}, {"__": 1}, {"a" * 1500: 1}])
def test_fields_at_the_limit_are_taken(fields: dict[str, Value]) -> None:
    validate_document(NAME, fields)


@pytest.mark.parametrize("path", ["a", "a/b", "a/__id7__", "a/__id-7__", "a/...", "a/__", "é/ü", "a/" + "x" * 1500])
def test_an_ordinary_path_is_taken(path: str) -> None:
    validate_path(path)


@pytest.mark.parametrize("path", ["", "a//b", "a/", "a/.", "a/..", "a/__x__", "a/" + "x" * 1501, "a/b/" * 100 + "a/b"])
def test_a_path_that_no_document_can_have_is_refused(path: str) -> None:
    with pytest.raises(InvalidArgument):
        validate_path(path)


def test_a_document_has_at_most_forty_thousand_index_entries() -> None:
    with pytest.raises(InvalidArgument, match="too many index entries"):
        bounded_index_entries("c/d", {"a": list(range(MAX_ENTRIES))})


LONG = "x" * 1400


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/".join([LONG] * 4), {"a" * 1400: 1}),
        ("/".join([LONG] * 4), {"a": [1, "x" * 1500]}),
        ("c/d", {"a" * 1400: {"b" * 1400: {"c" * 1400: {"d" * 1400: {"e" * 1400: {"f" * 1400: 1}}}}}}),
    ],
)
def test_an_index_entry_has_at_most_seven_and_a_half_kibibytes(path: str, fields: Fields) -> None:
    with pytest.raises(InvalidArgument, match="index entry too large"):
        bounded_index_entries(path, fields)


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/".join([LONG] * 2), {"a" * 1400: "x" * 100_000}), ("/".join([LONG] * 4), {}), ("c/d", {"a" * 1400: LONG})],
)
def test_long_names_and_values_that_fit_together_are_indexed(path: str, fields: Fields) -> None:
    bounded_index_entries(path, fields)
