"""Many transactions that want the same documents."""

import asyncio
import random
from contextlib import suppress
from typing import Any

from google.api_core import exceptions
from google.cloud.firestore_v1 import (
    AsyncClient,
    AsyncTransaction,
)

from deploy.local.firestore.server import EmbeddedFirestore
from tests.support.firestore_clients import transactional


async def test_concurrent_increments_lose_nothing(client: AsyncClient) -> None:
    reference = client.document("c/counter")
    await reference.set({"n": 0})

    @transactional
    async def increment(transaction: AsyncTransaction) -> None:
        found = await reference.get(transaction=transaction)
        transaction.update(reference, {"n": found.get("n") + 1})

    await asyncio.gather(*(increment(client.transaction()) for _ in range(40)))
    assert (await reference.get()).get("n") == 40


async def test_retries_on_a_hot_document_queue_instead_of_aborting_each_other(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    reference = client.document("c/hot")
    await reference.set({"n": 0})

    @transactional
    async def increment(transaction: AsyncTransaction) -> None:
        found = await reference.get(transaction=transaction)
        transaction.update(reference, {"n": found.get("n") + 1})

    firestore.faults.calls.clear()
    for _ in range(5):
        await asyncio.gather(*(increment(client.transaction()) for _ in range(20)))
    assert (await reference.get()).get("n") == 100
    assert firestore.faults.calls["BeginTransaction"] < 150


async def test_random_transfers_keep_their_sum(client: AsyncClient) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    dice = random.Random(seed)
    accounts = [client.document(f"accounts/{number}") for number in range(5)]
    for account in accounts:
        await account.set({"balance": 100})

    @transactional
    async def transfer(transaction: AsyncTransaction, giver: Any, taker: Any, amount: int) -> None:
        given = (await giver.get(transaction=transaction)).get("balance")
        taken = (await taker.get(transaction=transaction)).get("balance")
        transaction.update(giver, {"balance": given - amount})
        transaction.update(taker, {"balance": taken + amount})

    async def worker() -> None:
        for _ in range(10):
            giver, taker = dice.sample(accounts, 2)
            amount = dice.randrange(20)
            while True:
                with suppress(exceptions.Aborted):  # the client does not retry a read that was aborted
                    await transfer(client.transaction(max_attempts=50), giver, taker, amount)
                    break

    await asyncio.gather(*(worker() for _ in range(8)))
    balances = [(await account.get()).get("balance") for account in accounts]
    assert sum(balances) == 500
