"""Long reads: in threads, of one state, at nobody's cost."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from deploy.local.firestore.clock import KEPT_MICROS
from deploy.local.firestore.engine import Engine
from deploy.local.firestore.errors import FailedPrecondition
from deploy.local.firestore.query import Scope
from deploy.local.firestore.readers import Moment
from deploy.local.firestore.storage import Storage
from deploy.local.firestore.transactions import Patience
from deploy.local.firestore.transfer import import_lines
from tests.support.firestore_engine import DATABASE, EVERYTHING, delete, put

LINE = (
    f'{{{{"name": "{DATABASE}/documents/long/{{number:04}}", '
    '"createTime": "2026-01-01T00:00:00Z", "updateTime": "2026-01-01T00:00:00Z"}}'
)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = Engine(None)
    yield engine
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
