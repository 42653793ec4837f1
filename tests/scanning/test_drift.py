from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from services.scanning import drift
from shared.documents import Event, HeldItem, Hold, Rager
from shared.firestore.client import Database
from shared.operations import Merge
from shared.wiring import COMMITTER
from tests.support.interrupted import Interrupted
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


async def claim(database: Database) -> None:
    """The last batch goes to somebody whose new batch comes first."""
    sold = Rager("events/e1/ragers/a", user_id="zoe", ticket_quantity=2, ticket_token="t")
    gone = Rager.patch(active=False, transferred_to="zoe", transferred_at=SOLD)
    await store(database, Merge("events/e1/ragers/r3", gone), put(sold))


async def sell_and_refund(database: Database) -> None:
    """As many are left in the end, but what was sold comes first and what was refunded last."""
    sold = Rager("events/e1/ragers/a", user_id="zoe", ticket_quantity=2, ticket_token="t")
    await store(database, put(sold), Merge("events/e1", Event.patch(quantity=3)))
    refunded = Rager.patch(active=False, refunded_at=SOLD)
    await store(database, Merge("events/e1/ragers/r3", refunded), Merge("events/e1", Event.patch(quantity=5)))


async def hold(database: Database) -> None:
    held = Hold("holds/pi", "held", (HeldItem(event_id="e1", quantity=2),), ("e1",))
    await store(database, put(held), Merge("events/e1", Event.patch(quantity=3)))


@pytest.mark.parametrize("happens", [claim, sell_and_refund, hold])
async def test_what_happens_while_tickets_are_counted_is_no_drift(
    tickets: Tickets, database: Database, interrupted: Interrupted, happens: Callable[[Database], Awaitable[None]]
) -> None:
    await event(database, 5, 13)
    for n in range(4):
        await tickets.sell(f"u{n}", 2, f"r{n}")
    interrupted.happens = partial(happens, database)
    counted = await drift.inventory(interrupted, "e1", page_size=2)
    assert (counted.available, counted.sold, counted.held, counted.drift) == (5, 8, 0, 0)
    assert interrupted.happens is None
    assert (await drift.inventory(interrupted, "e1", page_size=2)).drift == 0


@pytest.mark.parametrize("happens", [claim, sell_and_refund, hold])
async def test_a_baseline_that_is_set_during_a_sale_is_right(
    door: Service,
    tickets: Tickets,
    database: Database,
    interrupted: Interrupted,
    happens: Callable[[Database], Awaitable[None]],
) -> None:
    await event(database, 5, None)
    for n in range(4):
        await tickets.sell(f"u{n}", 2, f"r{n}")
    interrupted.happens = partial(happens, database)
    await drift.set_baseline(interrupted, door.app[COMMITTER], "e1", page_size=2)
    present = await door.post("/inventory-drift", ASK)
    assert (present.body["seeded"], present.body["drift"]) == (13, 0)
