"""The committer against the embedded Firestore, over the wire."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from prometheus_client import CollectorRegistry

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.errors import Conflict, Unavailable
from shared.firestore.client import Database
from shared.firestore.committer import Committer, Limits
from shared.firestore.metrics import CommitterMetrics
from shared.firestore.query import Query
from shared.operations import Decision, Document, Documents, Increment, Merge, Put, Write
from tests.support.shop import put

COUNTER = "counters/c"
WHO: ContextVar[str] = ContextVar("who", default="nobody")


class TooMany(Conflict):
    code = "too_many"


@dataclass(frozen=True, slots=True)
class Count:
    """Adds one to a counter, once for each marker, up to a limit."""

    id: str
    limit: int = 1_000_000
    lane: str = "c"
    extra: Sequence[Write] = ()
    heard: Callable[[str], None] = field(default=lambda _: None)

    @property
    def marker(self) -> str:
        return f"marks/{self.id}"

    def reads(self) -> Sequence[str]:
        return (COUNTER, self.marker)

    def decide(self, docs: Documents) -> Decision[str]:
        self.heard(self.id)
        if docs[self.marker].exists:
            return Decision("replayed")
        counted: Any = (docs[COUNTER].fields or {}).get("n", 0)
        if counted >= self.limit:
            raise TooMany("Enough.")
        mark = Put(self.marker, {"n": counted + 1})
        return Decision("counted", (Merge(COUNTER, {"n": Increment(1)}), mark, *self.extra))


async def counted(database: Database) -> int:
    value: Any = (await database.get(COUNTER)).fields
    return int(value["n"]) if value else 0


async def test_an_uncontended_operation_takes_two_round_trips(
    firestore: EmbeddedFirestore, committer: Committer
) -> None:
    firestore.faults.calls.clear()
    assert await committer.run(Count("a")) == "counted"
    assert dict(firestore.faults.calls) == {"BatchGetDocuments": 1, "Commit": 1}


async def test_the_same_operation_again_answers_from_its_marker(committer: Committer, database: Database) -> None:
    assert await committer.run(Count("a")) == "counted"
    assert await committer.run(Count("a")) == "replayed"
    assert await counted(database) == 1


async def test_operations_that_arrive_during_a_commit_share_the_next_ones(
    firestore: EmbeddedFirestore, committer: Committer, database: Database
) -> None:
    results = await asyncio.gather(*(committer.run(Count(str(n))) for n in range(100)))
    assert results == ["counted"] * 100
    assert await counted(database) == 100
    assert firestore.faults.calls["Commit"] == 3  # of at most 40 operations each


async def test_operations_of_different_lanes_do_not_wait_for_each_other(
    firestore: EmbeddedFirestore, database: Database, committer: Committer
) -> None:
    @dataclass(frozen=True, slots=True)
    class Mark:
        lane: str

        def reads(self) -> Sequence[str]:
            return (f"marks/{self.lane}",)

        def decide(self, docs: Documents) -> Decision[None]:
            return Decision(None, (Put(f"marks/{self.lane}", {"there": docs is not None}),))

    firestore.faults.set("Commit", Fault(latency=200))
    loop = asyncio.get_running_loop()
    since = loop.time()
    await asyncio.gather(*(committer.run(Mark(str(n))) for n in range(8)))
    assert loop.time() - since < 8 * 0.2
    assert await database.count(Query("marks")) == 8


async def test_each_operation_decides_on_what_the_earlier_ones_left(committer: Committer, database: Database) -> None:
    results = await asyncio.gather(*(committer.run(Count(str(n), limit=30)) for n in range(50)), return_exceptions=True)
    assert sum(result == "counted" for result in results) == 30
    assert sum(isinstance(result, TooMany) for result in results) == 20
    assert await counted(database) == 30
    marks = [document.fields for document in await database.query(Query("marks"))]
    assert sorted(mark["n"] for mark in marks if mark) == list(range(1, 31))  # type: ignore[type-var]  # integers


async def test_a_fault_in_one_decision_is_its_callers_alone(committer: Committer, database: Database) -> None:
    def refuse(marker: str) -> None:
        if marker == "3":
            raise ZeroDivisionError

    results = await asyncio.gather(
        *(committer.run(Count(str(n), heard=refuse)) for n in range(6)), return_exceptions=True
    )
    assert isinstance(results[3], ZeroDivisionError)
    assert await counted(database) == 5


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        pytest.param(Put("docs/__reserved__", {}), AioRpcError, id="refused by the server"),
        pytest.param(Put("docs/huge", {"n": 2**70}), ValueError, id="impossible to encode"),
    ],
)
async def test_one_bad_write_does_not_fail_its_neighbours(
    committer: Committer, database: Database, bad: Write, error: type[Exception]
) -> None:
    operations = [Count(str(n), extra=(bad,) if n == 3 else ()) for n in range(6)]
    results = await asyncio.gather(*(committer.run(operation) for operation in operations), return_exceptions=True)
    assert isinstance(results[3], error)
    assert [result for n, result in enumerate(results) if n != 3] == ["counted"] * 5
    assert await counted(database) == 5


async def test_a_caller_that_goes_away_cancels_nothing_for_its_neighbours(
    firestore: EmbeddedFirestore, committer: Committer, database: Database
) -> None:
    decided = asyncio.Event()
    firestore.faults.set("Commit", Fault(latency=50))
    first = asyncio.create_task(committer.run(Count("first", heard=lambda _: decided.set())))
    await decided.wait()
    others = [asyncio.create_task(committer.run(Count(str(n)))) for n in range(5)]
    await asyncio.sleep(0)
    first.cancel()
    others[2].cancel()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert isinstance(results[3], asyncio.CancelledError)
    assert sum(result == "counted" for result in results) == 4
    # the first was under way, so it happened; the one that had not begun did not
    assert await counted(database) == 5


@pytest.mark.parametrize(
    "fault",
    [
        Fault(aborted=0.3),
        Fault(unavailable=0.3),
        Fault(deadline_exceeded=0.3),
        Fault(lost_reply=0.3),
        Fault(aborted=0.1, unavailable=0.1, lost_reply=0.2),
    ],
    ids=str,
)
async def test_failing_commits_are_retried_and_happen_exactly_once(
    firestore: EmbeddedFirestore, committer: Committer, database: Database, fault: Fault
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    firestore.faults.seed(seed)
    firestore.faults.set("Commit", fault)
    firestore.faults.set("BatchGetDocuments", Fault(unavailable=0.1, aborted=0.1))
    results = await asyncio.gather(*(committer.run(Count(str(n))) for n in range(60)))
    firestore.faults.clear()
    assert set(results) <= {"counted", "replayed"}
    assert await counted(database) == 60


async def test_a_lost_reply_is_answered_from_the_marker(
    firestore: EmbeddedFirestore, committer: Committer, database: Database
) -> None:
    firestore.faults.set("Commit", Fault(lost_reply=1.0))
    assert await committer.run(Count("a")) == "replayed"
    assert await counted(database) == 1


async def test_a_database_that_stays_away_is_a_refusal_in_time(
    firestore: EmbeddedFirestore, database: Database
) -> None:
    committer = Committer(
        database, CommitterMetrics(CollectorRegistry()), limits=Limits(deadline=0.3, attempt=0.1)
    )  # fmt: skip
    firestore.faults.set("Commit", Fault(unavailable=1.0))
    with pytest.raises(Unavailable):
        await committer.run(Count("a"))
    firestore.faults.clear()
    assert await committer.run(Count("a")) == "counted"
    await committer.close()


async def test_two_committers_share_a_hot_document_without_losing_anything(
    firestore: EmbeddedFirestore, database: Database, committer: Committer
) -> None:
    other = Committer(database, CommitterMetrics(CollectorRegistry()))
    results = await asyncio.gather(
        *(one.run(Count(f"{name}{n}")) for name, one in (("a", committer), ("b", other)) for n in range(60))
    )
    assert results == ["counted"] * 120
    assert await counted(database) == 120
    await other.close()


async def test_an_operation_without_a_marker_is_refused(committer: Committer) -> None:
    class Blind:
        lane = "x"

        def reads(self) -> Sequence[str]:
            return ()

        def decide(self, docs: Documents) -> Decision[None]:
            return Decision(None, (Merge(COUNTER, {"n": Increment(1 + len([docs]))}),))

    with pytest.raises(ValueError, match="no marker"):
        await committer.run(Blind())


async def test_an_operation_sees_only_what_it_asked_for(committer: Committer) -> None:
    class Nosy:
        lane = "c"

        def reads(self) -> Sequence[str]:
            return ("marks/nosy",)

        def decide(self, docs: Documents) -> Decision[bool]:
            return Decision(docs[COUNTER].exists)

    with pytest.raises(LookupError, match="not among"):
        await committer.run(Nosy())


async def test_a_refused_operation_leaves_no_lock_behind(committer: Committer, database: Database) -> None:
    await put(database, COUNTER, {"n": 5})
    with pytest.raises(TooMany):
        await committer.run(Count("a", limit=5))
    async with asyncio.timeout(5):
        await put(database, COUNTER, {"n": 0})
    assert await committer.run(Count("a", limit=5)) == "counted"


async def test_batches_stop_at_the_number_of_documents_they_may_write(
    firestore: EmbeddedFirestore, database: Database
) -> None:
    committer = Committer(database, CommitterMetrics(CollectorRegistry()), limits=Limits(documents=10))
    await asyncio.gather(*(committer.run(Count(str(n))) for n in range(28)))
    assert await counted(database) == 28
    # nine new markers and the counter in each commit, until there is one left
    assert firestore.faults.calls["Commit"] == 4
    await committer.close()


async def test_listeners_hear_of_what_was_written(committer: Committer) -> None:
    heard: list[Write] = []
    committer.listeners.append(heard.extend)
    await committer.run(Count("a"))
    await committer.run(Count("a"))
    assert [write.path for write in heard] == [COUNTER, "marks/a"]


async def test_a_lost_reply_to_the_read_leaves_no_lock_behind(
    firestore: EmbeddedFirestore, committer: Committer, database: Database
) -> None:
    firestore.faults.set("BatchGetDocuments", Fault(lost_reply=1.0))
    with pytest.raises(Unavailable):
        await committer.run(Count("a"), deadline=0.3)
    firestore.faults.clear()
    async with asyncio.timeout(5):
        assert await committer.run(Count("b")) == "counted"
    assert await counted(database) == 1


async def test_an_operation_that_waits_behind_others_is_answered_by_its_own_deadline(
    firestore: EmbeddedFirestore, committer: Committer
) -> None:
    firestore.faults.set("Commit", Fault(unavailable=1.0))
    patient = asyncio.create_task(committer.run(Count("patient"), deadline=30))
    await asyncio.sleep(0.05)
    loop = asyncio.get_running_loop()
    since = loop.time()
    with pytest.raises(Unavailable):
        await committer.run(Count("hasty"), deadline=0.2)
    assert loop.time() - since < 2
    firestore.faults.clear()
    assert await patient == "counted"


async def test_a_slow_rollback_keeps_nobody_waiting(firestore: EmbeddedFirestore, committer: Committer) -> None:
    await committer.run(Count("a"))
    firestore.faults.set("Rollback", Fault(latency=1_000))
    async with asyncio.timeout(0.9):
        assert await committer.run(Count("a")) == "replayed"


async def test_a_listener_that_fails_takes_nobodys_answer(committer: Committer, database: Database) -> None:
    def broken(_writes: Sequence[Write]) -> None:
        raise ZeroDivisionError

    heard: list[Write] = []
    committer.listeners += [broken, heard.extend]
    results = await asyncio.gather(*(committer.run(Count(str(n))) for n in range(5)))
    assert results == ["counted"] * 5
    assert len(heard) == 6


async def test_a_decision_that_runs_out_of_something_is_a_fault_of_its_own(committer: Committer) -> None:
    def run_out(marker: str) -> None:
        if marker == "2":
            next(iter(()))

    operations = [Count(str(n), heard=run_out) for n in range(5)]
    async with asyncio.timeout(5):
        results = await asyncio.gather(*map(committer.run, operations), return_exceptions=True)
    assert isinstance(results[2], RuntimeError)
    assert [result for n, result in enumerate(results) if n != 2] == ["counted"] * 4


async def test_a_write_that_the_server_chokes_on_does_not_fail_its_neighbours(
    firestore: EmbeddedFirestore, committer: Committer, database: Database
) -> None:
    huge = Put("docs/huge", {"text": "x" * 900_000})
    operations = [Count(str(n), extra=(Put(f"docs/{n}", huge.fields),)) for n in range(39)]  # too much for one request
    results = await asyncio.gather(*(committer.run(operation) for operation in operations))
    assert results == ["counted"] * 39
    assert await counted(database) == 39


async def test_a_decision_runs_in_the_context_of_whoever_asked(committer: Committer) -> None:
    seen: dict[str, str] = {}

    async def ask(name: str) -> None:
        WHO.set(name)
        await committer.run(Count(name, heard=lambda marker: seen.__setitem__(marker, WHO.get())))

    await asyncio.gather(*(asyncio.create_task(ask(name)) for name in ("ann", "bob", "cid")))
    assert seen == {"ann": "ann", "bob": "bob", "cid": "cid"}


async def test_closing_waits_for_what_is_in_flight(firestore: EmbeddedFirestore, database: Database) -> None:
    committer = Committer(database, CommitterMetrics(CollectorRegistry()))
    firestore.faults.set("Commit", Fault(latency=200))
    running = asyncio.create_task(committer.run(Count("a")))
    await asyncio.sleep(0)
    await committer.close()
    assert await counted(database) == 1
    assert await running == "counted"


async def test_what_did_not_fit_into_a_commit_comes_first_in_the_next(database: Database) -> None:
    committer = Committer(database, CommitterMetrics(CollectorRegistry()), limits=Limits(operations=8, documents=4))
    order: list[str] = []
    operations = [Count(f"{n:02}", heard=order.append) for n in range(20)]
    await asyncio.gather(*(committer.run(operation) for operation in operations))
    assert list(dict.fromkeys(order)) == [f"{n:02}" for n in range(20)]
    await committer.close()


class Watched(Database):
    """Notes which transactions are begun as another try of which."""

    retries: ClassVar[list[bytes]] = []

    async def begin(self, *arguments: Any, retry_of: bytes = b"", **options: Any) -> Mapping[str, Document]:
        self.retries.append(retry_of)
        return await super().begin(*arguments, retry_of=retry_of, **options)


async def test_an_attempt_that_is_tried_again_names_the_transaction_before(firestore: EmbeddedFirestore) -> None:
    database = Watched.connect("demo-test")
    committer = Committer(database, CommitterMetrics(CollectorRegistry()))
    database.retries.clear()

    def weather(_marker: str) -> None:
        if len(database.retries) > 2:
            firestore.faults.clear()

    firestore.faults.set("Commit", Fault(aborted=1.0))
    assert await committer.run(Count("a", heard=weather)) == "counted"
    first, *others = database.retries
    assert first == b""
    assert all(others)
    await committer.close()
    await database.close()


class Choking(Database):
    """A server that answers INTERNAL to every commit with a certain document."""

    async def commit(self, writes: Iterable[Write], *, transaction: bytes, timeout: float) -> None:
        known = list(writes)
        if any(write.path == "docs/poison" for write in known):
            raise AioRpcError(StatusCode.INTERNAL, Metadata(), Metadata(), "choked")
        await super().commit(known, transaction=transaction, timeout=timeout)


async def test_a_write_that_always_chokes_the_server_fails_alone_and_soon(firestore: EmbeddedFirestore) -> None:
    database = Choking.connect("demo-test")
    committer = Committer(database, CommitterMetrics(CollectorRegistry()))
    operations = [Count(str(n), extra=(Put("docs/poison", {}),) if n == 2 else ()) for n in range(6)]
    async with asyncio.timeout(5):
        results = await asyncio.gather(*map(committer.run, operations), return_exceptions=True)
    assert isinstance(results[2], AioRpcError)
    assert [result for n, result in enumerate(results) if n != 2] == ["counted"] * 5
    await committer.close()
    await database.close()
