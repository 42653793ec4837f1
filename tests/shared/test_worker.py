"""Workers against the embedded Firestore, over the wire."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.documents import Job
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.metrics import CommitterMetrics
from shared.jobs import Claim, Retries, enqueue
from shared.operations import Decision, Documents, Increment, Merge, Value, Write
from shared.worker import JobHandler, JobMetrics, Run, Worker
from tests.support.shop import put, write

COUNTED = Merge("effects/e", {"n": Increment(1)})
QUICK = Retries(attempts=3, first=timedelta(milliseconds=20))


@dataclass(frozen=True, slots=True)
class Ask:
    """Enqueues a job in a commit of its own."""

    id: str
    kind: str = "work"
    payload: dict[str, Value] = field(default_factory=dict)

    @property
    def lane(self) -> str:
        return self.id

    def reads(self) -> Sequence[str]:
        return (paths.job(self.id),)

    def decide(self, docs: Documents) -> Decision[bool]:
        known = docs[paths.job(self.id)].exists
        return Decision(known, () if known else (enqueue(self.id, self.kind, self.payload, now=datetime.now(UTC)),))


class Replica:
    """One process's committer and worker."""

    def __init__(self, database: Database, handlers: dict[str, JobHandler], **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.committer = Committer(database, CommitterMetrics(self.registry))
        settings = {"poll": timedelta(seconds=0.2), "retries": QUICK, **options}
        self.worker = Worker(database, self.committer, handlers, JobMetrics(self.registry), **settings)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Replica"]:
        task = asyncio.create_task(self.worker.serve())
        try:
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self.committer.close()

    def runs(self, outcome: str) -> float:
        return self.registry.get_sample_value("jobs_runs_total", {"kind": "work", "outcome": outcome}) or 0.0


async def job_of(database: Database, job_id: str) -> Job:
    job = Job.of(await database.get(paths.job(job_id)))
    assert job is not None
    return job


async def until(database: Database, job_id: str, state: str) -> Job:
    async with asyncio.timeout(20):
        while (job := await job_of(database, job_id)).state != state:
            await asyncio.sleep(0.01)
        return job


async def effects(database: Database) -> int:
    value: Any = (await database.get("effects/e")).fields
    return int(value["n"]) if value else 0


async def works(_run: Run) -> Sequence[Write]:
    return (COUNTED,)


def failing(times: int) -> JobHandler:
    left = [times]

    async def handler(_run: Run) -> Sequence[Write]:
        if left[0]:
            left[0] -= 1
            raise ConnectionError("not today, ann@example.com")
        return (COUNTED,)

    return handler


async def test_a_job_of_this_process_runs_at_once(database: Database) -> None:
    async with Replica(database, {"work": works}, poll=timedelta(hours=1)).serving() as replica:
        await replica.committer.run(Ask("j"))
        await until(database, "j", "done")
    assert await effects(database) == 1
    assert replica.runs("done") == 1


async def test_a_job_that_others_left_behind_is_found(database: Database) -> None:
    job = enqueue("left", "work", {}, now=datetime.now(UTC))
    await write(database, job)
    async with Replica(database, {"work": works}).serving():
        await until(database, "left", "done")
    assert await effects(database) == 1


async def test_five_replicas_run_a_hundred_jobs_once_each(database: Database, firestore: EmbeddedFirestore) -> None:
    firestore.faults.set("Commit", Fault(aborted=0.05, lost_reply=0.05))
    now = datetime.now(UTC)
    await write(database, *(enqueue(f"j{n}", "work", {}, now=now) for n in range(100)))
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(Replica(database, {"work": works}).serving())
        for n in range(100):
            await until(database, f"j{n}", "done")
    assert await effects(database) == 100


async def test_a_failed_run_is_tried_again(database: Database) -> None:
    async with Replica(database, {"work": failing(2)}).serving() as replica:
        await replica.committer.run(Ask("j"))
        job = await until(database, "j", "done")
    assert job.attempts == 3
    assert await effects(database) == 1


async def test_a_job_that_keeps_failing_dies_with_an_alert_that_names_nobody(database: Database) -> None:
    async with Replica(database, {"work": failing(99)}).serving() as replica:
        await replica.committer.run(Ask("j"))
        job = await until(database, "j", "dead")
        await replica.worker.idle()
    assert replica.runs("dead") == 1
    assert "ConnectionError" in (job.last_error or "")
    assert "ann@example.com" not in (job.last_error or "")
    assert (await database.get(paths.admin_alert("job-j"))).exists


async def test_a_job_whose_workers_disappeared_is_counted_as_dead(database: Database) -> None:
    job = Job(paths.job("j"), "work", attempts=3, state="running", next_at=datetime.now(UTC))
    await put(database, job.path, job.fields())
    async with Replica(database, {"work": works}).serving() as replica:
        await until(database, "j", "dead")
        await replica.worker.idle()
    assert replica.runs("dead") == 1


def hung(_started: asyncio.Event) -> JobHandler:
    async def handler(_run: Run) -> Sequence[Write]:
        _started.set()
        await asyncio.Event().wait()
        return ()

    return handler


async def test_a_handler_that_never_comes_back_is_a_failed_run(database: Database) -> None:
    patience = timedelta(seconds=0.1)
    handlers = {"work": hung(asyncio.Event()), "good": works}
    async with Replica(database, handlers, patience=patience, parallel=1).serving() as replica:
        await replica.committer.run(Ask("j"))
        await replica.committer.run(Ask("g", "good"))
        await until(database, "g", "done")
        job = await until(database, "j", "dead")
    assert "TimeoutError" in (job.last_error or "")


async def test_a_handler_that_shows_progress_may_take_its_time(database: Database) -> None:
    async def slow(run: Run) -> Sequence[Write]:
        for page in range(8):
            await asyncio.sleep(0.05)
            await run.checkpoint(str(page))
        return (COUNTED,)

    async with Replica(database, {"work": slow}, patience=timedelta(seconds=0.3)).serving() as replica:
        await replica.committer.run(Ask("j"))
        job = await until(database, "j", "done")
    assert (job.attempts, job.cursor) == (1, "7")


async def test_a_handler_that_cancels_itself_takes_no_worker_with_it(database: Database) -> None:
    async def cancelled(_run: Run) -> Sequence[Write]:
        raise asyncio.CancelledError

    handlers: dict[str, JobHandler] = {"work": cancelled, "good": works}
    async with Replica(database, handlers, parallel=1).serving() as replica:
        await replica.committer.run(Ask("j"))
        await until(database, "j", "dead")
        await replica.committer.run(Ask("g", "good"))
        await until(database, "g", "done")


async def test_a_heartbeat_keeps_the_lease_of_a_long_run(database: Database) -> None:
    beats = asyncio.Event()

    async def long(run: Run) -> Sequence[Write]:
        before = (await job_of(database, "j")).lease_until
        while (await job_of(database, "j")).lease_until == before:
            await asyncio.sleep(0.01)
        beats.set()
        return ()

    async with Replica(database, {"work": long}, lease=timedelta(seconds=0.15)).serving() as replica:
        await replica.committer.run(Ask("j"))
        await until(database, "j", "done")
    assert beats.is_set()


async def test_a_run_whose_lease_is_lost_ends_and_writes_nothing(database: Database) -> None:
    started = asyncio.Event()
    ended = asyncio.Event()

    async def overtaken(_run: Run) -> Sequence[Write]:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return (COUNTED,)

    async with Replica(database, {"work": overtaken}, lease=timedelta(seconds=0.15)).serving() as replica:
        await replica.committer.run(Ask("j"))
        await started.wait()
        job = await job_of(database, "j")
        later = datetime.now(UTC) + timedelta(minutes=5)
        thief = await replica.committer.run(Claim(job.path, job.shard, "thief", later, QUICK))
        assert thief is not None
        await asyncio.wait_for(ended.wait(), 10)
        await replica.worker.idle()
        assert replica.runs("lease_lost") == 1
    assert (await job_of(database, "j")).lease_owner == "thief"
    assert await effects(database) == 0


async def test_stopping_finishes_what_runs_and_leaves_the_rest_to_a_successor(database: Database) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    async def slow(_run: Run) -> Sequence[Write]:
        started.set()
        await go.wait()
        return (COUNTED,)

    replica = Replica(database, {"work": slow}, parallel=1)
    serving = asyncio.create_task(replica.worker.serve())
    for n in range(3):
        await replica.committer.run(Ask(f"j{n}"))
    await started.wait()
    serving.cancel()
    await asyncio.sleep(0)
    go.set()
    with suppress(asyncio.CancelledError):
        await serving
    await replica.committer.close()
    states = [(await job_of(database, f"j{n}")).state for n in range(3)]
    assert sorted(states) == ["done", "ready", "ready"]
    assert await effects(database) == 1
    async with Replica(database, {"work": works}).serving():
        for n in range(3):
            await until(database, f"j{n}", "done")
    assert await effects(database) == 3


def test_how_late_jobs_are_is_measured_over_all_shards() -> None:
    registry = CollectorRegistry()
    metrics = JobMetrics(registry)
    metrics.looked(5, 3600.0)
    for shard in (6, 7, 8):
        metrics.looked(shard, 1.0)
    assert registry.get_sample_value("jobs_overdue_seconds") == 3600
    metrics.looked(5, 0.0)
    assert registry.get_sample_value("jobs_overdue_seconds") == 1


@pytest.mark.parametrize("method", ["Commit", "RunQuery"])
async def test_a_database_that_was_away_stops_no_worker(
    database: Database, firestore: EmbeddedFirestore, method: str
) -> None:
    async with Replica(database, {"work": works}).serving():
        firestore.faults.set(method, Fault(unavailable=1.0))
        await asyncio.sleep(0.2)
        firestore.faults.clear()
        await write(database, enqueue("j", "work", {}, now=datetime.now(UTC)))
        await until(database, "j", "done")
