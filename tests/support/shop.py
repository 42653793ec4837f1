"""A buyer's way through the checkout, step by step, and what must hold about an event at any quiet moment."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from shared.documents import Event, Hold, Rager, Summary
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Put, Value, Write
from tests.support.services import Reply, Service

STRIPE_KEY = "sk_test_checkout"


async def write(database: Database, *writes: Write) -> None:
    """Writes as another program would, whatever was there."""
    transactions: list[bytes] = []
    await database.begin([writes[0].path], timeout=10, opened=transactions.append)
    await database.commit(writes, transaction=transactions[0], timeout=30)


async def put(database: Database, path: str, fields: dict[str, Value]) -> None:
    await write(database, Put(path, fields))


@dataclass(frozen=True, slots=True)
class Shop:
    """Speaks to the checkout as the web app does, and to Stripe as its page in the browser does."""

    checkout: Service
    stripe_url: str
    session: aiohttp.ClientSession

    async def start(self, uid: str, event_id: str, quantity: int = 1, **fields: Any) -> Reply:
        cart = [{"productId": event_id, "quantity": quantity}]
        body = {"firebaseId": uid, "customerEmail": f"{uid}@example.com", "cartItems": cart, **fields}
        return await self.checkout.post("/create-payment-intent", body)

    async def pay(self, payment_intent_id: str, method: str = "pm_card_visa") -> dict[str, Any]:
        """Confirm the payment; Stripe's reply, also where it is an error."""
        url = f"{self.stripe_url}/v1/payment_intents/{payment_intent_id}/confirm"
        form = {"payment_method": method, "return_url": "https://tickets.example/done"}
        headers = {"Authorization": f"Bearer {STRIPE_KEY}"}
        async with self.session.post(url, data=form, headers=headers) as response:
            reply: dict[str, Any] = await response.json()
            return reply

    async def finalize(self, uid: str, payment_intent_id: str, **fields: Any) -> Reply:
        body = {
            "paymentIntentId": payment_intent_id,
            "firebaseId": uid,
            "userEmail": f"{uid}@example.com",
            "userName": uid.title(),
            **fields,
        }
        return await self.checkout.post("/finalize-order", body)

    async def paid(self, uid: str, event_id: str, quantity: int = 1, **fields: Any) -> str:
        """A payment that has gone through."""
        started = await self.start(uid, event_id, quantity, **fields)
        assert started.status == 200, started
        payment_intent_id: str = started.body["paymentIntentId"]
        assert (await self.pay(payment_intent_id))["status"] == "succeeded"
        return payment_intent_id

    async def buy(self, uid: str, event_id: str, quantity: int = 1) -> Reply:
        return await self.finalize(uid, await self.paid(uid, event_id, quantity))


async def collections(database: Database) -> set[str]:
    """The collections that hold anything, but for the background work that asks for itself."""
    return {collection.id async for collection in database.client.collections()} - {"jobs"}


async def event_on_sale(database: Database, event_id: str, quantity: int = 100, **fields: Value) -> None:
    sold: dict[str, Value] = {
        "name": f"Event {event_id}", "price": 25.0, "quantity": quantity, "seededQuantity": quantity, **fields
    }  # fmt: skip
    await put(database, paths.event(event_id), sold)


async def ragers_of(database: Database, event_id: str) -> list[Rager]:
    documents = await database.query(Query(paths.ragers(event_id)))
    return [rager for document in documents if (rager := Rager.of(document))]


async def summaries_of(database: Database, event_id: str) -> dict[str, Summary]:
    documents = await database.query(Query(paths.summaries(event_id)))
    return {summary.id: summary for document in documents if (summary := Summary.of(document))}


async def check_invariants(database: Database, event_id: str) -> None:
    """Inventory, held and sold tickets are what the event began with, summaries the sums of ragers, none negative."""
    event = Event.of(await database.get(paths.event(event_id)))
    assert event is not None
    ragers = await ragers_of(database, event_id)
    sold = sum(rager.ticket_quantity for rager in ragers if rager.counts)
    holds = [Hold.of(document) for document in await database.query(Query("holds"))]
    held = sum(hold.quantity_of(event_id) for hold in holds if hold)
    assert event.quantity >= 0
    assert event.quantity + held + sold == event.seeded_quantity
    assert all(0 <= rager.used_count <= rager.ticket_quantity for rager in ragers)
    summaries = await summaries_of(database, event_id)
    expected: dict[str, tuple[int, int]] = dict.fromkeys(summaries, (0, 0))
    for rager in ragers:
        if rager.user_id and rager.counts:
            total, used = expected.get(rager.user_id, (0, 0))
            expected[rager.user_id] = (total + rager.ticket_quantity, used + rager.used_count)
    assert {uid: (summary.total_tickets, summary.used_count) for uid, summary in summaries.items()} == expected
