"""The committer when calls fail, replies are lost and the database is slow."""

import asyncio
import random
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError, Metadata
from prometheus_client import CollectorRegistry

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.errors import Unavailable
from shared.firestore.client import Database
from shared.firestore.committer import Committer, Limits
from shared.firestore.metrics import CommitterMetrics
from shared.operations import Document, Put, Write
from tests.support.counting import Count, counted


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


async def test_a_write_that_the_server_chokes_on_does_not_fail_its_neighbours(
    firestore: EmbeddedFirestore, committer: Committer, database: Database
) -> None:
    huge = Put("docs/huge", {"text": "x" * 900_000})
    operations = [Count(str(n), extra=(Put(f"docs/{n}", huge.fields),)) for n in range(39)]  # too much for one request
    results = await asyncio.gather(*(committer.run(operation) for operation in operations))
    assert results == ["counted"] * 39
    assert await counted(database) == 39


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
