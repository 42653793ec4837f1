"""Runs operations: one read that begins the transaction, one commit, and many operations to a commit under load.

An operation that meets an idle lane goes at once. Those that arrive while its lane has a commit in flight form the
next batch, read the union of their documents in one go, decide one after the other on what the earlier ones left, and
share the commit. So a hot document is written as often as the network allows, but by any number of requests.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import grpc.aio
import structlog

from shared.errors import Refusal, Unavailable
from shared.firestore.client import Database
from shared.firestore.metrics import CommitterMetrics
from shared.firestore.retry import Backoff, Failure, classify
from shared.operations import Batch, Operation, Write

T = TypeVar("T")
Listener = Callable[[Sequence[Write]], None]

_log: Final = structlog.get_logger()
_ROLLBACK_TIMEOUT: Final = 2.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one commit carries, and how long calls may take (seconds)."""

    operations: int = 40
    documents: int = 100
    attempt: float = 5.0
    deadline: float = 15.0


@dataclass(slots=True, eq=False)
class _Pending:
    """An operation that somebody waits for."""

    operation: Operation[Any]
    reads: tuple[str, ...]
    until: float
    future: asyncio.Future[Any]
    since: float = field(default_factory=time.perf_counter)
    attempts: int = 0

    @property
    def name(self) -> str:
        return type(self.operation).__name__


@dataclass(frozen=True, slots=True)
class _Refused:
    error: Exception


class _LeaveBatchError(Exception):
    """The commit failed for a reason that trying the same again would not change."""


