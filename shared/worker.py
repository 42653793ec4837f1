"""Runs jobs: wakes at once for those this process enqueued, and looks around for those that others left behind."""

import asyncio
import contextlib
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared import logs
from shared.documents import Job
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query
from shared.jobs import LEASE, SHARDS, Checkpoint, Claim, Fail, Finish, LeaseLost, Retries
from shared.operations import Put, Write

_log: Final = structlog.get_logger()
_PAGE: Final = 50
_DRAIN_SECONDS: Final = 10.0
_PATIENCE: Final = timedelta(minutes=5)
"""How long a run may go on without a checkpoint of its own."""
_KEPT_ERROR: Final = 500


class Run:
    """One claimed job, as its handler sees it."""

    def __init__(self, job: Job, committer: Committer, patience: timedelta) -> None:
        self.job = job
        self.committer = committer
        self._patience = patience
        self.timeout = asyncio.timeout(patience.total_seconds())

    @property
    def idempotency_key(self) -> str:
        """The same for every run of the job."""
        return self.job.id

    async def checkpoint(self, cursor: str | None = None) -> None:
        """Say that there is progress, and remember the cursor if one is given.

        LeaseLost if the job is another worker's now.
        """
        await self.keep(cursor)
        self.timeout.reschedule(asyncio.get_running_loop().time() + self._patience.total_seconds())

    async def keep(self, cursor: str | None = None) -> None:
        """Keep the lease."""
        job = self.job
        await self.committer.run(Checkpoint(job.path, job.shard, job.lease_owner or "", datetime.now(UTC), cursor))


JobHandler = Callable[[Run], Awaitable[Sequence[Write]]]
"""Does the work and returns its effects on documents, which are written when the job is closed."""


class JobMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.runs = Counter("jobs_runs", "Runs of jobs, by how they ended", ["kind", "outcome"], registry=registry)
        self.seconds = Histogram("jobs_run_seconds", "Duration of one run", ["kind"], registry=registry)
        self._overdue = Gauge(
            "jobs_overdue_seconds", "By how much the oldest due job of all shards was late when last seen",
            registry=registry,
        )  # fmt: skip
        self._late = [0.0] * SHARDS

    def looked(self, shard: int, late: float) -> None:
        """The oldest due job of a shard is late by so many seconds."""
        self._late[shard] = late
        self._overdue.set(max(self._late))


