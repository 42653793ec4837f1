"""A scan id makes a scan repeatable: the same one gives the same answer, whatever has happened since."""

import asyncio

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Put
from tests.support.services import Service
from tests.support.tickets import SOLD, Tickets, store


async def test_replaying_a_scan_changes_nothing(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 3, "r1")
    scan = {"token": "r1-token", "scanId": "s1"}
    first, second = await door.post("/scan-ticket", scan), await door.post("/scan-ticket", scan)
    assert second.status == 200
    assert second.body == first.body | {"replayed": True}
    assert await tickets.check() == 1


async def test_a_replay_answers_as_before_even_if_the_ticket_has_moved_on(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    scan = {"token": "r1-token", "scanId": "s1"}
    first = await door.post("/scan-ticket", scan)
    await tickets.change("r1", refunded_at=SOLD, transferred_to="ben", active=False)
    await tickets.forget_mapping("r1-token")
    assert (await door.post("/scan-ticket", scan)).body == first.body | {"replayed": True}


async def test_a_replay_that_names_no_event_answers_as_before_wherever_the_token_has_gone(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await tickets.sell("anna", 2, "r1")
    scan = {"token": "r1-token", "scanId": "s1"}
    first = await door.post("/scan-ticket", scan)
    await tickets.forget_mapping("r1-token")
    await tickets.change("r1", ticket_token="other")
    gone = await door.post("/scan-ticket", scan)
    elsewhere = Tickets(database, "e2")
    rager = await elsewhere.sell("ben", 1, "r2")
    await store(database, Put("ticketTokens/r1-token", elsewhere.mapping(rager).fields()))
    await elsewhere.change("r2", ticket_token="r1-token")
    moved = await door.post("/scan-ticket", scan)
    assert gone.body == moved.body == first.body | {"replayed": True}
    assert (await tickets.check(), await elsewhere.check()) == (1, 0)
    undone = await door.post("/scan-ticket/undo", {"eventId": "e1", "scanId": "s1"})
    assert (await door.post("/scan-ticket", scan)).body["undoneAt"] == undone.body["undoneAt"]


async def test_a_scan_id_that_named_no_event_is_refused_for_a_ticket_of_another_event(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await tickets.sell("anna", 1, "r1")
    await Tickets(database, "e2").sell("ben", 1, "r2")
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    reply = await door.post("/scan-ticket", {"token": "r2-token", "scanId": "s1"})
    assert (reply.status, reply.code) == (409, "scan_id_reused")


async def test_a_lost_reply_of_a_scan_that_names_no_event_admits_once(
    door: Service, tickets: Tickets, firestore: EmbeddedFirestore
) -> None:
    await tickets.sell("anna", 20, "r1")
    firestore.faults.set("Commit", Fault(aborted=0.2, lost_reply=0.4))
    scans = [door.post("/scan-ticket", {"token": "r1-token", "scanId": f"s{n % 10}"}) for n in range(30)]
    assert {reply.status for reply in await asyncio.gather(*scans)} == {200}
    firestore.faults.clear()
    assert await tickets.check() == 10


async def test_a_denial_is_replayed_even_if_the_ticket_would_be_admitted_now(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1", active=False)
    scan = {"token": "r1-token", "scanId": "s1"}
    first = await door.post("/scan-ticket", scan)
    await tickets.change("r1", active=True)
    second = await door.post("/scan-ticket", scan)
    assert (first.status, second.status) == (409, 409)
    assert second.body == first.body | {"replayed": True}
    assert await tickets.check() == 0


@pytest.mark.parametrize("gate", [{}, {"eventId": "e1"}])
async def test_an_unknown_token_stays_unknown_to_its_scan_id(
    door: Service, tickets: Tickets, gate: dict[str, str]
) -> None:
    scan = {"token": "r1-token", "scanId": "s1", **gate}
    first = await door.post("/scan-ticket", scan)
    await tickets.sell("anna", 1, "r1")
    second = await door.post("/scan-ticket", scan)
    assert (first.status, second.status) == (404, 404)
    assert second.body == first.body | {"replayed": True}


async def test_a_denial_without_a_scan_id_leaves_no_record(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1", active=False)
    await door.post("/scan-ticket", {"token": "r1-token"})
    assert await tickets.scans() == []


async def test_a_scan_without_a_scan_id_is_remembered_only_at_its_event(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await tickets.sell("anna", 1, "r1")
    await door.post("/scan-ticket", {"token": "r1-token"})
    assert (len(await tickets.scans()), await database.query(Query("unplacedScans"))) == (1, [])


async def test_a_scan_id_for_another_ticket_is_refused(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    await tickets.sell("ben", 1, "r2")
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    reply = await door.post("/scan-ticket", {"token": "r2-token", "scanId": "s1"})
    assert (reply.status, reply.code) == (409, "scan_id_reused")
    assert await tickets.check() == 1
