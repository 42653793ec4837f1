"""Runs operations: one read that begins the transaction, one commit, and many operations to a commit under load.

An operation that meets an idle lane goes at once. Those that arrive while its lane has a commit in flight form the
next batch, read the union of their documents in one go, decide one after the other on what the earlier ones left, and
share the commit. So a hot document is written as often as the network allows, but by any number of requests.
"""

import asyncio
import contextlib
import contextvars
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
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
_ROLLBACK_TIMEOUT: Final = 5.0
_SUSPICIONS: Final = 2
"""How often a batch may fail in a way that one of its writes may be to blame for, before each tries alone."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one commit carries, and how long calls may take (seconds)."""

    operations: int = 40
    documents: int = 100
    attempt: float = 5.0
    deadline: float = 15.0


@dataclass(slots=True, eq=False)
class _Pending:
    """An operation that somebody waits for. Its decisions run in the context of whoever asked."""

    operation: Operation[Any]
    reads: tuple[str, ...]
    until: float
    future: asyncio.Future[Any]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    since: float = field(default_factory=time.perf_counter)
    attempts: int = 0

    @property
    def name(self) -> str:
        return type(self.operation).__name__

    def decide(self, decided: Batch) -> object:
        """The result, whose writes are added to the batch, or why there is none."""
        try:
            decision = self.context.run(self.operation.decide, decided.view(self.reads))
        except Refusal as refusal:
            return _Refused(refusal)
        except StopIteration as error:  # which a future cannot carry
            return _Refused(RuntimeError(f"{self.name} ran out of something: {error!r}"))
        except Exception as error:  # noqa: BLE001  a fault in one decision is its caller's alone
            self.context.run(_log.exception, "decide_failed", operation=self.name)
            return _Refused(error)
        decided.add(decision.writes)
        return decision.result


@dataclass(frozen=True, slots=True)
class _Refused:
    error: Exception


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
        until = loop.time() + (self._limits.deadline if deadline is None else deadline)
        pending = _Pending(operation, reads, until, loop.create_future())
        expiry = loop.call_at(until, self._expire, pending)
        self._enqueue(operation.lane, pending)
        try:
            return await pending.future  # type: ignore[no-any-return]  # the future carries the operation's own T
        finally:
            expiry.cancel()

    async def close(self) -> None:
        """Wait for everything in flight."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _enqueue(self, lane: str, pending: _Pending) -> None:
        if lane in self._lanes:
            self._lanes[lane].append(pending)
            return
        self._lanes[lane] = deque([pending])
        self._spawn(self._drain(lane), f"lane {lane}")

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """A task of nobody's request, so what it logs must not carry one's id."""
        task = asyncio.create_task(work, name=name, context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self, lane: str) -> None:
        queue = self._lanes[lane]
        batch: Sequence[_Pending] = ()
        try:
            while queue:
                batch = [queue.popleft() for _ in range(min(len(queue), self._limits.operations))]
                queue.extendleft(reversed(await self._carry(batch)))
        except Exception as error:  # noqa: BLE001  a fault of ours: nobody may be left waiting
            _log.exception("lane_failed", lane=lane)
            for pending in (*batch, *queue):
                self._answer(pending, _Refused(error), "failed")
        finally:
            del self._lanes[lane]
            for pending in (*batch, *queue):  # those left when the loop ends
                pending.future.cancel()

    async def _carry(self, batch: Sequence[_Pending], *, suspected: bool = False) -> Sequence[_Pending]:
        """Bring a batch to its end, whatever it takes; returns those that did not fit into it.

        ``suspected``: it is one of a batch that failed as if one of its writes were to blame.
        """
        backoff, suspicions, retry_of = Backoff(self._random), 0, b""
        while batch := [pending for pending in batch if not pending.future.done()]:
            attempt = _Attempt(self._database, batch, self._limits)
            error = await self._tried(attempt, retry_of)
            if error is None:
                self._settle(attempt)
                return attempt.left
            failure = classify(error) if isinstance(error, grpc.aio.AioRpcError) else Failure.PERMANENT
            suspicions += failure is Failure.SUSPICIOUS
            if failure is Failure.PERMANENT or (suspicions >= _SUSPICIONS and (suspected or len(batch) > 1)):
                await self._one_by_one(batch, error)
                return ()
            self._metrics.retried(failure.value)
            retry_of = attempt.transaction
            await backoff.wait(max(pending.until for pending in batch))
        return ()

    async def _tried(self, attempt: "_Attempt", retry_of: bytes) -> Exception | None:
        """Why the attempt failed. What it has left open is rolled back, and nobody has to wait for that."""
        try:
            await attempt.run(retry_of)
        except Exception as error:  # noqa: BLE001  also a value without an encoding must not take the lane down
            return error
        else:
            return None
        finally:
            if attempt.open:
                self._spawn(attempt.abandon(), "rollback")

    async def _one_by_one(self, batch: Sequence[_Pending], error: Exception) -> None:
        """One bad write must not fail its neighbours: each tries alone, and who is alone has failed."""
        if len(batch) == 1:
            self._answer(batch[0], _Refused(error), "failed")
            return
        for pending in batch:
            await self._carry([pending], suspected=True)

    def _settle(self, attempt: "_Attempt") -> None:
        if attempt.committed:
            self._metrics.committed(len(attempt.outcomes), len(attempt.committed))
            for listener in self.listeners:
                try:
                    listener(attempt.committed)
                except Exception:  # noqa: BLE001  what has happened has happened, whatever a listener makes of it
                    _log.exception("listener_failed")
        for pending, outcome in attempt.outcomes:
            self._answer(pending, outcome, "refused" if isinstance(outcome, _Refused) else "ok")

    def _expire(self, pending: _Pending) -> None:
        error = Unavailable("The database is too busy. Please try the same request again.")
        self._answer(pending, _Refused(error), "expired")

    def _answer(self, pending: _Pending, outcome: object, label: str) -> None:
        if pending.future.done():  # the caller has gone away; what was written stays written
            return
        self._metrics.finished(pending.name, label, pending.attempts, time.perf_counter() - pending.since)
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
        self.open = False
        self.transaction = b""
        self.outcomes: list[tuple[_Pending, object]] = []
        self.committed: Sequence[Write] = ()
        self.left: Sequence[_Pending] = ()
        """The operations for which the commit had no room any more."""

    async def run(self, retry_of: bytes) -> None:
        paths = list(dict.fromkeys(path for pending in self._batch for path in pending.reads))
        documents = await self._database.begin(paths, retry_of=retry_of, timeout=self._timeout(), opened=self._opened)
        if not self.open:
            raise RuntimeError("The server read the documents but began no transaction.")
        decided = Batch(documents)
        self.left = self._decide(decided)
        if writes := decided.writes():
            await self._database.commit(writes, transaction=self.transaction, timeout=self._timeout())
            self.committed, self.open = writes, False

    def _opened(self, transaction: bytes) -> None:
        self.transaction, self.open = transaction, True

    def _decide(self, decided: Batch) -> Sequence[_Pending]:
        for done, pending in enumerate(self._batch):
            if done and len(decided) >= self._limits.documents:
                return self._batch[done:]
            pending.attempts += 1
            self.outcomes.append((pending, pending.decide(decided)))
        return ()

    def _timeout(self) -> float:
        until = max(pending.until for pending in self._batch)
        return max(0.05, min(self._limits.attempt, until - asyncio.get_running_loop().time()))

    async def abandon(self) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):  # it may be gone already, and it expires by itself
            await self._database.rollback(self.transaction, timeout=_ROLLBACK_TIMEOUT)
