import asyncio
from datetime import UTC, datetime, timedelta

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.documents import Scan
from shared.firestore.client import Database
from shared.operations import Merge
from tests.support.services import Service
from tests.support.tickets import SOLD, Tickets, store

UNDO = {"eventId": "e1", "scanId": "s1"}


async def test_an_undone_scan_leaves_the_ticket_as_it_was(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    assert not (await tickets.rager("r1")).active
    reply = await door.post("/scan-ticket/undo", UNDO)
    assert (reply.status, reply.body["restored"], reply.body["ragerId"]) == (200, 1, "r1")
    rager, scan, summary = await tickets.rager("r1"), await tickets.scan("s1"), await tickets.summary("anna")
    assert (rager.used_count, rager.active) == (0, True)
    assert scan is not None
    assert scan.undone_at is not None
    assert summary is not None
    assert summary.used_count == 0
    assert await tickets.check() == 0
    assert (await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s2"})).status == 200
    assert await tickets.check() == 1


async def test_a_scan_is_undone_once_however_often_it_is_asked_for(
    door: Service, tickets: Tickets, firestore: EmbeddedFirestore
) -> None:
    await tickets.sell("anna", 3, "r1", used_count=1)
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    firestore.faults.set("Commit", Fault(aborted=0.3, lost_reply=0.3))
    replies = await asyncio.gather(*(door.post("/scan-ticket/undo", UNDO) for _ in range(8)))
    assert {reply.status for reply in replies} == {200}
    assert [reply.body.get("replayed") for reply in replies].count(None) == 1
    assert (await tickets.rager("r1")).used_count == 1
    assert await door.metric("scans_undone_total") == 1


async def test_a_party_is_undone_in_every_batch_it_took_from(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("anna", 3, "r2")
    await door.post("/scan-ticket", {"userId": "anna", "eventId": "e1", "count": 4, "scanId": "s1"})
    assert (await door.post("/scan-ticket/undo", UNDO)).body["restored"] == 4
    assert [rager.used_count for rager in await tickets.ragers()] == [0, 0]
    assert await tickets.check() == 0


async def test_the_replay_of_an_undone_scan_says_so(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    scan = {"token": "r1-token", "scanId": "s1"}
    await door.post("/scan-ticket", scan)
    undone = await door.post("/scan-ticket/undo", UNDO)
    replay = await door.post("/scan-ticket", scan)
    assert (replay.body["replayed"], replay.body["undoneAt"]) == (True, undone.body["undoneAt"])
    assert await tickets.check() == 0


async def test_a_batch_refunded_since_is_not_switched_on_again(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    await tickets.sell("anna", 1, "r2")
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    await tickets.change("r1", refunded_at=SOLD)
    await tickets.summarise("anna")
    await door.post("/scan-ticket/undo", UNDO)
    rager, summary = await tickets.rager("r1"), await tickets.summary("anna")
    assert (rager.used_count, rager.active) == (0, False)
    assert summary is not None
    assert (summary.total_tickets, summary.used_count) == (1, 0)


async def test_the_summary_of_the_present_holder_is_restored(door: Service, tickets: Tickets) -> None:
    await tickets.sell(None, 1, "r1", guest_email="guest@example.com")
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    await tickets.change("r1", user_id="anna")
    await tickets.summarise("anna")
    await door.post("/scan-ticket/undo", UNDO)
    assert await tickets.check() == 0


async def test_what_cannot_be_undone_is_refused(door: Service, tickets: Tickets, database: Database) -> None:
    await tickets.sell("anna", 1, "r1", active=False)
    await tickets.sell("anna", 1, "r2")
    assert (await door.post("/scan-ticket/undo", UNDO)).code == "scan_not_found"
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    assert (await door.post("/scan-ticket/undo", UNDO)).code == "nothing_to_undo"
    await door.post("/scan-ticket", {"token": "r2-token", "scanId": "s2"})
    long_ago = datetime.now(UTC) - timedelta(minutes=61)
    await store(database, Merge("events/e1/scans/s2", Scan.patch(at=long_ago)))
    late = await door.post("/scan-ticket/undo", {"eventId": "e1", "scanId": "s2"})
    assert (late.status, late.code) == (409, "undo_window_passed")
    assert await tickets.check() == 1
