"""What is kept, how, and for whom."""

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.firestore.clock import KEPT_MICROS, Clock
from deploy.local.firestore.commits import Committed
from deploy.local.firestore.engine import Engine
from deploy.local.firestore.errors import FailedPrecondition, NotFound
from deploy.local.firestore.query import Scope, Span
from deploy.local.firestore.readers import Moment
from deploy.local.firestore.storage import DataDirectoryUnusable, Storage
from deploy.local.firestore.transactions import Patience
from deploy.local.firestore.transfer import import_lines
from deploy.local.firestore.values import Fields, index_key, path_key
from deploy.local.firestore.view import StoredView
from deploy.local.firestore.writes import Precondition, Transform, Write

DATABASE = "projects/p/databases/(default)"
EVERYTHING = Span()
LINE = (
    f'{{{{"name": "{DATABASE}/documents/long/{{number:04}}", '
    '"createTime": "2026-01-01T00:00:00Z", "updateTime": "2026-01-01T00:00:00Z"}}'
)
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


def put(path: str, fields: Fields | None = None) -> Write:
    return Write(DATABASE, path, fields or {})


def delete(path: str) -> Write:
    return Write(DATABASE, path, None)


async def scanned(
    engine: Engine, scope: Scope, names: Span = EVERYTHING, *, reverse: bool = False, at: int | None = None
) -> list[str]:
    def scan(view: StoredView) -> list[str]:
        return [document.path for document in view.scan(scope, names, reverse=reverse)]

    return await engine.readers.read(DATABASE, engine.moment(at), scan)


async def indexed(engine: Engine, field: str, keys: Span, *, reverse: bool = False, at: int | None = None) -> list[str]:
    def scan(view: StoredView) -> list[str]:
        found = view.scan_index(Scope("", "c"), field, "value", keys, EVERYTHING, reverse=reverse)
        return [document.path for document in found]

    return await engine.readers.read(DATABASE, engine.moment(at), scan)


async def test_an_acknowledged_commit_is_there_after_a_restart(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    committed = await engine.commit(DATABASE, [put("c/a")])
    await engine.stop()
    again = Engine(tmp_path)
    assert await scanned(again, Scope("", "c")) == ["c/a"]
    assert (await again.commit(DATABASE, [put("c/b")])).time > committed.time
    await again.stop()


@pytest.mark.parametrize("torn", [1, 2000, 5000])
async def test_a_torn_end_of_the_log_costs_only_what_was_torn(tmp_path: Path, torn: int) -> None:
    engine = Engine(tmp_path / "live")
    for number in range(20):
        await engine.commit(DATABASE, [put(f"c/{number:02}"), put(f"d/{number:02}")])
    shutil.copytree(tmp_path / "live", tmp_path / "torn")
    await engine.stop()
    log = tmp_path / "torn" / "firestore.sqlite3-wal"
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - torn)
    again = Engine(tmp_path / "torn")
    left = [path[2:] for path in await scanned(again, Scope("", "c"))]
    assert 10 < len(left) < 20
    assert left == [f"{number:02}" for number in range(len(left))]
    assert left == [path[2:] for path in await scanned(again, Scope("", "d"))]
    await again.stop()


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