class Worker:
    """Runs the jobs of the given kinds; ``poll`` is how long one look around all shards takes."""

    def __init__(
        self,
        database: Database,
        committer: Committer,
        handlers: Mapping[str, JobHandler],
        metrics: JobMetrics,
        *,
        retries: Retries | None = None,
        poll: timedelta = timedelta(seconds=15),
        lease: timedelta = LEASE,
        patience: timedelta = _PATIENCE,
        parallel: int = 16,
        rng: random.Random | None = None,
    ) -> None:
        self._database = database
        self._committer = committer
        self._handlers = handlers
        self._metrics = metrics
        self._retries = retries or Retries()
        self._pause = poll.total_seconds() / SHARDS
        self._beat = lease.total_seconds() / 3
        self._patience = patience
        self._parallel = parallel
        self._random = rng or random.Random()  # noqa: S311  jitter, not a secret
        self._name = secrets.token_hex(4)
        self._due: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
        self._known: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        committer.listeners.append(self.notice)

    def notice(self, writes: Sequence[Write]) -> None:
        """Hear of a commit: a job in it that is due is taken up at once."""
        now = datetime.now(UTC)
        for write in writes:
            if isinstance(write, Put) and write.path.startswith("jobs/"):
                job = Job.of_fields(write.fields, path=write.path)
                if job.state == "ready" and job.kind in self._handlers and job.next_at and job.next_at <= now:
                    self._take_up(job)

    async def idle(self) -> None:
        """Until every job this worker knows of has been attended to."""
        await self._idle.wait()

    async def serve(self) -> None:
        """Work until cancelled; then let the runs under way finish, within a bound. The others wait for a successor."""
        runners = [asyncio.create_task(self._work(), name=f"worker {n}") for n in range(self._parallel)]
        try:
            await self._look_around()
        finally:
            self._committer.listeners.remove(self.notice)
            self._forget_those_waiting()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DRAIN_SECONDS):
                    await self.idle()
            for runner in runners:
                runner.cancel()
            await asyncio.gather(*runners, return_exceptions=True)

    def _take_up(self, job: Job) -> None:
        if job.path not in self._known:
            self._known.add(job.path)
            self._idle.clear()
            self._due.put_nowait((job.path, job.shard))

    def _forget_those_waiting(self) -> None:
        while not self._due.empty():
            self._forget(self._due.get_nowait()[0])

    def _forget(self, path: str) -> None:
        self._known.discard(path)
        if not self._known:
            self._idle.set()

    async def _look_around(self) -> None:
        shard = self._random.randrange(SHARDS)
        while True:
            try:
                await self._look_at(shard)
            except Exception:  # noqa: BLE001  the database may be away; the next look is soon
                _log.exception("job_poll_failed")
            shard = (shard + 1) % SHARDS
            await asyncio.sleep(self._pause)

    async def _look_at(self, shard: int) -> None:
        now = datetime.now(UTC)
        name = Job.stored_name
        due = Query(
            "jobs",
            where=(
                (name("shard"), "==", shard),
                (name("kind"), "in", sorted(self._handlers)),
                (name("next_at"), "<=", now),
            ),
            order_by=(name("next_at"),),
            limit=_PAGE,
        )
        jobs = [job for document in await self._database.query(due) if (job := Job.of(document))]
        late = [(now - job.next_at).total_seconds() for job in jobs if job.next_at]
        self._metrics.looked(shard, max(late, default=0.0))
        for job in jobs:
            self._take_up(job)

    async def _work(self) -> None:
        while True:
            path, shard = await self._due.get()
            try:
                await self._attend(path, shard)
            except Exception:  # noqa: BLE001  claiming or closing failed: the lease runs out and the job is found again
                _log.exception("job_interrupted", job=path)
            finally:
                self._forget(path)

    async def _attend(self, path: str, shard: int) -> None:
        owner = f"{self._name}-{secrets.token_hex(8)}"
        loop = asyncio.get_running_loop()
        since = loop.time()
        job = await self._committer.run(Claim(path, shard, owner, datetime.now(UTC), self._retries))
        if job is None:
            return
        outcome = "dead"
        if job.state != "dead":
            with self._metrics.seconds.labels(job.kind).time():
                outcome = await self._run(job, fresh=loop.time() - since < self._beat)
        self._metrics.runs.labels(job.kind, outcome).inc()

    async def _run(self, job: Job, *, fresh: bool) -> str:
        try:
            effects = await self._under_lease(job, fresh=fresh)
            finish = Finish(job.path, job.shard, job.lease_owner or "", datetime.now(UTC), effects)
            await self._committer.run(finish)
        except LeaseLost:
            _log.warning("job_lease_lost", job=job.id, kind=job.kind)
            return "lease_lost"
        except Exception as error:  # noqa: BLE001  whatever a handler raises is a failed run, to be tried again
            return await self._failed(job, error)
        return "done"

    async def _failed(self, job: Job, error: Exception) -> str:
        _log.warning("job_failed", job=job.id, kind=job.kind, attempt=job.attempts, exc_info=error)
        said = logs.scrub(f"{type(error).__name__}: {error}")[:_KEPT_ERROR]
        owner, jitter = job.lease_owner or "", self._random.random()
        failure = Fail(job.path, job.shard, owner, datetime.now(UTC), said, self._retries, jitter)
        return "dead" if await self._committer.run(failure) else "failed"

    async def _under_lease(self, job: Job, *, fresh: bool) -> Sequence[Write]:
        """Run the handler while a heartbeat keeps the lease; a lost lease or too long a silence ends the run."""
        run = Run(job, self._committer, self._patience)
        if not fresh:
            await run.keep()
        work = asyncio.ensure_future(self._handlers[job.kind](run))
        heartbeat = asyncio.create_task(self._keep(run), name=f"lease {job.id}")
        try:
            async with run.timeout:
                await asyncio.wait({work, heartbeat}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                heartbeat.result()
            if work.cancelled():
                raise RuntimeError("the handler was cancelled")
            return work.result()
        finally:
            work.cancel()
            heartbeat.cancel()
            await asyncio.gather(work, heartbeat, return_exceptions=True)

    async def _keep(self, run: Run) -> None:
        while True:
            await asyncio.sleep(self._beat)
            await run.keep()
