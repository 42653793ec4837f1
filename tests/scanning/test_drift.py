import asyncio

from shared.documents import Event, HeldItem, Hold
from shared.firestore.client import Database
from shared.operations import Merge
from tests.support.services import Service
from tests.support.tickets import SOLD, Tickets, put, store

ASK = {"eventId": "e1"}


async def event(database: Database, quantity: int, seeded: int | None) -> None:
    await store(database, put(Event("events/e1", "Fest", quantity=quantity, seeded_quantity=seeded)))


async def test_tickets_left_and_sold_are_those_it_started_with(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await event(database, 5, 10)
    await tickets.sell("anna", 3, "r1", used_count=3, active=False)
    await tickets.sell(None, 2, "r2")
    await tickets.sell("anna", 4, "r3", refunded_at=SOLD)
    await tickets.sell("anna", 4, "r4", transferred_to="ben")
    reply = await door.post("/inventory-drift", ASK)
    assert reply.body == {
        "ok": True,
        "eventId": "e1",
        "seeded": 10,
        "available": 5,
        "sold": 5,
        "held": 0,
        "drift": 0,
        "settled": True,
    }


async def test_held_tickets_count(door: Service, tickets: Tickets, database: Database) -> None:
    await event(database, 5, 10)
    await tickets.sell("anna", 2, "r1")
    for n, status in enumerate(("held", "consumed", "released")):
        items = (HeldItem(event_id="e1", quantity=3), HeldItem(event_id="e2", quantity=9))
        await store(database, put(Hold(f"holds/pi_{n}", status, items, ("e1", "e2"))))
    reply = await door.post("/inventory-drift", ASK)
    assert (reply.body["held"], reply.body["drift"]) == (3, 0)


async def test_a_planted_drift_is_found(door: Service, tickets: Tickets, database: Database) -> None:
    await event(database, 5, 10)
    await tickets.sell("anna", 3, "r1")
    assert (await door.post("/inventory-drift", ASK)).body["drift"] == -2
    assert await door.metric("event_inventory_drift_tickets", event="e1") == -2


async def test_without_a_baseline_there_is_no_drift_until_one_is_set(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await event(database, 5, None)
    await tickets.sell("anna", 3, "r1")
    missing = await door.post("/inventory-drift", ASK)
    assert (missing.status, missing.code, missing.body["sold"]) == (409, "baseline_missing", 3)
    baseline = await door.post("/inventory-drift", {**ASK, "setBaseline": True})
    assert (baseline.body["seeded"], baseline.body["drift"]) == (8, 0)
    await store(database, Merge("events/e1", Event.patch(quantity=4)))
    assert (await door.post("/inventory-drift", ASK)).body["drift"] == -1


async def test_an_unknown_event_is_not_found(door: Service) -> None:
    reply = await door.post("/inventory-drift", ASK)
    assert (reply.status, reply.code) == (404, "event_not_found")


async def test_no_baseline_is_set_while_tickets_are_sold(door: Service, tickets: Tickets, database: Database) -> None:
    await event(database, 500, None)
    await tickets.sell("anna", 3, "r1")
    stop = asyncio.Event()

    async def sell() -> None:
        quantity = 500
        while not stop.is_set():
            quantity -= 1
            await store(database, Merge("events/e1", Event.patch(quantity=quantity)))

    selling = asyncio.create_task(sell())
    reply = await door.post("/inventory-drift", {**ASK, "setBaseline": True})
    stop.set()
    await selling
    assert (reply.status, reply.code) == (409, "event_is_selling")
