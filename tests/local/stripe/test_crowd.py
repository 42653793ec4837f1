"""The simulator must not be the bottleneck of a sale."""

import asyncio
import time
from collections import Counter

from aiohttp import ClientSession, TCPConnector

from deploy.local.stripe import StripeSimulator
from tests.support.stripe_clients import Receiver

BUYERS = 500
KEY = {"Authorization": "Bearer sk_test_x"}


async def posted(http: ClientSession, path: str, form: dict[str, str], key: str) -> dict[str, str]:
    async with http.post(path, data=form, headers={"Idempotency-Key": key}) as reply:
        body: dict[str, str] = await reply.json()
        return body


async def buy(http: ClientSession, number: int) -> str:
    form = {"amount": "500", "currency": "usd", "metadata[buyer]": str(number)}
    intent = (await posted(http, "/v1/payment_intents", form, f"buy-{number}"))["id"]
    path = f"/v1/payment_intents/{intent}"
    assert (await posted(http, f"{path}/confirm", {"payment_method": "pm_card_visa"}, ""))["status"] == "succeeded"
    async with http.get(path) as reply:
        return str((await reply.json())["id"])


async def test_five_hundred_buyers_at_once_all_pay(simulator: StripeSimulator, receiver: Receiver) -> None:
    async with ClientSession(simulator.url, headers=KEY, connector=TCPConnector(limit=100)) as http:
        begun = time.perf_counter()
        intents = await asyncio.gather(*(buy(http, number) for number in range(BUYERS)))
        took = time.perf_counter() - begun
        assert await simulator.webhooks.settled(30)
        told = time.perf_counter() - begun
    print(f"{BUYERS} buyers: {3 * BUYERS} requests in {took:.2f} s, {3 * BUYERS} webhooks within {told:.2f} s")
    assert len(set(intents)) == BUYERS
    assert Counter(receiver.types)["payment_intent.succeeded"] == BUYERS
