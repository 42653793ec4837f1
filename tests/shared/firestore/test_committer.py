"""The committer against the embedded Firestore, over the wire."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass

import pytest
from grpc.aio import AioRpcError
from prometheus_client import CollectorRegistry

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.firestore.client import Database
from shared.firestore.committer import Committer, Limits
from shared.firestore.metrics import CommitterMetrics
from shared.firestore.query import Query
from shared.operations import Decision, Documents, Increment, Merge, Put, Write
from tests.support.counting import COUNTER, Count, TooMany, counted
from tests.support.shop import put

WHO: ContextVar[str] = ContextVar("who", default="nobody")


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
