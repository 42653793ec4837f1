"""Durable background work: a job is a document, written in the commit that wants the work done.

``enqueue`` gives the write; ``shared.worker`` claims and runs. A claim is a lease: while it lasts nobody else runs the
job, and every write a run makes is fenced by the lease's epoch, so a run that was overtaken can write nothing.
A job runs at least once; its effects on third parties need an idempotency key, its effects on documents are written by
``Finish`` and happen once.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from shared.documents import AdminAlert, Job
from shared.errors import Conflict
from shared.firestore import paths
from shared.operations import Decision, Documents, Merge, Put, Value, Write

SHARDS: Final = 16
LEASE: Final = timedelta(seconds=30)
KEPT: Final = timedelta(days=30)
"""How long a finished job stays for whoever asks what happened."""


class LeaseLost(Conflict):
    """Another worker has taken the job over."""

    code = "lease_lost"


def enqueue(job_id: str, kind: str, payload: Mapping[str, Value], *, now: datetime, due: datetime | None = None) -> Put:
    """The write that asks for a job. The id should follow from what it is for, so that asking twice is one job."""
    job = Job(
        path=paths.job(job_id),
        kind=kind,
        payload=payload,
        shard=zlib.crc32(job_id.encode()) % SHARDS,
        next_at=due or now,
        created_at=now,
    )
    return Put(job.path, job.fields())


@dataclass(frozen=True, slots=True)
class Retries:
    """When a failed run is tried again, and when no more."""

    attempts: int = 10
    first: timedelta = timedelta(seconds=5)
    ceiling: timedelta = timedelta(minutes=15)

    def delay(self, attempts: int) -> timedelta:
        return min(self.ceiling, self.first * 2.0 ** (attempts - 1))


@dataclass(frozen=True, slots=True)
class _OnJob:
    path: str
    shard: int

    @property
    def lane(self) -> str:
        return f"jobs/{self.shard}"

    def reads(self) -> Sequence[str]:
        return (self.path,)


@dataclass(frozen=True, slots=True)
class Claim(_OnJob):
    """Take the lease if the job is due. ``owner`` is new for every claim, which makes it its own marker."""

    owner: str
    now: datetime
    retries: Retries

    def decide(self, docs: Documents) -> Decision[Job | None]:
        job = Job.of(docs[self.path])
        if job is None or job.next_at is None:
            return Decision(None)
        if job.state == "running" and job.lease_owner == self.owner:
            return Decision(job)
        if job.next_at > self.now:
            return Decision(None)
        if job.attempts >= self.retries.attempts:
            return Decision(None, dead(job, job.last_error or "its workers kept disappearing", self.now))
        until = self.now + LEASE
        claimed = replace(
            job,
            state="running",
            lease_owner=self.owner,
            lease_until=until,
            next_at=until,
            epoch=job.epoch + 1,
            attempts=job.attempts + 1,
        )
        return Decision(claimed, (Put(job.path, claimed.fields()),))


@dataclass(frozen=True, slots=True)
class _UnderLease(_OnJob):
    epoch: int
    now: datetime

    def held(self, docs: Documents) -> Job:
        """The job while this run's lease is the latest one; LeaseLost when it is not."""
        job = Job.of(docs[self.path])
        if job is None or job.epoch != self.epoch:
            raise LeaseLost(f"{self.path} is another worker's now.")
        return job


@dataclass(frozen=True, slots=True)
class Checkpoint(_UnderLease):
    """Keep the lease, and remember how far the run came, unless the cursor is None."""

    cursor: str | None = None

    def decide(self, docs: Documents) -> Decision[None]:
        job = self.held(docs)
        until = self.now + LEASE
        cursor = self.cursor or job.cursor
        return Decision(None, (Merge(job.path, Job.patch(cursor=cursor, lease_until=until, next_at=until)),))


@dataclass(frozen=True, slots=True)
class Finish(_UnderLease):
    """The job is done, and these are its effects."""

    effects: Sequence[Write]

    def decide(self, docs: Documents) -> Decision[None]:
        job = self.held(docs)
        if job.state == "done":
            return Decision(None)
        closed = Job.patch(state="done", next_at=None, lease_until=None, expires_at=self.now + KEPT)
        return Decision(None, (Merge(job.path, closed), *self.effects))


@dataclass(frozen=True, slots=True)
class Fail(_UnderLease):
    """The run failed: try again later, or give up with an alert. ``jitter`` is from 0 to 1."""

    error: str
    retries: Retries
    jitter: float

    def decide(self, docs: Documents) -> Decision[bool]:
        """Whether it was the last attempt."""
        job = self.held(docs)
        if job.state != "running":
            return Decision(job.state == "dead")
        if job.attempts >= self.retries.attempts:
            return Decision(True, dead(job, self.error, self.now))
        due = self.now + self.retries.delay(job.attempts) * (0.5 + self.jitter / 2)
        waiting = Job.patch(state="ready", next_at=due, lease_until=None, last_error=self.error)
        return Decision(False, (Merge(job.path, waiting),))


def dead(job: Job, error: str, now: datetime) -> Sequence[Write]:
    """Give up on a job, and say so where a person looks."""
    alert = AdminAlert(
        path=paths.admin_alert(f"job-{job.id}"),
        kind="job_dead",
        message=f"The background job {job.kind} failed {job.attempts} times and is not tried again: {error}",
        subject=job.path,
        created_at=now,
    )
    given_up = Job.patch(state="dead", next_at=None, lease_until=None, last_error=error)
    return (Merge(job.path, given_up), Put(alert.path, alert.fields()))
