"""The life of a job as decisions, without a database."""

from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from shared.documents import Job
from shared.firestore import paths
from shared.jobs import GRACE, LEASE, Checkpoint, Claim, Fail, Finish, LeaseLost, Retries, enqueue
from shared.operations import Batch, Document, Operation, Put, Write

T = TypeVar("T")
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
RETRIES = Retries(attempts=3)
EFFECT = Put("effects/e", {"done": True})


class World:
    """One job and what it has done, changed by operations as the committer would."""

    def __init__(self) -> None:
        self.documents: dict[str, Document] = {}
        self.write(enqueue("j", "mail", {"to": "ann"}, now=NOW))

    def write(self, *writes: Write) -> None:
        batch = Batch({write.path: self.document(write.path) for write in writes})
        batch.add(writes)
        for write in batch.writes():
            self.documents[write.path] = batch.view([write.path])[write.path]

    def document(self, path: str) -> Document:
        return self.documents.get(path, Document(path, None))

    def run(self, operation: Operation[T]) -> T:
        batch = Batch({path: self.document(path) for path in operation.reads()})
        decision = operation.decide(batch.view(operation.reads()))
        self.write(*decision.writes)
        return decision.result

    @property
    def job(self) -> Job:
        job = Job.of(self.document(paths.job("j")))
        assert job is not None
        return job

    def claim(self, owner: str, now: datetime = NOW) -> Job | None:
        return self.run(Claim(self.job.path, self.job.shard, owner, now, RETRIES))

    def finish(self, owner: str, now: datetime = NOW) -> None:
        self.run(Finish(self.job.path, self.job.shard, owner, now, (EFFECT,)))

    def fail(self, owner: str, now: datetime = NOW) -> bool:
        return self.run(Fail(self.job.path, self.job.shard, owner, now, "broken", RETRIES, 1.0))

    def checkpoint(self, owner: str, cursor: str | None = None, now: datetime = NOW) -> None:
        self.run(Checkpoint(self.job.path, self.job.shard, owner, now, cursor))


@pytest.fixture
def world() -> World:
    return World()


def test_a_job_is_claimed_run_and_done_once(world: World) -> None:
    claimed = world.claim("a")
    assert claimed is not None
    assert (claimed.state, claimed.attempts, claimed.epoch) == ("running", 1, 1)
    world.finish("a")
    assert world.job.state == "done"
    assert world.job.next_at is None
    assert world.document("effects/e").exists
    assert world.claim("b", NOW + timedelta(days=1)) is None


def test_a_claim_whose_reply_was_lost_is_the_same_claim(world: World) -> None:
    assert world.claim("a") == world.claim("a")
    assert world.job.attempts == 1


def test_nobody_else_claims_a_job_while_its_lease_lasts(world: World) -> None:
    world.claim("a")
    assert world.claim("b", NOW + LEASE) is None
    assert world.claim("b", NOW + LEASE + GRACE - timedelta(seconds=1)) is None
    taken = world.claim("b", NOW + LEASE + GRACE)
    assert taken is not None
    assert (taken.lease_owner, taken.attempts, taken.epoch) == ("b", 2, 2)


def test_a_job_is_not_claimed_before_it_is_due(world: World) -> None:
    world.write(enqueue("j", "mail", {}, now=NOW, due=NOW + timedelta(hours=1)))
    assert world.claim("a") is None
    assert world.claim("a", NOW + timedelta(hours=1)) is not None


def test_a_run_that_was_overtaken_can_write_nothing(world: World) -> None:
    world.claim("a")
    world.claim("b", NOW + LEASE + GRACE)
    for act in (world.finish, world.fail, world.checkpoint):
        with pytest.raises(LeaseLost):
            act("a")
    assert not world.document("effects/e").exists
    world.finish("b")


def test_a_job_that_is_asked_for_anew_while_it_runs_is_run_anew(world: World) -> None:
    world.claim("a")
    world.write(enqueue("j", "mail", {"to": "bob"}, now=NOW))
    with pytest.raises(LeaseLost):
        world.finish("a")
    again = world.claim("b")
    assert again is not None
    assert again.payload == {"to": "bob"}


def test_a_finish_whose_reply_was_lost_has_its_effects_once(world: World) -> None:
    world.claim("a")
    world.finish("a")
    del world.documents["effects/e"]
    world.finish("a")
    assert not world.document("effects/e").exists


@pytest.mark.parametrize("end", ["finish", "fail", "dead"])
def test_a_checkpoint_that_comes_after_the_end_revives_nothing(world: World, end: str) -> None:
    world.claim("a")
    if end == "finish":
        world.finish("a")
    elif end == "fail":
        world.fail("a")
    else:
        world.write(Put(world.job.path, {**world.job.fields(), "state": "dead", "nextAt": None}))
    before = world.job
    with pytest.raises(LeaseLost):
        world.checkpoint("a", "late")
    assert world.job == before


def test_a_failed_run_is_tried_again_later_and_given_up_after_the_last(world: World) -> None:
    now = NOW
    for attempt in (1, 2):
        assert world.claim(f"run{attempt}", now) is not None
        assert world.fail(f"run{attempt}", now) is False
        assert world.job.next_at == now + RETRIES.first * 2 ** (attempt - 1)
        assert world.claim("early", now) is None
        now = world.job.next_at or now
    world.claim("run3", now)
    assert world.fail("run3", now) is True
    assert world.fail("run3", now) is True
    assert (world.job.state, world.job.next_at, world.job.last_error) == ("dead", None, "broken")
    assert world.document(paths.admin_alert("job-j")).exists
    assert world.claim("more", now + timedelta(days=1)) is None


def test_a_job_whose_workers_keep_disappearing_is_given_up_with_an_alert(world: World) -> None:
    now = NOW
    for attempt in range(3):
        world.claim(f"run{attempt}", now)
        now += LEASE + GRACE
    given_up = world.claim("run4", now)
    assert given_up is not None
    assert given_up.state == "dead"
    assert world.job.state == "dead"
    assert world.document(paths.admin_alert("job-j")).exists
    with pytest.raises(LeaseLost):
        world.finish("run2", now)


def test_a_checkpoint_keeps_the_lease_and_remembers_the_cursor(world: World) -> None:
    world.claim("a")
    later = NOW + timedelta(seconds=20)
    world.checkpoint("a", "page 7", later)
    assert (world.job.cursor, world.job.lease_until) == ("page 7", later + LEASE)
    world.checkpoint("a", None, later)
    assert world.job.cursor == "page 7"
    taken = world.claim("b", later + LEASE + GRACE)
    assert taken is not None
    assert taken.cursor == "page 7"


def test_progress_forgives_the_attempts_before_it(world: World) -> None:
    now = NOW
    for attempt in range(6):
        assert (claimed := world.claim(f"run{attempt}", now)) is not None
        assert claimed.state == "running"
        world.checkpoint(f"run{attempt}", f"page {attempt}", now)
        now += LEASE + GRACE


def test_delays_grow_to_a_ceiling_and_no_further() -> None:
    retries = Retries(first=timedelta(seconds=5), ceiling=timedelta(minutes=15))
    assert [retries.delay(n) for n in (1, 2, 3)] == [timedelta(seconds=5 * 2**n) for n in range(3)]
    assert retries.delay(10_000) == timedelta(minutes=15)
