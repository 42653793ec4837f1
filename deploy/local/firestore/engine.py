"""The database: reads at a moment, commits under locks, transactions. Plain values in, plain values out."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from deploy.local.firestore.clock import Clock
from deploy.local.firestore.commits import Commits, Committed
from deploy.local.firestore.documents import resource_name
from deploy.local.firestore.errors import Aborted, FirestoreError, InvalidArgument
from deploy.local.firestore.locks import EXCLUSIVE, SHARED, WRITES_BELOW, Locks, Mode, Owner
from deploy.local.firestore.query import Scope
from deploy.local.firestore.readers import Moment, Readers
from deploy.local.firestore.storage import Storage
from deploy.local.firestore.tables import Tables
from deploy.local.firestore.transactions import Outcome, Patience, Transaction, Transactions
from deploy.local.firestore.writes import Write

Throttle: TypeAlias = Callable[[Iterable[str]], Awaitable[None]]
"""Holds up, or refuses with Aborted, a commit that writes the documents with these full names."""


async def _unthrottled(_: Iterable[str]) -> None:
    pass


class Engine:
    """Lives on one event loop, from construction to ``stop``."""

    def __init__(
        self,
        data_dir: Path | None,
        patience: Patience = Patience(),  # noqa: B008  it is frozen
        throttle: Throttle = _unthrottled,
    ) -> None:
        self._throttle = throttle
        self._storage = Storage(data_dir)
        tables = Tables(self._storage.writer)
        self.clock = Clock(tables.last_commit())
        self.listeners: list[Callable[[Committed], None]] = []
        self.locks = Locks(patience.lock)
        self.transactions = Transactions(self.locks, patience)
        self._commits = Commits(tables, self.clock, self._announce)
        self.readers = Readers(self._storage, self.clock, patience.reader)

    async def stop(self) -> None:
        self.transactions.stop()
        await self._commits.stop()
        self.readers.close()
        self._storage.close()

    # Reads

    def moment(self, read_time: int | None = None) -> Moment:
        """Now, or a time in the past."""
        now = self.clock.read_time()
        if read_time is not None:
            if read_time > now:
                raise InvalidArgument("read_time lies in the future.")
            self.clock.check_kept(read_time)
            return Moment(read_time, read_time)
        return Moment(now if self.clock.in_flight else None, now)

    # Transactions

    def begin(
        self, database: str, *, read_only: bool = False, read_time: int | None = None, retry_of: bytes = b""
    ) -> Transaction:
        read_at = self.moment(read_time).read_time if read_only else None
        return self.transactions.begin(database, read_at=read_at, retry_of=retry_of)

    async def lock_documents(self, transaction: Transaction, paths: Iterable[str]) -> None:
        """Before a read-write transaction reads them; they need not exist.

        Only its first read queues for contended documents: all of one request are taken in order, so that queueing
        alone cannot end in a deadlock, which clients do not retry when a read meets it.
        """
        names = {resource_name(transaction.database, path) for path in paths}
        mode = (lambda _: SHARED) if transaction.owner.held else self.locks.mode_for_read
        await self._lock(transaction, [(name, mode(name)) for name in names])

    async def lock_scope(self, transaction: Transaction, scope: Scope) -> None:
        """Before a read-write transaction queries it: nothing in its collections changes until the end."""
        await self._lock(transaction, [(_scope_key(transaction.database, scope), SHARED)])

    async def _lock(self, transaction: Transaction, wants: list[tuple[str, Mode]]) -> None:
        if transaction.read_at is None:
            with self.transactions.using(transaction):
                await self.locks.acquire(transaction.owner, wants)

    def rollback(self, database: str, transaction_id: bytes) -> None:
        self.transactions.roll_back(database, transaction_id)

    # Writes

    async def commit(self, database: str, writes: Sequence[Write], transaction_id: bytes = b"") -> Committed:
        """All of the writes or none. With a transaction, this ends it, whatever the outcome."""
        if not transaction_id:
            return await self._commit_as(Owner(self.transactions.next_age(), transaction=False), writes)
        transaction = self.transactions.find(database, transaction_id)
        self.transactions.record(transaction, Outcome.COMMITTED)
        try:
            _check_may_write(transaction, writes)
            return await self._commit_as(transaction.owner, writes)
        except FirestoreError as refusal:
            outcome = Outcome.ABORTED if isinstance(refusal, Aborted) else Outcome.FAILED
            self.transactions.record(transaction, outcome)
            raise

    async def _commit_as(self, owner: Owner, writes: Sequence[Write]) -> Committed:
        """The locks are held until the outcome is durable, also when the client no longer waits for it."""
        try:
            await self._throttle(write.name for write in writes)
            await self.locks.acquire(owner, _wants(writes))
        except BaseException:
            self.locks.abort(owner)
            raise
        if not writes:
            self.locks.release(owner)
            return Committed(self.clock.read_time(), (), ())
        done = self._commits.submit(writes)
        done.add_done_callback(lambda finished: self._release(owner, finished))
        return await asyncio.shield(done)

    def _release(self, owner: Owner, finished: "asyncio.Future[Committed]") -> None:
        finished.exception()  # seen, should the client be gone
        self.locks.release(owner)

    def _announce(self, committed: Committed) -> None:
        for listener in self.listeners:
            listener(committed)


def _check_may_write(transaction: Transaction, writes: Sequence[Write]) -> None:
    if writes and transaction.read_at is not None:
        raise InvalidArgument("A read-only transaction cannot write. Begin a read-write transaction.")


def _wants(writes: Sequence[Write]) -> set[tuple[str, Mode]]:
    """The documents themselves, and every scope in which a query could have seen or missed them."""
    wants: set[tuple[str, Mode]] = set()
    for write in writes:
        collection = write.path.rpartition("/")[0]
        wants.add((write.name, EXCLUSIVE))
        wants.add((resource_name(write.database, collection), WRITES_BELOW))
        wants.add((_group_key(write.database, collection.rpartition("/")[2]), WRITES_BELOW))
        wants.add((_everything_key(write.database), WRITES_BELOW))
    return wants


def _scope_key(database: str, scope: Scope) -> str:
    if scope.collection_id is None:
        return _everything_key(database)
    if scope.all_descendants:
        return _group_key(database, scope.collection_id)
    return resource_name(database, f"{scope.parent}/{scope.collection_id}".lstrip("/"))


def _group_key(database: str, collection_id: str) -> str:
    return f"{database}/groups/{collection_id}"


def _everything_key(database: str) -> str:
    return f"{database}/everything"
