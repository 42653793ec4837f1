import math

import pytest
from google.cloud.firestore_v1.types import document
from hypothesis import given

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.values import Timestamp, Value, Vector, order_key
from deploy.local.firestore.wire import Message, decode_value, encode_value, pack_fields, unpack_fields
from tests.support.naive_values import VALUES

ValuePb = document.Value.pb()


@given(VALUES)
def test_a_value_survives_the_wire(value: Value) -> None:
    (returned,) = unpack_fields(pack_fields({"v": value})).values()
    assert order_key(returned) == order_key(value)
    assert type(returned) is type(value)


def test_equal_fields_give_equal_bytes() -> None:
    one = pack_fields({"a": {"x": 1, "y": 2}, "b": 3})
    assert one == pack_fields({"b": 3, "a": {"y": 2, "x": 1}})


def test_the_zero_of_a_type_keeps_its_type() -> None:
    zeros: dict[str, Value] = {"a": 0, "b": 0.0, "c": False, "d": "", "e": b"", "f": [], "g": {}, "t": Timestamp(0)}
    returned = unpack_fields(pack_fields(zeros))
    assert {name: (type(value), value) for name, value in returned.items()} == {
        name: (type(value), value) for name, value in zeros.items()
    }


def test_timestamps_are_rounded_down_to_microseconds() -> None:
    assert decode_value(ValuePb(timestamp_value={"seconds": -1, "nanos": 999_999_999})) == Timestamp(-1)


def test_a_vector_is_a_marked_map_on_the_wire() -> None:
    message = ValuePb()
    encode_value(Vector((1.0, 2.0)), message)
    assert message.map_value.fields["__type__"].string_value == "__vector__"
    assert decode_value(message) == Vector((1.0, 2.0))


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (ValuePb(), "type"),
        (ValuePb(field_reference_value="a"), "cannot be stored"),
        (ValuePb(timestamp_value={"seconds": 253_402_300_800}), "out of range"),
        (ValuePb(timestamp_value={"nanos": -1}), "out of range"),
        (ValuePb(geo_point_value={"latitude": 91}), "not on Earth"),
        (ValuePb(geo_point_value={"latitude": math.nan}), "not on Earth"),
        (ValuePb(reference_value="a/b"), "names no document"),
        (ValuePb(reference_value="projects/p/databases/d/documents/a"), "names no document"),
        (ValuePb(reference_value="projects/p/databases/d/documents"), "names no document"),
        (ValuePb(reference_value="projects/p/databases/d/documents/a/.."), "invalid"),
        (ValuePb(reference_value=f"projects/p/databases/d/documents/a/__id{'9' * 5000}__"), "longer than"),
        (ValuePb(reference_value=f"projects/__id{'9' * 5000}__/databases/d/documents/a/b"), "names no document"),
        (ValuePb(map_value={"fields": {"__type__": {"string_value": "__min__"}}}), "reserved key"),
    ],
)
def test_what_cannot_be_stored_is_refused(message: Message, sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        decode_value(message)
