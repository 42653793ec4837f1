"""Durable background work: a job is a document, written in the commit that wants the work done.

``enqueue`` gives the write; ``shared.worker`` claims and runs. A claim is a lease: while it lasts nobody else runs the
job, and every write a run makes is fenced by it, so a run that was overtaken can write nothing. A job runs at least
once; its effects on third parties need an idempotency key, its effects on documents are written by ``Finish`` and
happen once.
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
GRACE: Final = timedelta(seconds=15)
"""How much longer than the lease others wait, because replicas' clocks differ."""
KEPT: Final = timedelta(days=30)
"""How long a finished job stays for whoever asks what happened."""
_DOUBLINGS: Final = 20


class LeaseLost(Conflict):
    """Another worker has taken the job over, or it was asked for anew."""

    code = "lease_lost"


def enqueue(job_id: str, kind: str, payload: Mapping[str, Value], *, now: datetime, due: datetime | None = None) -> Put:
    """The write that asks for a job. The id should follow from what it is for.

    Asking again for a job with the same id starts it anew; a run under way loses its lease then.
    """
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
        return min(self.ceiling, self.first * 2.0 ** min(attempts - 1, _DOUBLINGS))


@dataclass(frozen=True, slots=True)
class _OnJob:
    """``owner`` is new for every claim and cannot be guessed: it is what tells one lease from another."""

    path: str
    shard: int
    owner: str
    now: datetime

    @property
    def lane(self) -> str:
        return f"jobs/{self.shard}"

    def reads(self) -> Sequence[str]:
        return (self.path,)

    def mine(self, docs: Documents) -> Job:
        """The job, if this lease was its last one, whatever has become of it since; LeaseLost otherwise."""
        job = Job.of(docs[self.path])
        if job is None or job.lease_owner != self.owner:
            raise LeaseLost(f"{self.path} is another worker's now.")
        return job

    def leased(self) -> dict[str, datetime]:
        return {"lease_until": self.now + LEASE, "next_at": self.now + LEASE + GRACE}


@dataclass(frozen=True, slots=True)
class Claim(_OnJob):
    """Take the lease if the job is due. The owner is its own marker."""

    retries: Retries

    def decide(self, docs: Documents) -> Decision[Job | None]:
        """The job as it is claimed, or given up (``dead``); None if there is nothing to do."""
        job = Job.of(docs[self.path])
        if job is None or job.next_at is None or job.state not in {"ready", "running"}:
            return Decision(None)
        if job.lease_owner == self.owner:
            return Decision(job)
        if job.next_at > self.now:
            return Decision(None)
        if job.attempts >= self.retries.attempts:
            return Decision(replace(job, state="dead"), dead(job, job.last_error or _DISAPPEARED, self.now))
        claimed = replace(
            job,
            state="running",
            lease_owner=self.owner,
            epoch=job.epoch + 1,
            attempts=job.attempts + 1,
            lease_until=self.now + LEASE,
            next_at=self.now + LEASE + GRACE,
        )
        return Decision(claimed, (Put(job.path, claimed.fields()),))


_DISAPPEARED: Final = "its workers kept disappearing"


@dataclass(frozen=True, slots=True)
class Checkpoint(_OnJob):
    """Keep the lease, and remember how far the run came, unless the cursor is None. Progress forgives attempts."""

    cursor: str | None = None

    def decide(self, docs: Documents) -> Decision[None]:
        job = self.mine(docs)
        if job.state != "running":
            raise LeaseLost(f"{self.path} is {job.state}.")
        moved = self.cursor is not None and self.cursor != job.cursor
        progress = {"cursor": self.cursor, "attempts": 1} if moved else {}
        return Decision(None, (Merge(job.path, Job.patch(**self.leased(), **progress)),))


@dataclass(frozen=True, slots=True)
class Finish(_OnJob):
    """The job is done, and these are its effects."""

    effects: Sequence[Write]

    def decide(self, docs: Documents) -> Decision[None]:
        job = self.mine(docs)
        if job.state == "done":
            return Decision(None)
        if job.state != "running":
            raise LeaseLost(f"{self.path} is {job.state}.")
        closed = Job.patch(state="done", next_at=None, lease_until=None, expires_at=self.now + KEPT)
        return Decision(None, (Merge(job.path, closed), *self.effects))


@dataclass(frozen=True, slots=True)
class Fail(_OnJob):
    """The run failed: try again later, or give up with an alert. ``jitter`` is from 0 to 1."""

    error: str
    retries: Retries
    jitter: float

    def decide(self, docs: Documents) -> Decision[bool]:
        """Whether it was the last attempt."""
        job = self.mine(docs)
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
