"""More buyers than tickets, all at once."""

import asyncio
import random
from collections import Counter

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.documents import Event, Fulfillment
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from tests.support.shop import Shop, check_invariants, event_on_sale, ragers_of

BUYERS = 200
TICKETS = 150


@pytest.mark.parametrize(
    "fault",
    [pytest.param(Fault(), id="good weather"), pytest.param(Fault(aborted=0.10, lost_reply=0.05), id="bad weather")],
)
async def test_200_buyers_of_150_tickets_get_exactly_150(
    shop: Shop, database: Database, firestore: EmbeddedFirestore, fault: Fault
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    firestore.faults.seed(seed)
    await event_on_sale(database, "gala", TICKETS)
    uids = [f"buyer{n:03}" for n in range(BUYERS)]
    paid = await asyncio.gather(*(shop.paid(uid, "gala", customerEmail=None) for uid in uids))
    firestore.faults.calls.clear()
    firestore.faults.set("Commit", fault)
    finalizing = (shop.finalize(uid, order, userEmail=None) for uid, order in zip(uids, paid, strict=True))
    replies = await asyncio.gather(*finalizing)  # without an address there are no receipts, whose commits would count
    commits = firestore.faults.calls["Commit"]
    firestore.faults.clear()
    print(f"{BUYERS} orders took {commits} commits")

    assert {reply.status for reply in replies} == {200}
    assert Counter(reply.body["status"] for reply in replies) == {"completed": TICKETS, "refunded": BUYERS - TICKETS}
    assert all(reply.body["ok"] is (reply.body["status"] == "completed") for reply in replies)
    ragers = await ragers_of(database, "gala")
    assert sum(rager.ticket_quantity for rager in ragers) == TICKETS
    event = Event.of(await database.get(paths.event("gala")))
    assert event is not None
    assert event.quantity == 0
    ledgers = [Fulfillment.of(document) for document in await database.query(Query("fulfillments"))]
    refused = [ledger for ledger in ledgers if ledger and ledger.status == "refunded"]
    assert len(ledgers) == BUYERS
    assert len(refused) == BUYERS - TICKETS
    assert all(ledger.needs_admin_review and ledger.errors[0].code == "sold_out" for ledger in refused)
    assert await database.count(Query("adminAlerts")) == BUYERS - TICKETS
    await check_invariants(database, "gala")
    if fault == Fault():
        assert commits < BUYERS / 4
