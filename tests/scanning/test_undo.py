import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from services.scanning.undo import Undo
from shared.documents import Rager, Scan
from shared.errors import Unavailable
from shared.firestore.client import Database
from shared.operations import Document, Documents, Merge
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
    await store(database, Merge("events/e1/scans/s2", Scan.patch(recorded_at=long_ago)))
    late = await door.post("/scan-ticket/undo", {"eventId": "e1", "scanId": "s2"})
    assert (late.status, late.code) == (409, "undo_window_passed")
    assert await tickets.check() == 1


async def test_an_offline_scan_can_be_undone_as_long_after_its_upload_as_any(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await tickets.sell("anna", 2, "r1")
    hours_ago = datetime.now(UTC) - timedelta(hours=5)
    scan = {"token": "r1-token", "scanId": "s1", "at": hours_ago.isoformat()}
    await door.post("/scan-ticket/batch", {"eventId": "e1", "scans": [scan]})
    recorded = await tickets.scan("s1")
    assert recorded is not None
    assert recorded.at == hours_ago
    assert (await door.post("/scan-ticket/undo", UNDO)).status == 200
    assert await tickets.check() == 0


async def test_a_scan_recorded_before_that_was_kept_is_undone_by_when_it_was_made(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await tickets.sell("anna", 2, "r1")
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    long_ago = datetime.now(UTC) - timedelta(minutes=61)
    await store(database, Merge("events/e1/scans/s1", Scan.patch(recorded_at=None, at=long_ago)))
    assert (await door.post("/scan-ticket/undo", UNDO)).code == "undo_window_passed"


def test_a_ticket_that_changed_hands_since_the_lookup_is_not_half_undone() -> None:
    scan = Scan("events/e1/scans/s1", rager_id="r1", count=1, result="admitted", at=SOLD)
    rager = Rager("events/e1/ragers/r1", user_id="ben", used_count=1)
    undo = Undo("e1", "s1", ("r1",), ("anna",), timedelta(hours=1), SOLD)
    documents = {path: Document(path, None) for path in undo.reads()}
    documents |= {record.path: Document(record.path, record.fields()) for record in (scan, rager)}
    with pytest.raises(Unavailable):
        undo.decide(Documents(documents, undo.reads()))