async def test_a_second_server_on_the_same_directory_is_refused_with_a_sentence(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    with pytest.raises(DataDirectoryUnusable, match="Another process is using"):
        Engine(tmp_path)
    await engine.stop()
    await Engine(tmp_path).stop()


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


@pytest.fixture
async def engine() -> Engine:
    engine = Engine(None)
    names = [
        "a",
        "b/x/y",
        "a/s/1",
        "a/s/2",
        "b/s/1",
        "a-b",
        "a/s/2/s/0",
        "a/s/3",
        "a/t/1",
        "b/t/1",
        "__id10__",
        "__id9__",
    ]
    await engine.commit(DATABASE, [put(f"c/{name}") for name in names if name.count("/") % 2 == 0])
    return engine


async def test_documents_come_in_the_order_of_their_names(engine: Engine) -> None:
    ordered = ["c/__id9__", "c/__id10__", "c/a", "c/a-b"]
    assert await scanned(engine, Scope("", "c")) == ordered
    assert await scanned(engine, Scope("", "c"), reverse=True) == ordered[::-1]
    after = Span(path_key("c/__id10__") + b"\0", path_key("c/a-b"))
    assert await scanned(engine, Scope("", "c"), after) == ["c/a"]
    await engine.stop()


async def test_a_group_is_one_run_over_its_collections_even_where_they_nest(engine: Engine) -> None:
    ordered = ["c/a/s/1", "c/a/s/2", "c/a/s/2/s/0", "c/a/s/3", "c/b/s/1"]
    assert await scanned(engine, Scope("", "s", all_descendants=True)) == ordered
    assert await scanned(engine, Scope("", "s", all_descendants=True), reverse=True) == ordered[::-1]
    assert await scanned(engine, Scope("c/a", "s", all_descendants=True)) == ordered[:4]
    below = Span(path_key("c/a/s/2"), path_key("c/b"))
    assert await scanned(engine, Scope("", "s", all_descendants=True), below) == ordered[1:4]
    assert await scanned(engine, Scope("c/a", None, all_descendants=True)) == [*ordered[:4], "c/a/t/1"]
    assert await scanned(engine, Scope("", "t", all_descendants=True), reverse=True) == ["c/b/t/1", "c/a/t/1"]
    await engine.stop()


async def test_parents_that_do_not_exist_are_listed(engine: Engine) -> None:
    def listed(view: StoredView) -> tuple[list[str], list[str], list[str]]:
        return view.collection_ids(""), view.collection_ids("c/b"), view.missing_documents("c")

    assert await engine.readers.read(DATABASE, engine.moment(), listed) == (["c"], ["s", "t", "x"], ["c/b"])
    await engine.stop()


async def test_the_index_follows_every_change(engine: Engine) -> None:
    await engine.commit(DATABASE, [put(f"c/n{n}", {"n": n % 3, "m": {"x": n}}) for n in range(6)])
    two = index_key(2)
    assert await indexed(engine, "n", Span(two, two + b"\0")) == ["c/n2", "c/n5"]
    await engine.commit(DATABASE, [put("c/n2", {"n": 7}), delete("c/n5")])
    assert await indexed(engine, "n", Span(two, two + b"\0")) == []
    assert await indexed(engine, "n", EVERYTHING, reverse=True) == ["c/n2", "c/n4", "c/n1", "c/n3", "c/n0"]
    assert await indexed(engine, "m.x", EVERYTHING) == ["c/n0", "c/n1", "c/n3", "c/n4"]
    await engine.stop()


async def test_every_moment_of_the_past_is_seen_whole(engine: Engine) -> None:
    steps = [
        [put("c/p", {"n": 1}), put("c/q", {"n": 2})],
        [put("c/p", {"n": 3})],
        [delete("c/q")],
        [put("c/q", {"n": 0}), delete("c/p")],
    ]
    expected = [["c/p", "c/q"], ["c/q", "c/p"], ["c/p"], ["c/q"]]
    times = [(await engine.commit(DATABASE, writes)).time for writes in steps]
    for at, order in zip(times, expected, strict=True):
        assert await indexed(engine, "n", EVERYTHING, at=at) == order
        assert await indexed(engine, "n", EVERYTHING, at=at, reverse=True) == order[::-1]
        assert [p for p in await scanned(engine, Scope("", "c"), at=at) if p in order] == sorted(order)
    assert await indexed(engine, "n", EVERYTHING, at=times[0] - 1) == []
    await engine.stop()


async def test_a_reader_that_stalls_does_not_keep_the_log_from_being_cleaned_up_and_misses_nothing(
    tmp_path: Path,
) -> None:
    engine = Engine(tmp_path, Patience(reader=0.05))
    await engine.commit(DATABASE, [put(f"long/{number:04}") for number in range(1000)])
    chunks = engine.readers.stream(
        DATABASE, engine.moment(), lambda view: view.scan(Scope("", "long"), EVERYTHING, reverse=False)
    )
    seen = list[str]()
    async for chunk in chunks:
        seen += [document.path for document in chunk]
        await engine.commit(DATABASE, [delete(f"long/{len(seen) - 1:04}"), delete("long/0999"), put("long/0500x")])
        await until(lambda: is_cleaned_up(engine))
    assert seen == [f"long/{number:04}" for number in range(1000)]
    await engine.stop()


def is_cleaned_up(engine: Engine) -> bool:
    """Nobody reads an older state of the file."""
    _, pages, cleaned = engine._storage.writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return bool(pages == cleaned)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_connections_that_many_readers_needed_are_not_kept(engine: Engine) -> None:
    await engine.commit(DATABASE, [put(f"long/{number:04}") for number in range(400)])

    async def count() -> int:
        scan = Scope("", "long")
        return await engine.readers.read(
            DATABASE, engine.moment(), lambda view: sum(1 for _ in view.scan(scan, EVERYTHING, reverse=False))
        )

    assert await asyncio.gather(*(count() for _ in range(20))) == [400] * 20
    assert len(engine.readers._pool._idle) <= 4
    await engine.stop()


async def test_a_reader_that_is_over_an_hour_late_is_refused(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    import_lines(storage, [LINE.format(number=number).encode() for number in range(1000)])
    storage.close()
    engine = Engine(tmp_path)
    an_hour_ago = Moment(None, engine.moment().read_time - KEPT_MICROS - 1)
    chunks = engine.readers.stream(
        DATABASE, an_hour_ago, lambda view: view.scan(Scope("", "long"), EVERYTHING, reverse=False)
    )
    assert await anext(chunks)
    with pytest.raises(FailedPrecondition, match="too old"):
        await anext(chunks)
    await engine.stop()


async def test_a_long_read_goes_to_a_thread_and_sees_one_state(engine: Engine) -> None:
    await engine.commit(DATABASE, [put(f"long/{number:04}") for number in range(1000)])
    moment, seen = engine.moment(), list[str]()
    chunks = engine.readers.stream(
        DATABASE, moment, lambda view: view.scan(Scope("", "long"), EVERYTHING, reverse=False)
    )
    async for chunk in chunks:
        seen += [document.path for document in chunk]
        await engine.commit(DATABASE, [delete(f"long/{len(seen) - 1:04}"), delete("long/0999")])
    assert seen == [f"long/{number:04}" for number in range(1000)]
    await engine.stop()
