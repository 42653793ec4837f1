"""Random concurrent transactions over the wire, judged by what each of them saw."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1 import AsyncClient, AsyncTransaction

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from tests.support.firestore_clients import transactional
from tests.support.histories import INITIAL, Committed, serial_order

KEYS = [f"k{number}" for number in range(6)]
START = 100
CLIENTS, ROUNDS = 12, 12


@dataclass(slots=True)
class Attempt:
    """What one try of a transaction has seen and is about to write: balances by key."""

    name: str
    seen: dict[str, str] = field(default_factory=dict)
    balances: dict[str, int] = field(default_factory=dict)
    moved: dict[str, int] = field(default_factory=dict)


class Bank:
    """Accounts whose sum never changes. Accounts of the later keys are missing until they are paid into."""

    def __init__(self, client: AsyncClient, seed: int) -> None:
        self.accounts = client.collection("accounts")
        self.history: list[Committed] = []
        self._client = client
        self._dice = random.Random(seed)

    async def open(self) -> None:
        for key in KEYS[:3]:
            await self.accounts.document(key).set({"by": INITIAL, "balance": START})

    async def act(self, name: str) -> None:
        """One random transaction, tried until it commits."""
        dice = random.Random(self._dice.random())
        kind = dice.choice(["transfer", "transfer", "survey and transfer", "audit", "look"])
        while True:
            with suppress(exceptions.Aborted):  # the client itself retries commits only
                return await self._try(name, kind, dice)

    async def _try(self, name: str, kind: str, dice: random.Random) -> None:
        attempt, began = Attempt(name), time.monotonic()
        if kind == "look":
            await self._read(attempt, dice.choice(KEYS), None)
            self._record(attempt, began)
            return
        transaction = self._client.transaction(max_attempts=100, read_only=kind == "audit")
        await transactional(self._play)(transaction, attempt, kind, dice)
        committed: Any = transaction.commit_time
        self._record(attempt, began, committed.timestamp() if attempt.moved else 0)

    async def _play(self, transaction: AsyncTransaction, attempt: Attempt, kind: str, dice: random.Random) -> None:
        attempt.seen.clear()  # the client runs this again when its commit was aborted
        attempt.balances.clear()
        giver, taker = dice.sample(KEYS, 2)
        if kind == "transfer":
            for key in (giver, taker):
                await self._read(attempt, key, transaction)
        else:
            await self._survey(attempt, transaction)
        attempt.moved = {} if kind == "audit" else transfer(attempt, giver, taker, dice.randrange(1, 40))
        for key, balance in attempt.moved.items():
            transaction.set(self.accounts.document(key), {"by": attempt.name, "balance": balance})

    async def _read(self, attempt: Attempt, key: str, transaction: AsyncTransaction | None) -> None:
        found = await self.accounts.document(key).get(transaction=transaction)
        note(attempt, key, found.to_dict())

    async def _survey(self, attempt: Attempt, transaction: AsyncTransaction) -> None:
        """A query: it also sees which accounts do not exist."""
        documents: AsyncIterator[Any] = await transaction.get(self.accounts.order_by("balance"))
        found = {snapshot.id: snapshot.to_dict() async for snapshot in documents}
        for key in KEYS:
            note(attempt, key, found.get(key))
        assert sum(attempt.balances.values()) == 3 * START

    def _record(self, attempt: Attempt, began: float, at: float = 0) -> None:
        writes = frozenset(attempt.moved)
        self.history.append(Committed(attempt.name, began, time.monotonic(), dict(attempt.seen), writes, at))


def note(attempt: Attempt, key: str, fields: dict[str, Any] | None) -> None:
    attempt.seen[key] = fields["by"] if fields else INITIAL
    attempt.balances[key] = fields["balance"] if fields else 0


def transfer(attempt: Attempt, giver: str, taker: str, amount: int) -> dict[str, int]:
    """The new balances; nothing where the giver cannot pay."""
    balances = attempt.balances
    if balances[giver] < amount:
        return {}
    return {giver: balances[giver] - amount, taker: balances[taker] + amount}


@pytest.mark.parametrize("conflicts", [0.0, 0.1])
async def test_concurrent_transactions_have_a_serial_order(
    firestore: EmbeddedFirestore, client: AsyncClient, conflicts: float
) -> None:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    bank = Bank(client, seed)
    await bank.open()
    firestore.faults.set("Commit", Fault(aborted=conflicts))

    async def customer(number: int) -> None:
        for turn in range(ROUNDS):
            await bank.act(f"t{number}.{turn}")

    await asyncio.gather(*map(customer, range(CLIENTS)))
    order = serial_order(bank.history)
    assert len(order) == CLIENTS * ROUNDS
    last = {key: each.name for each in order for key in each.writes}
    left = {found.id: found.to_dict() or {} for found in await bank.accounts.get()}
    assert {key: fields["by"] for key, fields in left.items()} == dict.fromkeys(KEYS[:3], INITIAL) | last
    assert sum(fields["balance"] for fields in left.values()) == 3 * START
