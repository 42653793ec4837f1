"""What a batch makes of several writes to one document, against what the database makes of them one by one."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from shared.firestore.client import Database
from shared.operations import (
    REMOVE,
    Batch,
    Change,
    Delete,
    Document,
    Fields,
    GeoPoint,
    Increment,
    Merge,
    Put,
    Value,
    Write,
    applied,
)
from tests.support.shop import write

MAX, MIN = 2**63 - 1, -(2**63)
ONE, OTHER = "things/one", "things/other"
NAMES = ("a", "b", "a.b", "`q`", "x y", "\\", "ü", "0")
SCALARS: tuple[Value, ...] = (None, True, False, 0, 1, -5, MAX, MIN, 1.5, math.inf, math.nan, "s", "", b"b")
NESTED: tuple[Value, ...] = ([], [1, "a"], {}, {"x": 1}, {"x.y": {"y": [1]}}, GeoPoint(1.0, 2.0))
STEPS = (0, 1, 3, 10, 2**40)


def some_fields(rng: random.Random) -> dict[str, Value]:
    return {rng.choice(NAMES): rng.choice(SCALARS + NESTED) for _ in range(rng.randrange(4))}


def some_write(rng: random.Random, sign: int) -> Write:
    """``sign`` is that of its increments: sums that cross an end of 64 bits and come back are known to differ."""
    match rng.choices(("put", "delete", "merge"), (20, 15, 65)):
        case ["put"]:
            return Put(ONE, some_fields(rng))
        case ["delete"]:
            return Delete(ONE)
    changes: dict[str, Change] = {
        rng.choice(NAMES): rng.choice((Increment(sign * rng.choice(STEPS)), REMOVE, rng.choice(SCALARS + NESTED)))
        for _ in range(rng.randrange(4))
    }
    return Merge(ONE, changes)


async def batched(database: Database, writes: Sequence[Write]) -> Document:
    """Commits them as one write a document; answers the document as the batch saw it at the end."""
    batch = Batch({ONE: await database.get(ONE)})
    batch.add(writes)
    await write(database, *batch.writes())
    return batch.view([ONE])[ONE]


def plain(value: Any) -> str:
    """Equal for equal values only: NaN is itself, 1 is neither True nor 1.0, and the order of a map's keys is none."""
    if isinstance(value, Mapping):
        return repr({name: plain(value[name]) for name in sorted(value)})
    return repr([plain(item) for item in value]) if isinstance(value, list | tuple) else repr(value)


@pytest.mark.parametrize("seed", range(4))
async def test_a_batch_sees_and_stores_what_its_writes_do_one_by_one(database: Database, seed: int) -> None:
    print("seed", seed)
    rng = random.Random(seed)
    for _ in range(60):
        before = rng.choice((Delete(ONE), Put(ONE, some_fields(rng))))
        sign = rng.choice((1, -1))
        writes = [some_write(rng, sign) for _ in range(rng.randrange(1, 5))]
        await write(database, before, replace(before, path=OTHER))
        seen = await batched(database, writes)
        for each in writes:
            await write(database, replace(each, path=OTHER))
        stored = await database.get_all([ONE, OTHER])
        assert plain(stored[ONE].fields) == plain(stored[OTHER].fields), (before, writes)
        assert plain(seen.fields) == plain(stored[OTHER].fields), (before, writes)


CASES: list[tuple[Fields | None, list[Write], Fields | None]] = [
    (None, [Put(ONE, {"a": 1, "b": 2}), Merge(ONE, {"a": REMOVE, "b": Increment(1)})], {"b": 3}),
    ({"a": 1}, [Put(ONE, {"b": 1}), Merge(ONE, {"c": 2})], {"b": 1, "c": 2}),
    ({"a": 1}, [Delete(ONE), Merge(ONE, {"b": Increment(2)})], {"b": 2}),
    ({"a": 1}, [Merge(ONE, {"a": 5}), Delete(ONE)], None),
    ({"a": 1, "b": 1}, [Merge(ONE, {"a": REMOVE}), Merge(ONE, {"a": Increment(4)})], {"a": 4, "b": 1}),
    ({"a.b": 1, "a": {"b": 2}}, [Merge(ONE, {"a.b": Increment(1)})], {"a.b": 2, "a": {"b": 2}}),
    ({"`": 1, "x y": 1, "\\`": 1}, [Merge(ONE, {"`": REMOVE, "x y": 2, "\\`": Increment(1)})], {"x y": 2, "\\`": 2}),
    ({"a": MAX}, [Merge(ONE, {"a": Increment(1)})], {"a": MAX}),
    ({"a": MIN + 1}, [Merge(ONE, {"a": Increment(-1)}), Merge(ONE, {"a": Increment(-1)})], {"a": MIN}),
    ({"a": 1}, [Merge(ONE, {"a": MAX}), Merge(ONE, {"a": Increment(1)})], {"a": MAX}),
    ({"a": 1}, [Merge(ONE, {"a": Increment(MAX)}), Merge(ONE, {"a": Increment(MAX)})], {"a": MAX}),
    ({"a": True}, [Merge(ONE, {"a": Increment(1)})], {"a": 1}),
    ({"a": 1.5}, [Merge(ONE, {"a": Increment(1)})], {"a": 2.5}),
    (None, [Merge(ONE, {})], {}),
]


@pytest.mark.parametrize(("before", "writes", "after"), CASES, ids=str)
async def test_a_batch_leaves_what_its_writes_say(
    database: Database, before: Fields | None, writes: list[Write], after: Fields | None
) -> None:
    if before is not None:
        await write(database, Put(ONE, before))
    assert plain((await batched(database, writes)).fields) == plain(after)
    assert plain((await database.get(ONE)).fields) == plain(after)


def test_a_batch_has_one_write_a_document_in_the_order_of_their_mention() -> None:
    batch = Batch({})
    batch.add([Put(ONE, {"a": 1}), Put(OTHER, {})])
    batch.add([Merge(ONE, {"a": Increment(1)})])
    assert (len(batch), batch.writes()) == (2, (Put(ONE, {"a": 2}), Put(OTHER, {})))


def test_an_operation_sees_only_what_it_asked_for() -> None:
    batch = Batch({ONE: Document(ONE, {}), OTHER: Document(OTHER, {})})
    with pytest.raises(LookupError, match="not among the operation's reads"):
        batch.view([ONE])[OTHER]


def test_a_write_changes_no_document_that_was_read() -> None:
    read = {"a": 1}
    assert applied(read, Merge(ONE, {"a": REMOVE, "b": 2})) == {"b": 2}
    assert read == {"a": 1}
