"""Our plain messages against the official client: what one writes, the other reads."""

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.cloud import firestore

from shared.firestore import codec
from shared.firestore.client import Database
from shared.operations import REMOVE, GeoPoint, Increment, Merge, Put, Reference, Value
from tests.support.shop import put, write

PATH = "things/t"
SAME: list[Value] = [
    None,
    True,
    False,
    0,
    -(2**63),
    2**63 - 1,
    0.0,
    -1.5,
    math.inf,
    "",
    "ünï \x00 🎟",
    b"",
    b"\xff\x00",
    [],
    {},
    [None, {"a": [1, {"b": "c"}]}],
    {"a.b": {"`": [True]}},
    datetime(2026, 6, 30, 23, 59, 59, 123456, UTC),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, UTC),
    datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
]


async def theirs(database: Database) -> Any:
    """The field ``v`` as the official client reads it."""
    return (await database.client.document(PATH).get()).get("v")


async def ours(database: Database) -> Value:
    return ((await database.get(PATH)).fields or {})["v"]


def same(one: object, other: object) -> bool:
    """Equal and, unlike True and 1 and 1.0, of one type."""
    return one == other and (type(one) is type(other) or isinstance(other, datetime))


@pytest.mark.parametrize("value", SAME, ids=repr)
async def test_a_value_is_the_same_to_the_official_client(database: Database, value: Value) -> None:
    await put(database, PATH, {"v": value})
    assert same(await theirs(database), value)
    assert same(await ours(database), value)
    await database.client.document(PATH).set({"v": value})
    assert same(await ours(database), value)


async def test_not_a_number_is_stored_as_such(database: Database) -> None:
    await put(database, PATH, {"v": math.nan})
    for read in (await ours(database), await theirs(database)):
        assert isinstance(read, float)
        assert math.isnan(read)


async def test_a_time_of_any_zone_is_the_same_moment_in_utc(database: Database) -> None:
    local = datetime(2026, 3, 1, 1, 30, 0, 1, timezone(timedelta(hours=5, minutes=45)))
    await put(database, PATH, {"v": local})
    read = await ours(database)
    assert isinstance(read, datetime)
    assert (read, read.tzinfo) == (local, UTC)


async def test_nanoseconds_that_somebody_else_wrote_are_cut_off(database: Database) -> None:
    fine = DatetimeWithNanoseconds(2026, 1, 1, nanosecond=123_456_789, tzinfo=UTC)
    await database.client.document(PATH).set({"v": fine})
    assert await ours(database) == datetime(2026, 1, 1, microsecond=123_456, tzinfo=UTC)


async def test_a_place_is_the_same_to_the_official_client(database: Database) -> None:
    await put(database, PATH, {"v": GeoPoint(-12.5, 179.25)})
    assert await theirs(database) == firestore.GeoPoint(-12.5, 179.25)
    assert await ours(database) == GeoPoint(-12.5, 179.25)


async def test_a_reference_is_the_same_to_the_official_client(database: Database) -> None:
    target = database.client.document("events/e1")
    await database.client.document(PATH).set({"v": target})
    read = await ours(database)
    assert isinstance(read, Reference)
    assert read.name.endswith("/documents/events/e1")
    await put(database, PATH, {"v": read})
    assert (await theirs(database)).path == target.path


@pytest.mark.parametrize(
    "value",
    [datetime(2026, 1, 1), object(), {1}, 1j, [datetime(2026, 1, 1)], {"a": object()}],  # noqa: DTZ001  naive: the point
    ids=repr,
)
def test_what_firestore_has_no_type_for_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        codec.encode(cast("Value", value))


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_an_integer_of_more_than_64_bits_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        codec.encode(value)


NAMES = ("plain", "a.b", "`", "\\", "\\`", "x y", "0", "ü", "-", "a\nb", "*")


@pytest.mark.parametrize("name", NAMES)
async def test_a_field_of_any_name_is_set_increased_and_removed_alone(database: Database, name: str) -> None:
    before: dict[str, Value] = dict.fromkeys(NAMES, 1) | {"a": {"b": 1}}
    await put(database, PATH, before)
    await write(database, Merge(PATH, {name: Increment(4)}))
    assert (await database.get(PATH)).fields == {**before, name: 5}
    await write(database, Merge(PATH, {name: "text"}))
    assert (await database.get(PATH)).fields == {**before, name: "text"}
    await write(database, Merge(PATH, {name: REMOVE}))
    assert (await database.get(PATH)).fields == {other: value for other, value in before.items() if other != name}


async def test_put_replaces_the_whole_document(database: Database) -> None:
    await put(database, PATH, {"a": 1, "b": 1})
    await write(database, Put(PATH, {"b": 2}))
    assert (await database.get(PATH)).fields == {"b": 2}
