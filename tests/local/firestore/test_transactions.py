"""Transactions over the wire: what they see, what they keep others from, how they end."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1 import (
    AsyncClient,
    AsyncTransaction,
    FieldFilter,
    Increment,
)
from google.cloud.firestore_v1.types import common, firestore

from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.firestore.transactions import Patience
from tests.support.firestore_clients import Kind, connecting

DATABASE = "projects/demo-test/databases/(default)"
T = TypeVar("T")


@asynccontextmanager
async def serving(patience: Patience, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:
    """A client of a server with a patience of its own."""
    async with EmbeddedFirestore(patience=patience) as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        async with connecting(kind, "demo-test") as client:
            yield client


async def begun(client: AsyncClient, **options: Any) -> AsyncTransaction:
    transaction = client.transaction(**options)
    await transaction._begin()
    return transaction


async def blocked(waiting: Awaitable[T]) -> "asyncio.Task[T]":
    """A task that has had the time to reach the server, and is still waiting there."""

    async def wait() -> T:
        return await waiting

    task = asyncio.create_task(wait())
    done, _ = await asyncio.wait([task], timeout=0.1)
    assert not done
    return task


async def commit(client: AsyncClient, transaction: bytes, *writes: Any) -> None:
    await client._firestore_api.commit(
        firestore.CommitRequest(database=DATABASE, transaction=transaction, writes=writes)
    )


async def test_a_document_that_was_read_is_kept_from_writers_until_the_end(client: AsyncClient) -> None:
    reference = client.document("c/a")
    await reference.set({"n": 1})
    transaction = await begun(client)
    await reference.get(transaction=transaction)
    writing = await blocked(reference.set({"n": 2}))
    await transaction._rollback()
    await writing
    assert (await reference.get()).get("n") == 2


async def test_a_missing_document_that_was_read_is_kept_from_being_created(client: AsyncClient) -> None:
    reference = client.document("c/none")
    transaction = await begun(client)
    assert not (await reference.get(transaction=transaction)).exists
    creating = await blocked(reference.create({"n": 2}))
    transaction.create(reference, {"n": 1})
    await transaction._commit()
    with pytest.raises(exceptions.AlreadyExists):
        await creating


async def test_reads_outside_of_transactions_wait_for_nobody(client: AsyncClient) -> None:
    reference = client.document("c/a")
    await reference.set({"n": 1})
    transaction = await begun(client)
    await reference.get(transaction=transaction)
    assert (await reference.get()).get("n") == 1
    await transaction._rollback()


async def test_of_two_that_read_the_same_one_wins_and_the_other_is_aborted_at_once(client: AsyncClient) -> None:
    reference = client.document("c/a")
    await reference.set({"n": 1})
    first, second = await begun(client), await begun(client)
    for transaction in (first, second):
        await reference.get(transaction=transaction)
        transaction.update(reference, {"n": Increment(1)})
    outcomes = await asyncio.wait_for(
        asyncio.gather(first._commit(), second._commit(), return_exceptions=True), timeout=2
    )
    assert [isinstance(each, exceptions.Aborted) for each in outcomes] == [False, True]
    assert (await reference.get()).get("n") == 2


async def test_what_a_query_in_a_transaction_did_not_find_cannot_appear_before_its_end(client: AsyncClient) -> None:
    people = client.collection("people")
    transaction = await begun(client)
    query = people.where(filter=FieldFilter("name", "==", "Ann"))
    assert [found async for found in query.stream(transaction=transaction)] == []
    adding = await blocked(people.document("a").set({"name": "Ann"}))
    await transaction._rollback()
    await adding


async def test_a_collection_group_query_in_a_transaction_covers_every_such_collection(client: AsyncClient) -> None:
    transaction = await begun(client)
    group = client.collection_group("ragers").limit(5)
    assert [found async for found in group.stream(transaction=transaction)] == []
    await client.document("events/e1/scans/s").set({})
    adding = await blocked(client.document("events/e1/ragers/r").set({}))
    await transaction._rollback()
    await adding


async def test_a_query_of_everything_in_a_transaction_covers_every_collection(client: AsyncClient) -> None:
    transaction = await begun(client)
    everything: Any = {"from_": [{"all_descendants": True}]}
    request = firestore.RunQueryRequest(
        parent=f"{DATABASE}/documents", structured_query=everything, transaction=transaction.id
    )
    assert [reply.document.name async for reply in await client._firestore_api.run_query(request)] == [""]
    adding = await blocked(client.document("anything/at/all/x").set({}))
    await transaction._rollback()
    await adding


async def test_a_read_only_transaction_sees_one_moment_and_blocks_nobody(client: AsyncClient) -> None:
    reference, query = client.document("c/a"), client.collection("c").limit(5)
    await reference.set({"n": 1})
    transaction = await begun(client, read_only=True)
    await reference.set({"n": 2})
    await client.document("c/b").set({"n": 3})
    assert (await reference.get(transaction=transaction)).get("n") == 1
    assert [found.id async for found in query.stream(transaction=transaction)] == ["a"]
    counting: Any = query.count()
    [[counted]] = await counting.get(transaction=transaction)
    assert counted.value == 1


async def test_a_read_only_transaction_cannot_write(client: AsyncClient) -> None:
    transaction = await begun(client, read_only=True)
    with pytest.raises(exceptions.InvalidArgument, match="read-only"):
        await commit(client, transaction.id, {"delete": f"{DATABASE}/documents/c/a"})


@pytest.mark.parametrize("ending", ["commit", "rollback"])
async def test_a_transaction_that_is_over_is_no_longer_valid(client: AsyncClient, ending: str) -> None:
    transaction = await begun(client)
    gone = transaction.id
    await (transaction._commit() if ending == "commit" else transaction._rollback())
    request = firestore.BatchGetDocumentsRequest(database=DATABASE, transaction=gone)
    with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
        await commit(client, gone)
    with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
        [_ async for _ in await client._firestore_api.batch_get_documents(request)]
    with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
        await client._firestore_api.rollback(firestore.RollbackRequest(database=DATABASE, transaction=gone))


async def test_an_unknown_transaction_is_not_valid(client: AsyncClient) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
        await commit(client, b"never begun")


async def test_a_refused_commit_ends_its_transaction_and_frees_its_documents(client: AsyncClient) -> None:
    reference = client.document("c/a")
    await reference.set({})
    transaction = await begun(client)
    await reference.get(transaction=transaction)
    transaction.create(reference, {})
    with pytest.raises(exceptions.AlreadyExists):
        await transaction._commit()
    await asyncio.wait_for(reference.set({"free": True}), timeout=2)
    await transaction._rollback()


async def test_a_read_can_begin_its_transaction(client: AsyncClient) -> None:
    await client.document("c/a").set({"n": 1})
    request = firestore.BatchGetDocumentsRequest(
        database=DATABASE,
        documents=[f"{DATABASE}/documents/c/a", f"{DATABASE}/documents/c/b"],
        new_transaction=common.TransactionOptions(read_write={}),
    )
    replies = [reply async for reply in await client._firestore_api.batch_get_documents(request)]
    assert replies[0].transaction
    assert not any(reply.transaction for reply in replies[1:])
    writing = await blocked(client.document("c/b").set({}))
    await commit(client, replies[0].transaction)
    await writing


async def test_a_client_that_stops_waiting_waits_no_longer_on_the_server(client: AsyncClient) -> None:
    reference = client.document("c/a")
    transaction = await begun(client)
    await reference.get(transaction=transaction)
    with pytest.raises((exceptions.DeadlineExceeded, exceptions.RetryError)):
        await reference.set({"n": 1}, timeout=0.1)
    await transaction._rollback()
    await asyncio.sleep(0.05)
    assert not (await reference.get()).exists


async def test_a_transaction_whose_beginning_nobody_waited_for_holds_nothing(client: AsyncClient) -> None:
    transaction = await begun(client)
    await client.document("c/b").get(transaction=transaction)
    writing = await blocked(client.document("c/b").set({}))
    request = firestore.BatchGetDocumentsRequest(
        database=DATABASE,
        documents=[f"{DATABASE}/documents/c/a", f"{DATABASE}/documents/c/b"],
        new_transaction=common.TransactionOptions(read_write={}),
    )
    with pytest.raises(exceptions.DeadlineExceeded):
        [_ async for _ in await client._firestore_api.batch_get_documents(request, retry=None, timeout=0.1)]
    await asyncio.wait_for(client.document("c/a").set({}), timeout=2)
    await transaction._rollback()
    await writing


async def test_a_retry_keeps_its_place_before_those_who_came_later(client: AsyncClient) -> None:
    reference = client.document("c/a")
    await reference.set({"n": 0})
    loser = await begun(client)
    await commit(client, loser.id)
    rival = await begun(client)
    again = client.transaction()
    await again._begin(retry_id=loser.id)
    for transaction in (rival, again):
        await reference.get(transaction=transaction)
        transaction.update(reference, {"n": Increment(1)})
    outcomes = await asyncio.gather(rival._commit(), again._commit(), return_exceptions=True)
    assert [isinstance(each, exceptions.Aborted) for each in outcomes] == [True, False]


def test_transactions_live_as_long_as_in_production() -> None:
    """https://firebase.google.com/docs/firestore/quotas: 270 seconds, 60 of them idle."""
    assert (Patience().total, Patience().idle) == (270.0, 60.0)
    assert Patience().lock < Patience().idle


@pytest.mark.parametrize("patience", [Patience(idle=0.15), Patience(total=0.15)])
async def test_a_forgotten_transaction_expires_and_frees_what_it_read(
    patience: Patience, kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(patience, kind, monkeypatch) as client:
        reference = client.document("c/a")
        transaction = await begun(client)
        await reference.get(transaction=transaction)
        writing = await blocked(reference.set({}))
        await asyncio.wait_for(writing, timeout=2)
        with pytest.raises(exceptions.InvalidArgument, match="expired"):
            await transaction._commit()


async def test_waiting_for_a_lock_ends_with_aborted(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(Patience(lock=0.05), kind, monkeypatch) as client:
        transaction = await begun(client)
        await client.document("c/a").get(transaction=transaction)
        with pytest.raises(exceptions.Aborted):
            await client.document("c/a").set({}, retry=None)
