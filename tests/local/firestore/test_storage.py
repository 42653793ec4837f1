"""What is kept, how, and for whom."""

import shutil
from pathlib import Path

import pytest

from deploy.local.firestore.engine import Engine
from deploy.local.firestore.query import Scope, Span
from deploy.local.firestore.storage import DataDirectoryUnusable
from deploy.local.firestore.values import index_key, path_key
from deploy.local.firestore.view import StoredView
from tests.support.firestore_engine import DATABASE, EVERYTHING, delete, indexed, put, scanned


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


async def test_a_second_server_on_the_same_directory_is_refused_with_a_sentence(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    with pytest.raises(DataDirectoryUnusable, match="Another process is using"):
        Engine(tmp_path)
    await engine.stop()
    await Engine(tmp_path).stop()


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
