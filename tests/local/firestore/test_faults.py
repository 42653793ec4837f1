"""Failing on demand."""

import asyncio
import time
from collections import Counter
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1 import AsyncClient, AsyncTransaction, Client, Increment
from google.cloud.firestore_v1.types.common import TransactionOptions
from google.cloud.firestore_v1.types.firestore import (
    BatchGetDocumentsRequest,
    BatchWriteRequest,
    CreateDocumentRequest,
    DeleteDocumentRequest,
    RunAggregationQueryRequest,
    RunQueryRequest,
    UpdateDocumentRequest,
)

from deploy.local.firestore.fault_control import FaultControl
from deploy.local.firestore.faults import Fault, FaultPlan
from deploy.local.firestore.server import EmbeddedFirestore
from tests.support.firestore_clients import transactional

DATABASE = "projects/demo-test/databases/(default)"
ROOT = f"{DATABASE}/documents"


async def outcomes(client: AsyncClient, attempts: int) -> Counter[str]:
    async def attempt() -> str:
        try:
            await client.document("c/a").set({"n": Increment(1)}, retry=None, merge=True)
        except exceptions.GoogleAPICallError as failure:
            return type(failure).__name__
        return "ok"

    return Counter([await attempt() for _ in range(attempts)])


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        (Fault(aborted=1), "Aborted"),
        (Fault(unavailable=1), "ServiceUnavailable"),
        (Fault(deadline_exceeded=1), "DeadlineExceeded"),
    ],
)
async def test_a_failing_call_does_nothing(
    firestore: EmbeddedFirestore, client: AsyncClient, fault: Fault, failure: str
) -> None:
    firestore.faults.set("Commit", fault)
    assert await outcomes(client, 3) == {failure: 3}
    firestore.faults.clear()
    assert not (await client.document("c/a").get()).exists


async def test_a_lost_reply_has_done_its_work(firestore: EmbeddedFirestore, client: AsyncClient) -> None:
    firestore.faults.set("Commit", Fault(lost_reply=1))
    assert await outcomes(client, 3) == {"ServiceUnavailable": 3}
    assert (await client.document("c/a").get()).get("n") == 3


async def test_equal_seeds_fail_alike(firestore: EmbeddedFirestore, client: AsyncClient) -> None:
    plan = FaultPlan({"Commit": Fault(aborted=0.3, unavailable=0.3)}, seed=7)
    firestore.faults.apply(plan)
    first = await outcomes(client, 30)
    firestore.faults.apply(plan)
    assert await outcomes(client, 30) == first
    assert len(first) == 3