class Committer:
    """Every state change goes through ``run``.

    ``listeners`` hear the writes of each commit after it happened (the jobs' worker wakes by it).
    """

    def __init__(
        self,
        database: Database,
        metrics: CommitterMetrics,
        *,
        limits: Limits | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._limits = limits or Limits()
        self._random = rng or random.Random()  # noqa: S311  jitter, not a secret
        self._lanes: dict[str, deque[_Pending]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.listeners: list[Listener] = []

    async def run(self, operation: Operation[T], *, deadline: float | None = None) -> T:
        """The operation's result, once it is durable. ``deadline`` is in seconds from now.

        Raises the refusal that ``decide`` raised, Unavailable when the deadline passes (the operation may still have
        happened: the same request again finds its marker), or the error of a commit that cannot succeed.
        """
        loop = asyncio.get_running_loop()
        reads = tuple(dict.fromkeys(operation.reads()))
        if not reads:
            raise ValueError(f"{type(operation).__name__} reads nothing, so it has no marker to recognise itself by")
        until = loop.time() + (deadline or self._limits.deadline)
        pending = _Pending(operation, reads, until, loop.create_future())
        self._enqueue(operation.lane, pending)
        return await pending.future  # type: ignore[no-any-return]  # the future carries the operation's own T

    async def close(self) -> None:
        """Wait for everything in flight."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _enqueue(self, lane: str, pending: _Pending) -> None:
        if lane in self._lanes:
            self._lanes[lane].append(pending)
            return
        self._lanes[lane] = deque([pending])
        task = asyncio.create_task(self._drain(lane), name=f"lane {lane}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, lane: str) -> None:
        queue = self._lanes[lane]
        try:
            while queue:
                batch = [queue.popleft() for _ in range(min(len(queue), self._limits.operations))]
                queue.extendleft(reversed(await self._carry(batch)))
        finally:
            del self._lanes[lane]
            for pending in queue:  # only after an error in this module itself, or when the loop ends
                pending.future.cancel()

    async def _carry(self, batch: Sequence[_Pending]) -> Sequence[_Pending]:
        """Bring a batch to its end, whatever it takes; returns those that did not fit into it."""
        backoff = Backoff(self._random)
        retry_of = b""
        while batch := self._living(batch):
            attempt = _Attempt(self._database, batch, self._limits)
            try:
                left = await attempt.run(retry_of)
            except grpc.aio.AioRpcError as error:
                await attempt.abandon()
                if classify(error) is Failure.PERMANENT:
                    await self._one_by_one(batch, error)
                    return []
                self._metrics.retried(error.code())
                retry_of = attempt.transaction
                await backoff.wait(max(pending.until for pending in batch))
            except Exception as error:  # noqa: BLE001  e.g. a value that has no encoding: it must not take the lane down
                await attempt.abandon()
                await self._one_by_one(batch, error)
                return []
            else:
                self._settle(attempt)
                await attempt.abandon()
                return left
        return []

    async def _one_by_one(self, batch: Sequence[_Pending], error: Exception) -> None:
        """One bad write must not fail its neighbours: each tries alone, and who is alone has failed."""
        if len(batch) == 1:
            self._answer(batch[0], _Refused(error), "failed")
            return
        for pending in batch:
            await self._carry([pending])

    def _living(self, batch: Sequence[_Pending]) -> list[_Pending]:
        """Without those whose caller has gone away or whose deadline has passed."""
        now = asyncio.get_running_loop().time()
        for pending in batch:
            if pending.until <= now:
                error = Unavailable("The database is too busy. Please try the same request again.")
                self._answer(pending, _Refused(error), "expired")
        return [pending for pending in batch if not pending.future.done()]

    def _settle(self, attempt: "_Attempt") -> None:
        if attempt.committed:
            self._metrics.committed(len(attempt.outcomes), len(attempt.committed))
            for listener in self.listeners:
                listener(attempt.committed)
        for pending, outcome in attempt.outcomes:
            refused = isinstance(outcome, _Refused)
            self._answer(pending, outcome, "refused" if refused else "ok")

    def _answer(self, pending: _Pending, outcome: object, label: str) -> None:
        self._metrics.finished(pending.name, label, pending.attempts, time.perf_counter() - pending.since)
        if pending.future.done():  # the caller has gone away; what was written stays written
            return
        if isinstance(outcome, _Refused):
            pending.future.set_exception(outcome.error)
        else:
            pending.future.set_result(outcome)


class _Attempt:
    """One transaction for one batch: read, decide, commit."""

    def __init__(self, database: Database, batch: Sequence[_Pending], limits: Limits) -> None:
        self._database = database
        self._batch = batch
        self._limits = limits
        self._open = False
        self.transaction = b""
        self.outcomes: list[tuple[_Pending, object]] = []
        self.committed: Sequence[Write] = ()

    async def run(self, retry_of: bytes) -> Sequence[_Pending]:
        """Returns the operations for which the commit had no room any more."""
        paths = list(dict.fromkeys(path for pending in self._batch for path in pending.reads))
        begun = await self._database.begin(paths, retry_of=retry_of, timeout=self._timeout())
        self.transaction, self._open = begun.transaction, True
        decided = Batch(begun.documents)
        left = self._decide(decided)
        if writes := decided.writes():
            await self._database.commit(writes, transaction=self.transaction, timeout=self._timeout())
            self.committed, self._open = writes, False
        return left

    def _decide(self, decided: Batch) -> Sequence[_Pending]:
        for done, pending in enumerate(self._batch):
            if done and len(decided) >= self._limits.documents:
                return self._batch[done:]
            pending.attempts += 1
            self.outcomes.append((pending, _decision(pending, decided)))
        return ()

    def _timeout(self) -> float:
        until = max(pending.until for pending in self._batch)
        return max(0.05, min(self._limits.attempt, until - asyncio.get_running_loop().time()))

    async def abandon(self) -> None:
        """Let go of the transaction's locks, which a failed or needless commit has left behind."""
        if self._open:
            self._open = False
            with contextlib.suppress(grpc.aio.AioRpcError):  # it may be gone already, and it expires by itself
                await self._database.rollback(self.transaction, timeout=_ROLLBACK_TIMEOUT)


def _decision(pending: _Pending, decided: Batch) -> object:
    try:
        decision = pending.operation.decide(decided.view(pending.reads))
    except Refusal as refusal:
        return _Refused(refusal)
    except Exception as error:  # noqa: BLE001  a fault in one decision is its caller's alone
        _log.exception("decide_failed", operation=pending.name)
        return _Refused(error)
    decided.add(decision.writes)
    return decision.result
