"""Commits that share an fsync: when they happened, and how they fail."""

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from deploy.local.firestore.clock import Clock
from deploy.local.firestore.commits import Committed
from deploy.local.firestore.engine import Engine
from deploy.local.firestore.errors import NotFound
from deploy.local.firestore.query import Scope
from deploy.local.firestore.storage import Storage
from deploy.local.firestore.writes import Precondition, Transform, Write
from tests.support.firestore_engine import DATABASE, EVERYTHING, indexed, put, scanned

BREAKDOWN = (
    "CREATE TEMP TRIGGER breakdown BEFORE INSERT ON documents WHEN NEW.id = 'poison' "
    "BEGIN SELECT RAISE({fault}, 'on purpose'); END"
)
FAILING_COMMIT = """
PRAGMA foreign_keys = ON;
CREATE TEMP TABLE parents (id INTEGER PRIMARY KEY);
CREATE TEMP TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED);
CREATE TEMP TRIGGER breakdown AFTER INSERT ON documents WHEN NEW.id = 'poison'
BEGIN INSERT INTO children VALUES (1); END;
"""
"""A document by the name of poison fails the commit itself, after all that was written."""


def test_commits_wait_for_the_disk_unless_everything_is_to_be_forgotten(tmp_path: Path) -> None:
    full, off = 2, 0
    for directory, expected in ((tmp_path, full), (None, off)):
        storage = Storage(directory)
        assert storage.writer.execute("PRAGMA synchronous").fetchone() == (expected,)
        assert storage.writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        storage.close()


def test_commit_times_rise_strictly_also_where_the_clock_stands_still_or_was_set_back() -> None:
    long_from_now = time.time_ns() // 1000 + 10**12
    clock = Clock(last_commit=long_from_now)
    assert [clock.tick() for _ in range(3)] == [long_from_now + 1, long_from_now + 2, long_from_now + 3]
    assert clock.read_time() == long_from_now + 3
    assert clock.tick() > long_from_now + 3


async def test_a_commit_that_is_on_disk_but_not_yet_acknowledged_is_not_seen_before_its_time(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    committing = asyncio.create_task(engine.commit(DATABASE, [put("c/a")]))
    while not engine.clock.in_flight:
        await asyncio.sleep(0)
    wait_for_the_disk(engine)
    moment = engine.moment()
    assert await scanned(engine, Scope("", "c")) == []  # the loop has not yet heard of the commit
    assert moment.read_time < (await committing).time
    assert await scanned(engine, Scope("", "c")) == ["c/a"]
    await engine.stop()


def wait_for_the_disk(engine: Engine) -> None:
    """Until another connection sees a document; nothing else happens on the loop meanwhile."""
    reader = engine._storage.connect_reader()
    while not reader.execute("SELECT 1 FROM documents").fetchone():
        time.sleep(0.001)
    reader.close()


async def test_commits_that_wait_together_reach_the_disk_together_and_fail_alone(tmp_path: Path) -> None:
    engine, statements = Engine(tmp_path), list[str]()
    engine._storage.writer.set_trace_callback(statements.append)
    commits = [[put(f"c/{number}")] for number in range(50)]
    commits.insert(20, [put("c/half"), Write(DATABASE, "c/none", {}, precondition=Precondition(exists=True))])
    outcomes = await asyncio.gather(*(engine.commit(DATABASE, each) for each in commits), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [NotFound]
    assert statements.count("COMMIT") <= 2
    assert len(await scanned(engine, Scope("", "c"))) == 50
    await engine.stop()


@pytest.mark.parametrize("fault", ["ABORT", "FAIL"])
async def test_a_commit_that_breaks_down_halfway_leaves_nothing_and_its_neighbours_alone(
    tmp_path: Path, fault: str
) -> None:
    engine = Engine(tmp_path)
    engine._storage.writer.execute(BREAKDOWN.format(fault=fault))
    broken = [put("new/first", {"n": 1}), put("new/poison")]
    outcomes = await asyncio.gather(
        *(engine.commit(DATABASE, each) for each in ([put("c/a")], broken, [put("new/b", {"n": 2})])),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [Committed, sqlite3.IntegrityError, Committed]
    assert await scanned(engine, Scope("", "c")) == ["c/a"]
    assert await scanned(engine, Scope("", "new")) == ["new/b"]
    await engine.commit(DATABASE, [put("other/x", {"m": 1})])
    assert await scanned(engine, Scope("", "new")) == ["new/b"]
    assert await scanned(engine, Scope("", "other")) == ["other/x"]
    await engine.stop()


async def test_where_sqlite_gives_up_the_whole_batch_nobody_is_told_of_success(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine._storage.writer.execute(BREAKDOWN.format(fault="ROLLBACK"))
    batch = [[put("new/a", {"n": 1})], [put("new/poison")], [put("other/b", {"m": 1})]]
    outcomes = await asyncio.gather(*(engine.commit(DATABASE, each) for each in batch), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {sqlite3.IntegrityError}
    await engine.commit(DATABASE, [put("c/a")])
    assert [await scanned(engine, Scope("", each)) for each in ("c", "new", "other")] == [["c/a"], [], []]
    await engine.stop()


async def test_numbers_that_a_failed_batch_gave_to_collections_are_not_taken_for_theirs(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    engine._storage.writer.executescript(FAILING_COMMIT)
    with pytest.raises(sqlite3.IntegrityError):
        await engine.commit(DATABASE, [put("new/a", {"n": 1}), put("new/poison", {"n": 2})])
    await engine.commit(DATABASE, [put("c/a", {"m": 1})])
    await engine.commit(DATABASE, [put("new/a", {"n": 1})])
    assert await scanned(engine, Scope("", "c")) == ["c/a"]
    assert await scanned(engine, Scope("", "new")) == ["new/a"]
    assert await indexed(engine, "m", EVERYTHING) == ["c/a"]
    await engine.stop()


async def test_a_write_that_cannot_be_decided_fails_alone(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    poison = Write(DATABASE, "c/p", {}, transforms=(Transform(("n",), lambda _, time: time // 0),))
    outcomes = await asyncio.gather(
        *(engine.commit(DATABASE, [each]) for each in (put("c/a"), poison, put("c/b"))), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [Committed, ZeroDivisionError, Committed]
    assert await scanned(engine, Scope("", "c")) == ["c/a", "c/b"]
    await engine.stop()
