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
from deploy.local.firestore.storage import Storage, steady
from deploy.local.firestore.view import OverBudget, StoredView

T = TypeVar("T")

_INLINE_ROWS: Final = 300
"""A read of so many rows is over before a thread has taken it up."""
_CHUNK: Final = 300
_THREADS: Final = 2


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


class _Walk(Generic[T]):
    """A long read under way: its snapshot lasts until ``close``. The lock lets it be closed while a chunk is made."""

    def __init__(self, reader: Reader, start: Callable[[], Iterator[T]]) -> None:
        self.reader = reader
        self._start = start
        self._items: Iterator[T] | None = None
        self._lock = threading.Lock()

    def chunk(self) -> Sequence[T]:
        with self._lock:
            if self._items is None:
                self.reader.connection.execute("BEGIN")
                self._items = self._start()
            return list(islice(self._items, _CHUNK))

    def close(self) -> None:
        with self._lock:
            self._items = None
            if self.reader.connection.in_transaction:
                self.reader.connection.execute("COMMIT")


class Readers:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._inline = Reader(storage.connect_reader())
        self._idle: list[Reader] = []
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="firestore-read")

    def close(self) -> None:
        self._threads.shutdown()
        for reader in (self._inline, *self._idle):
            reader.connection.close()

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
        """What ``work`` yields, in chunks that are never empty; it may be started twice."""
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
        reader = self._idle.pop() if self._idle else Reader(self._storage.connect_reader())
        walk = _Walk(reader, lambda: work(reader.view(database, at)))
        try:
            while chunk := await loop.run_in_executor(self._threads, walk.chunk):
                yield chunk
        finally:
            closing = loop.run_in_executor(self._threads, walk.close)
            closing.add_done_callback(lambda _: self._idle.append(reader))
            await asyncio.shield(closing)
