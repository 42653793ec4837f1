"""The embedded system is killed in the middle of sales and started again on the same data."""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from deploy.local.stack import Stack
from shared.documents import Fulfillment
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from tests.support.services import Service
from tests.support.shop import Shop, check_invariants, event_on_sale

KEY = "dev-proxy"
TICKETS = 400
BUYERS = 12


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    stack = Stack(data_dir=tmp_path / "data")
    yield stack
    if stack.process.returncode is None:
        await stack.kill()


async def connected(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", stack.urls["firestore"])
    return Database.connect(stack.urls["project"])


async def buy_until_the_end(shop: Shop, name: str, acknowledged: dict[str, str], enough: asyncio.Event) -> None:
    """Buys ticket after ticket and notes every order that was answered, until nobody answers any more."""
    number = 0
    while True:
        uid = f"{name}-{number}"
        try:
            started = await shop.start(uid, "gala")
            payment = started.body["paymentIntentId"]
            await shop.pay(payment)
            done = await shop.finalize(uid, payment)
        except (aiohttp.ClientError, OSError, KeyError):
            return
        if done.status == 200 and done.body["ok"]:
            acknowledged[payment] = done.body["orderNumber"]
        if len(acknowledged) >= 40:
            enough.set()
        number += 1


@pytest.mark.slow
async def test_a_kill_in_the_middle_of_sales_loses_no_acknowledged_order(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    await stack.start()
    database = await connected(stack, monkeypatch)
    await event_on_sale(database, "gala", TICKETS)
    await database.close()
    acknowledged: dict[str, str] = {}
    enough = asyncio.Event()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        shop = Shop(Service(session, stack.urls["gateway"], key=KEY), stack.urls["stripe"], session)
        buyers = [
            asyncio.create_task(buy_until_the_end(shop, f"buyer{n}", acknowledged, enough)) for n in range(BUYERS)
        ]
        await enough.wait()
        await asyncio.sleep(random.Random(seed).uniform(0, 0.3))  # somewhere in the middle of whatever is going on
        await stack.kill()
        await asyncio.gather(*buyers)
        print(f"killed after {len(acknowledged)} acknowledged orders, process {os.getpid()} goes on")

        await stack.start()
        database = await connected(stack, monkeypatch)
        for payment, number in acknowledged.items():
            ledger = Fulfillment.of(await database.get(paths.fulfillment(payment)))
            assert ledger is not None
            assert (ledger.status, ledger.order_number) == ("completed", number)
        await check_invariants(database, "gala")
        ledgers = await database.count(Query("fulfillments"))
        assert len(acknowledged) <= ledgers

        shop = Shop(Service(session, stack.urls["gateway"], key=KEY), stack.urls["stripe"], session)
        again = await shop.buy("latecomer", "gala", 2)
        assert again.body["createdTickets"] == 2
        await check_invariants(database, "gala")
        await database.close()
    await stack.stop()
