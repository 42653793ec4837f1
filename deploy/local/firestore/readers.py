"""Reading at a moment: short reads on the event loop, long ones in threads, in chunks, over one snapshot."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Final, Generic, TypeVar

from deploy.local.firestore.catalog import Catalog
from deploy.local.firestore.clock import Clock
from deploy.local.firestore.storage import Storage, steady
from deploy.local.firestore.view import OverBudget, StoredView

T = TypeVar("T")

_INLINE_ROWS: Final = 300
"""A read of so many rows is over before a thread has taken it up."""
_CHUNK: Final = 300
_THREADS: Final = 2
_IDLE: Final = 4


@dataclass(frozen=True, slots=True)
class Moment:
    """``at`` None is the latest state, which ``read_time`` (microseconds) then also describes."""

    at: int | None
    read_time: int


class Reader:
    """A connection and what is known through it; for one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._catalog = Catalog(connection)

    def view(self, database: str, at: int | None, budget: int | None = None) -> StoredView:
        return StoredView(self.connection, self._catalog, database, at=at, budget=budget)


class _Pool:
    """Connections for long reads, of which a few are kept when they are not needed. Used from threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._idle: list[Reader] = []

    def take(self) -> Reader:
        try:
            return self._idle.pop()
        except IndexError:
            return Reader(self._storage.connect_reader())

    def give_back(self, reader: Reader) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(reader)
        else:
            reader.connection.close()

    def close(self) -> None:
        for reader in self._idle:
            reader.connection.close()


class _Walk(Generic[T]):
    """A long read under way, over one state of the database, in chunks.

    Its connection keeps SQLite from cleaning up its log, so it can be laid down: what it reads is the state at a time,
    which is there later too, and the next chunk begins where the last one ended, at the price of passing over what was
    read. The lock is for that: a walk may be laid down while a chunk is made.
    """

    def __init__(self, pool: _Pool, start: Callable[[Reader], Iterator[T]]) -> None:
        self._pool = pool
        self._start = start
        self._reader: Reader | None = None
        self._items: Iterator[T] = iter(())
        self._taken = 0
        self._lock = threading.Lock()

    def chunk(self) -> Sequence[T]:
        with self._lock:
            if self._reader is None:
                self._take_up()
            chunk = list(islice(self._items, _CHUNK))
            self._taken += len(chunk)
            return chunk

    def _take_up(self) -> None:
        self._reader = self._pool.take()
        self._reader.connection.execute("BEGIN")
        self._items = islice(self._start(self._reader), self._taken, None)

    def lay_down(self) -> None:
        with self._lock:
            if self._reader is not None:
                self._items = iter(())
                self._reader.connection.execute("COMMIT")
                self._pool.give_back(self._reader)
                self._reader = None


class Readers:
    """``patience`` is how many seconds a long read waits for its client before it is laid down."""

    def __init__(self, storage: Storage, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._inline = Reader(storage.connect_reader())
        self._pool = _Pool(storage)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="firestore-read")

    def close(self) -> None:
        self._threads.shutdown()
        self._inline.connection.close()
        self._pool.close()

    async def read(self, database: str, moment: Moment, work: Callable[[StoredView], T]) -> T:
        """The result of ``work``, which may run twice and must not keep anything lazy."""
        try:
            with steady(self._inline.connection):
                return work(self._inline.view(database, moment.at, _INLINE_ROWS))
        except OverBudget:
            once = self._walk(database, moment.read_time, lambda view: iter((work(view),)))
            [[result]] = [chunk async for chunk in once]
            return result

    async def stream(
        self, database: str, moment: Moment, work: Callable[[StoredView], Iterator[T]]
    ) -> AsyncGenerator[Sequence[T], None]:
        """What ``work`` yields, in chunks that are never empty; it may be started several times.

        Raises FailedPrecondition when the client took so long that the state it reads is forgotten.
        """
        try:
            with steady(self._inline.connection):
                items = list(work(self._inline.view(database, moment.at, _INLINE_ROWS)))
        except OverBudget:
            async for chunk in self._walk(database, moment.read_time, work):
                yield chunk
        else:
            if items:
                yield items

    async def _walk(
        self, database: str, at: int, work: Callable[[StoredView], Iterator[T]]
    ) -> AsyncGenerator[Sequence[T], None]:
        loop = asyncio.get_running_loop()
        walk = _Walk(self._pool, lambda reader: work(reader.view(database, at)))
        try:
            while chunk := await loop.run_in_executor(self._threads, walk.chunk):
                stalled = loop.call_later(self._patience, self._lay_down, walk)
                try:
                    yield chunk
                finally:
                    stalled.cancel()
                self._clock.check_kept(at)
        finally:
            await asyncio.shield(self._lay_down(walk))

    def _lay_down(self, walk: _Walk[T]) -> asyncio.Future[None]:
        return asyncio.get_running_loop().run_in_executor(self._threads, walk.lay_down)
