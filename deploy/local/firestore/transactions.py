"""Transactions: who they are, how long they live, what became of them."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Final

from deploy.local.firestore.errors import Aborted, InvalidArgument
from deploy.local.firestore.locks import TOO_MUCH_CONTENTION, Locks, Owner

_REMEMBERED: Final = 10_000


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds: how long one wait for a lock may last, how long a transaction may be idle, and alive, as in production.

    ``reader`` is how long the file is kept as it was for a client that does not take the rest of its answer.
    """

    lock: float = 20.0
    idle: float = 60.0
    total: float = 270.0
    reader: float = 5.0


@dataclass(slots=True, eq=False)
class Transaction:
    """``read_at`` (microseconds) makes it read-only; times below are the event loop's."""

    id: bytes
    database: str
    owner: Owner
    read_at: int | None
    started: float
    touched: float
    busy: int = 0

    def expires_at(self, patience: Patience) -> float:
        end = self.started + patience.total
        return end if self.busy else min(end, self.touched + patience.idle)


class Outcome(Enum):
    COMMITTED = "committed"
    FAILED = "failed"  # its commit was refused
    ABORTED = "aborted"  # it lost a conflict
    ROLLED_BACK = "rolled back"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class _Past:
    age: int
    outcome: Outcome


class Transactions:
    def __init__(self, locks: Locks, patience: Patience) -> None:
        self._locks = locks
        self._patience = patience
        self._live: dict[bytes, Transaction] = {}
        self._past: OrderedDict[bytes, _Past] = OrderedDict()
        self._ages = 0
        self._sweep: asyncio.TimerHandle | None = None

    def begin(self, database: str, *, read_at: int | None = None, retry_of: bytes = b"") -> Transaction:
        """A retry keeps the age of its first attempt, so that it wins against those who came later.

        What it retries may be alive: the Python client's decorator, shared by concurrent callers, mixes their ids up.
        """
        now = asyncio.get_running_loop().time()
        past = self._past.get(retry_of)
        owner = Owner(past.age if past else self.next_age())
        transaction = Transaction(secrets.token_bytes(16), database, owner, read_at, now, now)
        self._live[transaction.id] = transaction
        self._watch()
        return transaction

    def next_age(self) -> int:
        self._ages += 1
        return self._ages

    def find(self, database: str, transaction_id: bytes) -> Transaction:
        """The live transaction; raises Aborted when it lost a conflict, InvalidArgument when it is over or unknown."""
        transaction = self._live.get(transaction_id)
        if transaction and transaction.owner.aborted:
            self.end(transaction, Outcome.ABORTED)
        if self._outcome(transaction_id) is Outcome.ABORTED:
            raise Aborted(TOO_MUCH_CONTENTION)
        if transaction is None:
            raise InvalidArgument("The referenced transaction has expired or is no longer valid.")
        if transaction.database != database:
            raise InvalidArgument(f"The transaction does not belong to {database}.")
        return transaction

    def roll_back(self, database: str, transaction_id: bytes) -> None:
        """Clients roll back after a refused commit too; that is no error."""
        if self._outcome(transaction_id) not in (Outcome.FAILED, Outcome.ABORTED):
            self.end(self.find(database, transaction_id), Outcome.ROLLED_BACK)

    def lose(self, transaction_id: bytes) -> None:
        """Abort a transaction, if it is still alive."""
        if transaction := self._live.get(transaction_id):
            self.end(transaction, Outcome.ABORTED)

    def _outcome(self, transaction_id: bytes) -> Outcome | None:
        past = self._past.get(transaction_id)
        return past.outcome if past else None

    @contextmanager
    def using(self, transaction: Transaction) -> Iterator[None]:
        """It does not expire meanwhile, and its idle time starts again afterwards."""
        transaction.busy += 1
        try:
            yield
        finally:
            transaction.busy -= 1
            transaction.touched = asyncio.get_running_loop().time()

    def record(self, transaction: Transaction, outcome: Outcome) -> None:
        """From here on no request finds it; its locks stay until they are released."""
        self._live.pop(transaction.id, None)
        self._past[transaction.id] = _Past(transaction.owner.age, outcome)
        if len(self._past) > _REMEMBERED:
            self._past.popitem(last=False)

    def end(self, transaction: Transaction, outcome: Outcome) -> None:
        """Without writing; who waits for its locks goes on."""
        self.record(transaction, outcome)
        self._locks.abort(transaction.owner)

    def stop(self) -> None:
        if self._sweep:
            self._sweep.cancel()

    def _watch(self) -> None:
        """Wake up when the next one expires, if nobody touches it until then."""
        if self._sweep is None and self._live:
            next_end = min(each.expires_at(self._patience) for each in self._live.values())
            self._sweep = asyncio.get_running_loop().call_at(next_end, self._end_expired)

    def _end_expired(self) -> None:
        self._sweep = None
        now = asyncio.get_running_loop().time()
        for transaction in [each for each in self._live.values() if each.expires_at(self._patience) <= now]:
            self.end(transaction, Outcome.EXPIRED)
        self._watch()
