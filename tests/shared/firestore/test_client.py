"""Reads outside of transactions: they are repeated while that may help, and only then."""

from collections.abc import Awaitable, Callable

import pytest
from grpc.aio import AioRpcError

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.firestore.client import Database
from shared.firestore.query import Query
from tests.support.shop import put

READS: dict[str, Callable[[Database], Awaitable[object]]] = {
    "BatchGetDocuments": lambda database: database.get("things/t"),
    "RunQuery": lambda database: database.query(Query("things")),
    "RunAggregationQuery": lambda database: database.count(Query("things")),
}
FAULTS = (Fault(unavailable=0.5), Fault(deadline_exceeded=0.5), Fault(aborted=0.5), Fault(lost_reply=0.5))


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.parametrize("method", READS)
async def test_a_read_that_fails_for_a_moment_is_repeated(
    firestore: EmbeddedFirestore, database: Database, method: str, fault: Fault
) -> None:
    await put(database, "things/t", {"a": 1})
    expected = await READS[method](database)
    firestore.faults.seed(1)
    firestore.faults.set(method, fault)
    firestore.faults.calls.clear()
    for _ in range(8):
        assert await READS[method](database) == expected
    assert firestore.faults.calls[method] > 8


async def test_a_read_that_can_never_succeed_is_not_repeated(firestore: EmbeddedFirestore, database: Database) -> None:
    firestore.faults.calls.clear()
    with pytest.raises(AioRpcError):
        await database.get("things/t/parts")
    assert firestore.faults.calls["BatchGetDocuments"] == 1


async def test_to_read_nothing_asks_nobody(firestore: EmbeddedFirestore, database: Database) -> None:
    firestore.faults.calls.clear()
    assert await database.get_all([]) == {}
    assert not firestore.faults.calls


async def test_documents_come_by_path_and_the_missing_ones_are_said_to_be(database: Database) -> None:
    await put(database, "things/t", {"a": 1})
    read = await database.get_all(["things/t", "things/none", "things/t"])
    assert {path: document.fields for path, document in read.items()} == {"things/t": {"a": 1}, "things/none": None}


@pytest.mark.parametrize("documents", [0, 1, 4, 5])
async def test_pages_are_all_of_a_querys_results_in_order(database: Database, documents: int) -> None:
    for number in range(documents):
        await put(database, f"things/t{number}", {"a": number})
    pages = [[document.id for document in page] async for page in database.pages(Query("things"), 2)]
    assert [name for page in pages for name in page] == [f"t{number}" for number in range(documents)]
    assert all(len(page) == 2 for page in pages[:-1])


async def test_reads_at_one_time_see_one_state(database: Database) -> None:
    for number in range(3):
        await put(database, f"things/t{number}", {"a": number})
    then = await database.now()
    await put(database, "things/t0", {"a": 7})
    await put(database, "things/t9", {"a": 9})
    pages = [page async for page in database.pages(Query("things"), 2, read_time=then)]
    assert [document.fields for page in pages for document in page] == [{"a": 0}, {"a": 1}, {"a": 2}]
    assert (await database.get("things/t0", read_time=then)).fields == {"a": 0}
    assert not (await database.get("things/t9", read_time=then)).exists
    assert (await database.get("things/t0", read_time=await database.now())).fields == {"a": 7}


async def test_the_databases_time_is_asked_for_again_where_it_does_not_answer(
    firestore: EmbeddedFirestore, database: Database
) -> None:
    firestore.faults.seed(1)
    firestore.faults.set("BatchGetDocuments", Fault(unavailable=0.3, lost_reply=0.1))
    times = [await database.now() for _ in range(8)]
    assert times == sorted(times)
    assert firestore.faults.calls["BatchGetDocuments"] > 8
