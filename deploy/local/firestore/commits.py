"""Group commit: all commits that wait for the disk share one fsync, and each still succeeds or fails alone.

Decisions and SQL run on the event loop, in microseconds per row; only SQLite's COMMIT, which waits for the disk, runs
in a thread. (With the SQL in a thread too, every row would have to win the interpreter lock back from the loop.)
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from deploy.local.firestore.clock import KEPT_MICROS, Clock
from deploy.local.firestore.documents import Document
from deploy.local.firestore.entries import IndexEntry, bounded_index_entries
from deploy.local.firestore.limits import validate_document
from deploy.local.firestore.tables import Row, Tables
from deploy.local.firestore.values import Value
from deploy.local.firestore.wire import pack_fields
from deploy.local.firestore.writes import Write, decide

_PRUNED_AT_LEAST: Final = 64


@dataclass(frozen=True, slots=True)
class Written:
    """The result of one write: the document after it, None after a delete."""

    document: Document | None
    transform_results: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Changed:
    before: Document | None
    after: Document | None


@dataclass(frozen=True, slots=True)
class Committed:
    time: int
    results: tuple[Written, ...]
    changes: tuple[Changed, ...]


@dataclass(slots=True)
class _Staged:
    row: Row
    now: Document | None


@dataclass(frozen=True, slots=True)
class _Pending:
    writes: Sequence[Write]
    done: asyncio.Future[Committed]

    def fail(self, failure: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(failure)

    def succeed(self, committed: Committed) -> None:
        if not self.done.done():
            self.done.set_result(committed)


class Commits:
    """Takes commits as they come; ``listener`` hears of each one once it is durable, in order."""

    def __init__(self, tables: Tables, clock: Clock, listener: Callable[[Committed], None]) -> None:
        self._tables = tables
        self._clock = clock
        self._listener = listener
        self._queue: list[_Pending] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="firestore-commit")
        self._task = asyncio.create_task(self._run())

    def submit(self, writes: Sequence[Write]) -> asyncio.Future[Committed]:
        """The future fails with the refusal of the first write that cannot be done; then none is."""
        done: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self._queue.append(_Pending(writes, done))
        self._wake.set()
        return done

    async def stop(self) -> None:
        """What was submitted is finished first."""
        self._stopping = True
        self._wake.set()
        await self._task
        self._disk.shutdown()

    async def _run(self) -> None:
        while self._queue or not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            batch, self._queue = self._queue, []
            if batch:
                await self._store(batch)

    async def _store(self, batch: list[_Pending]) -> None:
        self._clock.start()
        try:
            applied = self._apply_all(batch)
            await asyncio.get_running_loop().run_in_executor(self._disk, self._tables.commit)
        except Exception as failure:  # noqa: BLE001  a full disk: the callers hear of it, later commits go on
            self._tables.rollback()
            self._clock.finish()
            for pending in batch:
                pending.fail(failure)
        else:
            self._clock.finish()
            self._announce(applied)

    def _announce(self, applied: list[tuple[_Pending, Committed]]) -> None:
        for pending, committed in applied:
            pending.succeed(committed)
            self._listener(committed)

    def _apply_all(self, batch: list[_Pending]) -> list[tuple[_Pending, Committed]]:
        self._tables.begin()
        applied = [(pending, done) for pending in batch if (done := self._try(pending))]
        changes = sum(len(committed.changes) for _, committed in applied)
        now = self._clock.tick()
        self._tables.prune(now - KEPT_MICROS, max(_PRUNED_AT_LEAST, 2 * changes))
        self._tables.note_last_commit(now)
        return applied

    def _try(self, pending: _Pending) -> Committed | None:
        """None where it failed; its neighbours in the batch do not notice."""
        try:
            with self._tables.undone_on_failure():
                return self._apply(pending.writes, self._clock.tick())
        except Exception as failure:  # whatever is wrong with one commit, its neighbours have done nothing
            if not self._tables.is_open:
                raise  # the neighbours' rows are gone too
            pending.fail(failure)
            return None

    def _apply(self, writes: Sequence[Write], at: int) -> Committed:
        """First everything that can be refused, then the rows."""
        staged: dict[str, _Staged] = {}
        results = tuple(self._stage(staged, write, at) for write in writes)
        changed = [stage for stage in staged.values() if stage.now is not stage.row.document]
        entries = [_entries(stage.now) for stage in changed]
        for stage, new_entries in zip(changed, entries, strict=True):
            self._tables.replace(stage.row, stage.now, new_entries, at)
        return Committed(at, results, tuple(Changed(stage.row.document, stage.now) for stage in changed))

    def _stage(self, staged: dict[str, _Staged], write: Write, at: int) -> Written:
        stage = staged.get(write.path)
        if stage is None:
            row = self._tables.row(write.database, write.path)
            stage = staged[write.path] = _Staged(row, row.document)
        change = decide(write, stage.now, at)
        if change.fields is None:
            stage.now = None
            return Written(None, ())
        validate_document(write.name, change.fields)
        blob = pack_fields(change.fields)
        if stage.now is None or stage.now.blob != blob:
            created = stage.now.create_time if stage.now else at
            stage.now = Document(write.database, write.path, blob, created, at)
        return Written(stage.now, change.results)


def _entries(document: Document | None) -> set[IndexEntry]:
    return set(bounded_index_entries(document.path, document.fields)) if document else set()