async def test_another_process_sets_faults_and_reads_counters(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    async with FaultControl(firestore.host) as control:
        await control.apply(FaultPlan({"*": Fault(unavailable=1)}))
        assert await outcomes(client, 2) == {"ServiceUnavailable": 2}
        await control.apply(FaultPlan())
        assert await outcomes(client, 3) == {"ok": 3}
        assert (await control.calls(reset=True))["Commit"] == 5
        assert await control.calls() == {}


async def test_a_plan_that_makes_no_sense_is_refused(firestore: EmbeddedFirestore) -> None:
    async with grpc.aio.insecure_channel(firestore.host) as channel:
        apply: Any = channel.unary_unary("/ticketing.local.Faults/Apply")
        with pytest.raises(grpc.aio.AioRpcError, match="abortd"):
            await apply(b'{"methods": {"Commit": {"abortd": 1}}}')


async def test_latency_is_added(firestore: EmbeddedFirestore, client: AsyncClient) -> None:
    firestore.faults.set("Commit", Fault(latency=60))
    started = time.monotonic()
    await client.document("c/a").set({})
    assert time.monotonic() - started >= 0.06


async def test_an_injected_conflict_frees_what_its_transaction_had_locked(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    reference = client.document("c/a")
    await reference.set({"n": 0})

    @transactional
    async def increment(transaction: AsyncTransaction) -> None:
        found = await reference.get(transaction=transaction)
        transaction.update(reference, {"n": found.get("n") + 1})

    firestore.faults.apply(FaultPlan({"Commit": Fault(aborted=0.3)}, seed=3))
    await asyncio.wait_for(asyncio.gather(*(increment(client.transaction(max_attempts=50)) for _ in range(20))), 10)
    assert (await reference.get()).get("n") == 20


async def test_sustained_writes_to_one_document_are_held_to_productions_limit(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    firestore.faults.apply(FaultPlan(writes_per_second=2))
    told = await asyncio.gather(*(outcomes(client, 1) for _ in range(30)))
    counted = sum(told, Counter())
    assert counted["Aborted"] == 15
    assert counted["ok"] == 15
    assert (await client.document("c/b").set({})).update_time


async def test_a_throttled_commit_frees_what_its_transaction_had_locked(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    reference = client.document("c/a")
    firestore.faults.apply(FaultPlan(writes_per_second=0.1))
    await reference.set({})
    transaction = client.transaction()
    await transaction._begin()
    await reference.get(transaction=transaction)
    transaction.update(reference, {"n": 1})
    with pytest.raises(exceptions.Aborted, match="more often than"):
        await transaction._commit()
    firestore.faults.clear()
    await asyncio.wait_for(reference.set({"n": 2}), timeout=2)


async def test_every_way_to_write_is_held_to_productions_limit(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    api, document = client._firestore_api, f"{ROOT}/c/a"
    firestore.faults.apply(FaultPlan(writes_per_second=0.1))
    await api.create_document(CreateDocumentRequest(parent=ROOT, collection_id="c", document_id="a"))
    with pytest.raises(exceptions.Aborted, match="more often than"):
        await api.update_document(UpdateDocumentRequest(document={"name": document}), retry=None)
    with pytest.raises(exceptions.Aborted, match="more often than"):
        await api.delete_document(DeleteDocumentRequest(name=document), retry=None)
    reply = await api.batch_write(
        BatchWriteRequest(database=DATABASE, writes=[{"delete": document}, {"delete": f"{ROOT}/c/b"}]), retry=None
    )
    assert [status.code for status in reply.status] == [grpc.StatusCode.ABORTED.value[0], 0]


BEGINNING: Any = TransactionOptions(read_write={})
EVERYTHING_IN_C: Any = {"from_": [{"collection_id": "c"}]}
COUNTED: Any = {"structured_query": EVERYTHING_IN_C, "aggregations": [{"count": {}}]}
BEGINNINGS: dict[str, tuple[str, Any]] = {
    "BatchGetDocuments": (
        "batch_get_documents",
        BatchGetDocumentsRequest(database=DATABASE, documents=[f"{ROOT}/c/a"], new_transaction=BEGINNING),
    ),
    "RunQuery": (
        "run_query",
        RunQueryRequest(parent=ROOT, structured_query=EVERYTHING_IN_C, new_transaction=BEGINNING),
    ),
    "RunAggregationQuery": (
        "run_aggregation_query",
        RunAggregationQueryRequest(parent=ROOT, structured_aggregation_query=COUNTED, new_transaction=BEGINNING),
    ),
}
"""Calls that begin a transaction with a read of the same document."""


@pytest.mark.parametrize("method", BEGINNINGS)
async def test_a_transaction_that_began_in_a_lost_reply_holds_nothing(
    firestore: EmbeddedFirestore, client: AsyncClient, method: str
) -> None:
    await client.document("c/a").set({})
    firestore.faults.set(method, Fault(lost_reply=1))
    name, request = BEGINNINGS[method]
    with pytest.raises(exceptions.ServiceUnavailable):
        [_ async for _ in await getattr(client._firestore_api, name)(request, retry=None)]
    await asyncio.wait_for(client.document("c/a").set({"n": 1}), timeout=2)


@pytest.mark.parametrize("method", BEGINNINGS)
async def test_a_transaction_whose_beginning_took_too_long_for_its_client_holds_nothing(
    firestore: EmbeddedFirestore, sync_client: Client, method: str
) -> None:
    """The server is held up when it has answered, and has not yet ended the call."""
    loop, transactions = asyncio.get_running_loop(), firestore._engine.transactions

    def hold_up() -> None:
        if transactions._live:
            time.sleep(0.4)
        else:
            loop.call_soon(hold_up)

    def begin() -> None:
        name, request = BEGINNINGS[method]
        with pytest.raises(exceptions.DeadlineExceeded):
            list(getattr(sync_client._firestore_api, name)(request, retry=None, timeout=0.2))

    reference = sync_client.document("c/a")
    await asyncio.to_thread(reference.set, {})
    hold_up()
    await asyncio.to_thread(begin)
    await asyncio.wait_for(asyncio.to_thread(reference.set, {"n": 1}), timeout=2)
