"""What a write makes of a document, as plain tables."""

import math
from typing import Any

import pytest

from deploy.local.firestore import writes
from deploy.local.firestore.documents import Document
from deploy.local.firestore.errors import AlreadyExists, FailedPrecondition, FirestoreError, InvalidArgument, NotFound
from deploy.local.firestore.field_paths import MISSING
from deploy.local.firestore.values import Fields, Timestamp
from deploy.local.firestore.wire import pack_fields
from deploy.local.firestore.writes import Precondition, Rule, Transform, Write, decide

DATABASE = "projects/p/databases/(default)"
NOW = 1_700_000_000_000_000
LARGEST = 2**63 - 1
SMALLEST = -(2**63)


def stored(fields: Fields, updated: int = NOW - 10) -> Document:
    return Document(DATABASE, "c/d", pack_fields(fields), NOW - 20, updated)


def written(fields: Fields | None, current: Document | None = None, **how: Any) -> Fields | None:
    return decide(Write(DATABASE, "c/d", fields, **how), current, NOW).fields


def test_a_set_replaces_everything() -> None:
    assert written({"b": 2}, stored({"a": 1})) == {"b": 2}


def test_a_mask_changes_only_what_it_names() -> None:
    current = stored({"a": 1, "m": {"x": 1, "y": 2}})
    assert written({"m": {"x": 9}}, current, mask=(("m", "x"),)) == {"a": 1, "m": {"x": 9, "y": 2}}
    assert current.fields == {"a": 1, "m": {"x": 1, "y": 2}}


def test_a_masked_field_without_a_value_is_deleted() -> None:
    assert written({}, stored({"a": 1, "m": {"x": 1, "y": 2}}), mask=(("a",), ("m", "x"))) == {"m": {"y": 2}}


def test_deleting_below_something_that_is_no_map_changes_nothing() -> None:
    assert written({}, stored({"a": 1}), mask=(("a", "x"), ("b", "x"))) == {"a": 1}


def test_a_nested_field_replaces_what_is_no_map() -> None:
    assert written({"a": {"x": 1}}, stored({"a": 1}), mask=(("a", "x"),)) == {"a": {"x": 1}}


@pytest.mark.parametrize("mask", [(("a",), ("a", "b")), (("a", "b"), ("a",)), (("a",),)])
@pytest.mark.parametrize("fields", [{}, {"a": 1}, {"a": {"b": 2}}, {"a": {"c": 2}}])
def test_a_mask_that_names_a_field_and_one_inside_it_means_the_outer_one(mask: Any, fields: Fields) -> None:
    assert written(fields, stored({"a": {"b": 1, "d": 1}}), mask=mask) == fields


def test_an_empty_mask_creates_an_empty_document() -> None:
    assert written({"a": 1}, None, mask=()) == {}


@pytest.mark.parametrize(
    ("wanted", "current", "refusal"),
    [
        (Precondition(exists=True), None, NotFound),
        (Precondition(exists=False), stored({}), AlreadyExists),
        (Precondition(update_time=NOW - 11), stored({}), FailedPrecondition),
        (Precondition(update_time=NOW - 11), None, NotFound),
        (Precondition(update_time=NOW + 1), stored({}), InvalidArgument),
    ],
)
def test_a_precondition_that_does_not_hold_is_refused(
    wanted: Precondition, current: Document | None, refusal: type[FirestoreError]
) -> None:
    with pytest.raises(refusal):
        written({}, current, precondition=wanted)
    with pytest.raises(refusal):
        written(None, current, precondition=wanted)


@pytest.mark.parametrize("wanted", [Precondition(exists=True), Precondition(update_time=NOW - 10), Precondition()])
def test_a_precondition_that_holds_lets_the_write_pass(wanted: Precondition) -> None:
    assert written({"b": 1}, stored({"a": 1}), precondition=wanted) == {"b": 1}


@pytest.mark.parametrize(
    ("rule", "current", "expected"),
    [
        (writes.increment(2), 3, 5),
        (writes.increment(2), 0.5, 2.5),
        (writes.increment(0.5), 3, 3.5),
        (writes.increment(2), MISSING, 2),
        (writes.increment(2), "text", 2),
        (writes.increment(2), True, 2),
        (writes.increment(1), LARGEST, LARGEST),
        (writes.increment(-1), SMALLEST, SMALLEST),
        (writes.maximum(2), 3, 3),
        (writes.maximum(4), 3, 4),
        (writes.maximum(3.0), 3, 3),
        (writes.maximum(3.5), 3, 3.5),
        (writes.maximum(1), None, 1),
        (writes.minimum(2), 3, 2),
        (writes.minimum(3), 3.0, 3.0),
        (writes.minimum(4), MISSING, 4),
        (writes.append_missing([1, 2, 2]), [1.0], [1.0, 2]),
        (writes.append_missing([None, math.nan]), [None, math.nan], [None, math.nan]),
        (writes.append_missing([1]), "text", [1]),
        (writes.remove_all([1, None]), [1.0, 2, None, 1], [2]),
        (writes.remove_all([1]), MISSING, []),
        (writes.request_time, 1, Timestamp(NOW)),
    ],
)
def test_transforms_follow_the_protocol(rule: Rule, current: Any, expected: object) -> None:
    result = rule(current, NOW)
    assert repr(result) == repr(expected)


def test_zeros_and_equal_numbers_keep_the_stored_one() -> None:
    assert math.copysign(1, float(str(writes.maximum(0)(-0.0, NOW)))) == -1
    assert repr(writes.minimum(0.0)(0, NOW)) == "0"


@pytest.mark.parametrize("rule", [writes.maximum(math.nan), writes.minimum(math.nan)])
def test_nan_wins_every_comparison(rule: Rule) -> None:
    assert repr(rule(1, NOW)) == "nan"


def test_transforms_see_what_the_transforms_before_them_did() -> None:
    twice = (Transform(("n",), writes.increment(1)), Transform(("n",), writes.increment(1)))
    change = decide(Write(DATABASE, "c/d", {"n": 1}, transforms=twice), None, NOW)
    assert change.fields == {"n": 3}
    assert change.results == (2, 3)
