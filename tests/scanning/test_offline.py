"""Uploads of scans that were made without a network."""

from datetime import UTC, datetime
from typing import Any

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from tests.support.services import Reply, Service
from tests.support.tickets import Tickets


def scan(scan_id: str, minute: int, **named: Any) -> dict[str, Any]:
    return {"scanId": scan_id, "at": f"2026-03-01T20:{minute:02}:00Z", **named}


async def upload(door: Service, *scans: dict[str, Any]) -> Reply:
    return await door.post("/scan-ticket/batch", {"eventId": "e1", "scans": list(scans)})


async def test_every_item_gets_its_verdict_in_the_order_sent(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("ben", 1, "r2")
    reply = await upload(
        door,
        scan("s1", 1, token="rtk:r1-token"),
        scan("s2", 1, userId="ben"),
        scan("s3", 2, ragerId="r1"),
        scan("s4", 3, token="unknown"),
        scan("s5", 3, token="https://not.a/ticket"),
    )
    results = reply.body["results"]
    assert [result["scanId"] for result in results] == ["s1", "s2", "s3", "s4", "s5"]
    assert [result["status"] for result in results] == ["admitted"] * 3 + ["ticket_not_found"] * 2
    assert [result.get("remainingTotal") for result in results[:3]] == [1, 0, 0]
    assert await tickets.check() == 3


async def test_the_earlier_scan_of_one_ticket_wins_whatever_the_order_sent(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    reply = await upload(
        door,
        scan("late", 9, token="r1-token", scannerId="south"),
        scan("early", 5, userId="anna", scannerId="north"),
    )
    late, early = reply.body["results"]
    assert (early["ok"], late["ok"], late["code"]) == (True, False, "already_used")
    assert late["conflict"] == {
        "recorded": {"scannerId": "north", "at": "2026-03-01T20:05:00Z"},
        "offline": {"scannerId": "south", "at": "2026-03-01T20:09:00Z"},
    }
    assert await door.metric("scan_batch_conflicts_total") == 1


async def test_a_party_that_was_always_too_large_is_no_conflict(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 3, "r1")
    reply = await upload(door, scan("s1", 1, token="r1-token", count=5, scannerId="north"))
    [party] = reply.body["results"]
    assert (party["code"], party["remaining"], party.get("conflict")) == ("already_used", 3, None)
    assert await door.metric("scan_batch_conflicts_total") == 0


async def test_a_party_conflicts_with_whom_of_it_somebody_else_admitted(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("anna", 2, "r2")
    await upload(door, scan("s1", 1, token="r1-token", scannerId="north"))
    reply = await upload(door, scan("s2", 3, userId="anna", count=4, scannerId="south"))
    [party] = reply.body["results"]
    assert (party["code"], party["ragerId"], party["remainingTotal"]) == ("already_used", "r2", 3)
    assert party["conflict"]["recorded"] == {"scannerId": "north", "at": "2026-03-01T20:01:00Z"}
    assert await door.metric("scan_batch_conflicts_total") == 1


async def test_a_summary_keeps_the_latest_scan(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 3, "r1")
    for n, minute in enumerate((7, 3)):
        await upload(door, scan(f"s{n}", minute, token="r1-token"))
    summary = await tickets.summary("anna")
    assert summary is not None
    assert summary.last_scan_at is not None
    assert (summary.last_scan_at.minute, summary.used_count) == (7, 2)


async def test_an_upload_can_be_repeated(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    scans = [scan("s1", 1, token="r1-token"), scan("s2", 2, token="r1-token")]
    first, second = await upload(door, *scans), await upload(door, *scans)
    assert second.body["results"] == [result | {"replayed": True} for result in first.body["results"]]
    assert await tickets.check() == 1
    assert await door.metric("scan_batch_conflicts_total") == 1


async def test_the_time_and_scanner_of_an_offline_scan_are_recorded(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 3, "r1")
    await upload(door, scan("s1", 7, token="r1-token", scannerId="north"))
    await upload(door, scan("s2", 3, token="r1-token", scannerId="south"))
    rager = await tickets.rager("r1")
    assert rager.last_scan_at is not None
    assert (rager.last_scan_at.minute, rager.last_scanned_by, rager.used_count) == (7, "north", 2)
    earlier = await tickets.scan("s2")
    assert earlier is not None
    assert earlier.at is not None
    assert (earlier.at.minute, earlier.scanner_id) == (3, "south")


async def test_a_scan_from_the_future_is_taken_as_of_now(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    await upload(door, {"scanId": "s1", "at": "2999-01-01T00:00:00+02:00", "token": "r1-token"})
    recorded = await tickets.scan("s1")
    assert recorded is not None
    assert recorded.at is not None
    assert recorded.at.year < 2999


@pytest.mark.parametrize("odd", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z"])
async def test_an_odd_time_of_one_item_does_not_hold_up_the_others(door: Service, tickets: Tickets, odd: str) -> None:
    await tickets.sell("anna", 2, "r1")
    reply = await upload(door, scan("s1", 1, token="r1-token"), {"scanId": "s2", "at": odd, "token": "r1-token"})
    assert [result["status"] for result in reply.body["results"]] == ["admitted", "admitted"]
    recorded = await tickets.scan("s2")
    assert recorded is not None
    assert recorded.at is not None
    assert datetime(1970, 1, 1, tzinfo=UTC) <= recorded.at <= datetime.now(UTC)


async def test_one_items_refusal_does_not_touch_the_others(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    await tickets.sell("ben", 1, "r2")
    await upload(door, scan("s1", 1, token="r1-token"))
    reply = await upload(door, scan("s1", 2, token="r2-token"), scan("s2", 3, token="r2-token"))
    assert [result["status"] for result in reply.body["results"]] == ["scan_id_reused", "admitted"]
    assert await tickets.check() == 2


@pytest.mark.parametrize("late", [2, 1], ids=["later", "at the same time"])
async def test_of_two_tickets_with_one_scan_id_the_earlier_and_else_the_first_sent_has_it(
    door: Service, tickets: Tickets, late: int
) -> None:
    await tickets.sell("anna", 1, "r1")
    await tickets.sell("ben", 1, "r2")
    by_user = scan("s1", 1, userId="anna")  # takes longer than a token: it is looked up when it is its turn
    reply = await upload(door, by_user, scan("s1", late, token="r2-token"))
    assert [result["status"] for result in reply.body["results"]] == ["admitted", "scan_id_reused"]
    assert [rager.used_count for rager in await tickets.ragers()] == [1, 0]


async def test_every_item_of_an_upload_is_measured(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    await upload(door, scan("s1", 1, token="r1-token"), scan("s2", 2, token="r1-token"), scan("s3", 3, userId="anna"))
    counts = [await door.metric("scan_seconds_count", method=method) for method in ("token", "user")]
    assert counts == [2, 1]
    assert await door.metric("scan_seconds_sum", method="token") > 0


async def test_five_hundred_scans_share_commits_and_survive_faults(
    door: Service, tickets: Tickets, firestore: EmbeddedFirestore
) -> None:
    for n in range(50):
        await tickets.sell(f"u{n}", 8, f"r{n}")
    firestore.faults.set("Commit", Fault(aborted=0.1, lost_reply=0.05))
    before = firestore.faults.calls.copy()
    scans = [scan(f"s{n}", n % 60, token=f"r{n % 50}-token") for n in range(500)]
    reply = await upload(door, *scans)
    print("500 offline scans took", dict(firestore.faults.calls - before))
    statuses = [result["status"] for result in reply.body["results"]]
    assert (statuses.count("admitted"), statuses.count("already_used")) == (400, 100)
    assert await tickets.check() == 400
    assert (firestore.faults.calls - before)["Commit"] < 100


async def test_too_many_or_malformed_scans_are_refused_whole(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    good = scan("s1", 1, token="r1-token")
    many = await upload(door, *[good] * 501)
    nameless = await upload(door, good, scan("s2", 1))
    timeless = await upload(door, good, {"scanId": "s2", "token": "r1-token"})
    zoneless = await upload(door, good, {"scanId": "s2", "token": "r1-token", "at": "2026-03-01T20:00:00"})
    nowhere = await door.post("/scan-ticket/batch", {"scans": [good]})
    assert [reply.status for reply in (many, nameless, timeless, zoneless, nowhere)] == [400] * 5
    assert timeless.body["field"] == "scans[1].at"
    assert await tickets.check() == 0
