"""Scans over HTTP, against the embedded Firestore."""

import asyncio

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from shared.documents import TicketToken
from shared.firestore.client import Database
from shared.operations import Delete, Merge, Put
from tests.support.services import Service
from tests.support.tickets import SOLD, Tickets, store


async def test_a_scan_by_token_admits_one_ticket(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 3, "r1")
    reply = await door.post("/scan-ticket", {"token": "r1-token", "scannerId": "north"})
    assert reply.status == 200
    told = {name: reply.body[name] for name in ("ok", "eventId", "ragerId", "remaining", "remainingTotal", "status")}
    assert told == {
        "ok": True,
        "eventId": "e1",
        "ragerId": "r1",
        "remaining": 2,
        "remainingTotal": 2,
        "status": "admitted",
    }
    rager, summary = await tickets.rager("r1"), await tickets.summary("anna")
    assert (rager.used_count, rager.last_scanned_by, rager.active) == (1, "north", True)
    assert summary is not None
    assert (summary.total_tickets, summary.used_count, summary.last_scan_at) == (3, 1, rager.last_scan_at)
    assert await tickets.check() == 1


async def test_a_scan_by_token_knows_what_the_holder_has_in_other_batches(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 3, "r1")
    await tickets.sell("anna", 4, "r2")
    reply = await door.post("/scan-ticket", {"token": "r1-token"})
    assert (reply.body["remaining"], reply.body["remainingTotal"]) == (2, 6)


async def test_a_mapping_without_a_holder_is_looked_at_again(
    door: Service, tickets: Tickets, firestore: EmbeddedFirestore
) -> None:
    rager = await tickets.sell("anna", 3, "r1")
    await tickets.sell("anna", 4, "r2")
    mapping = tickets.mapping(rager).fields() | {"firebaseId": None}
    await tickets.forget_mapping("r1-token")
    await store(tickets.database, Put("ticketTokens/r1-token", mapping))
    before = firestore.faults.calls.copy()
    reply = await door.post("/scan-ticket", {"token": "r1-token"})
    calls = firestore.faults.calls - before
    assert reply.body["remainingTotal"] == 6
    assert (calls["BatchGetDocuments"], calls["RunQuery"]) == (3, 0)
    assert await tickets.check() == 1


async def test_a_user_scan_takes_from_the_batch_with_most_left(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("anna", 3, "r2")
    taken = [(await door.post("/scan-ticket", {"userId": "anna", "eventId": "e1"})).body for _ in range(6)]
    assert [body.get("ragerId") for body in taken[:5]] == ["r2", "r1", "r2", "r1", "r2"]
    assert [body.get("remainingTotal") for body in taken] == [4, 3, 2, 1, 0, 0]
    assert taken[5]["code"] == "already_used"
    assert await tickets.check() == 5


async def test_a_scan_by_rager_admits_from_that_batch(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("anna", 3, "r2")
    reply = await door.post("/scan-ticket", {"ragerId": "r1", "eventId": "e1"})
    assert (reply.body["ragerId"], reply.body["remaining"], reply.body["remainingTotal"]) == ("r1", 1, 4)
    assert await tickets.check() == 1


async def test_a_guest_has_no_summary(door: Service, tickets: Tickets) -> None:
    await tickets.sell(None, 2, "r1", guest_email="guest@example.com")
    reply = await door.post("/scan-ticket", {"token": "r1-token"})
    assert (reply.status, reply.body["remaining"], reply.body["remainingTotal"]) == (200, 1, 1)
    assert await tickets.summaries() == []
    assert await tickets.check() == 1


async def test_a_missing_summary_is_made_from_all_batches(door: Service, tickets: Tickets, database: Database) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("anna", 3, "r2")
    await store(database, Delete("eventUsers/e1/users/anna"))
    reply = await door.post("/scan-ticket", {"token": "r1-token"})
    assert (reply.status, reply.body["remainingTotal"]) == (200, 4)
    assert await tickets.check() == 1


async def test_a_code_that_was_replaced_opens_nothing(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.change("r1", ticket_token="new-token")  # and the mapping of the old one is still there
    scanned = await door.post("/scan-ticket", {"token": "r1-token"})
    foreseen = await door.post("/scan-ticket/preview", {"token": "r1-token"})
    offline = {"token": "r1-token", "scanId": "s1", "at": "2026-03-01T20:00:00Z"}
    uploaded = await door.post("/scan-ticket/batch", {"eventId": "e1", "scans": [offline]})
    assert [reply.code for reply in (scanned, foreseen)] == ["ticket_not_found"] * 2
    assert uploaded.body["results"][0]["code"] == "ticket_not_found"
    assert (await door.post("/scan-ticket", {"token": "new-token"})).status == 200
    assert await tickets.check() == 1


@pytest.mark.parametrize("astray", ["r2", "r9"])
async def test_a_ticket_is_found_by_its_own_code_though_the_mapping_points_elsewhere(
    door: Service, tickets: Tickets, database: Database, astray: str
) -> None:
    await tickets.sell("anna", 3, "r1")
    await tickets.sell("ben", 1, "r2")
    await store(database, Merge("ticketTokens/r1-token", TicketToken.patch(rager_id=astray, user_id="ben")))
    scanned = await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    foreseen = await door.post("/scan-ticket/preview", {"token": "r1-token"})
    offline = {"token": "r1-token", "scanId": "s2", "at": "2026-03-01T20:00:00Z"}
    uploaded = await door.post("/scan-ticket/batch", {"eventId": "e1", "scans": [offline]})
    assert (scanned.body["ragerId"], foreseen.body["next"]["ragerId"]) == ("r1", "r1")
    assert uploaded.body["results"][0]["ragerId"] == "r1"
    assert await tickets.check() == 2


async def test_a_batch_that_does_not_say_its_code_opens_by_its_mapping(door: Service, tickets: Tickets) -> None:
    for n, token in enumerate((None, "")):
        await tickets.sell("anna", 1, f"r{n}")
        await tickets.change(f"r{n}", ticket_token=token)
        assert (await door.post("/scan-ticket", {"token": f"r{n}-token"})).status == 200
    assert await tickets.check() == 2


@pytest.mark.parametrize(
    "payload", ["rtk:r1-token", "RTK: r1-token ", "https://x.example/t?a=1&tk=r1-token", " r1-token"]
)
async def test_what_a_qr_code_holds_is_taken_as_a_token(door: Service, tickets: Tickets, payload: str) -> None:
    await tickets.sell("anna", 1, "r1")
    assert (await door.post("/scan-ticket", {"token": payload})).status == 200


async def test_a_party_is_admitted_across_the_users_batches_all_or_nothing(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("anna", 3, "r2")
    many = await door.post("/scan-ticket", {"userId": "anna", "eventId": "e1", "count": 6})
    assert (many.status, many.code, many.body["remainingTotal"]) == (409, "already_used", 5)
    assert await tickets.check() == 0
    four = await door.post("/scan-ticket", {"userId": "anna", "eventId": "e1", "count": 4, "scanId": "s1"})
    assert (four.status, four.body["count"], four.body["remainingTotal"]) == (200, 4, 1)
    scan = await tickets.scan("s1")
    assert scan is not None
    assert scan.consumed == {"r2": 3, "r1": 1}
    assert await tickets.check() == 4


async def test_a_party_larger_than_the_batch_it_shows_takes_the_rest_from_the_others(
    door: Service, tickets: Tickets
) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("anna", 3, "r2")
    reply = await door.post("/scan-ticket", {"token": "r1-token", "count": "3", "scanId": "s1"})
    assert (reply.status, reply.body["ragerId"], reply.body["remainingTotal"]) == (200, "r1", 2)
    scan = await tickets.scan("s1")
    assert scan is not None
    assert scan.consumed == {"r1": 2, "r2": 1}
    assert await tickets.check() == 3


async def test_a_pending_transfer_is_admitted_and_flagged(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1", pending_transfer_id="t1")
    reply = await door.post("/scan-ticket", {"token": "r1-token"})
    assert (reply.status, reply.body["transferPending"]) == (200, True)


async def test_a_scan_by_token_takes_three_round_trips(
    door: Service, tickets: Tickets, firestore: EmbeddedFirestore
) -> None:
    await tickets.sell("anna", 3, "r1")
    await tickets.sell("anna", 1, "r2")
    before = firestore.faults.calls.copy()
    reply = await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1", "eventId": "e1"})
    calls = firestore.faults.calls - before
    assert reply.body["remainingTotal"] == 3
    assert calls == {"BatchGetDocuments": 2, "Commit": 1}


async def test_previews_write_nothing(door: Service, tickets: Tickets, firestore: EmbeddedFirestore) -> None:
    await tickets.sell("anna", 2, "r1")
    await tickets.sell("anna", 3, "r2")
    before = firestore.faults.calls.copy()
    by_user = await door.post("/scan-ticket/preview", {"userId": "anna", "eventId": "e1"})
    by_token = await door.post("/scan-ticket/preview", {"token": "r1-token"})
    assert set(firestore.faults.calls - before) <= {"BatchGetDocuments", "RunQuery"}
    assert (by_user.body["remainingTotal"], by_token.body["remainingTotal"]) == (5, 5)
    assert by_user.body["nextCandidate"] == by_user.body["next"]
    assert (by_user.body["next"]["ragerId"], by_token.body["next"]["ragerId"]) == ("r2", "r1")
    assert await tickets.check() == 0


async def test_a_preview_foretells_the_scan(door: Service, tickets: Tickets) -> None:
    for rager_id, quantity in (("r1", 2), ("r2", 4), ("r3", 4)):
        await tickets.sell("anna", quantity, rager_id)
    wanted = {"userId": "anna", "eventId": "e1"}
    for _ in range(10):
        foreseen = (await door.post("/scan-ticket/preview", wanted)).body
        scanned = (await door.post("/scan-ticket", wanted)).body
        assert foreseen["next"]["ragerId"] == scanned["ragerId"]
    ended = (await door.post("/scan-ticket/preview", wanted)).body
    assert (ended["next"], ended["status"], ended["remainingTotal"]) == (None, "already_used", 0)


async def test_a_user_without_tickets_has_an_empty_preview(door: Service) -> None:
    reply = await door.post("/scan-ticket/preview", {"userId": "anna", "eventId": "e1"})
    assert (reply.status, reply.body["items"], reply.body["next"]) == (200, [], None)


REFUSED = [
    ("already_used", {"used_count": 1, "active": False}, {"token": "r1-token"}, 409),
    ("already_used", {"used_count": 1}, {"userId": "anna", "eventId": "e1"}, 409),
    ("wrong_event", {}, {"token": "r1-token", "eventId": "e2"}, 409),
    ("transferred", {"transferred_to": "ben", "active": False}, {"token": "r1-token"}, 409),
    ("refunded", {"refunded_at": SOLD, "active": False}, {"token": "r1-token"}, 409),
    ("inactive", {"active": False}, {"token": "r1-token"}, 409),
    ("ticket_not_found", {}, {"token": "other"}, 404),
    ("ticket_not_found", {}, {"userId": "ben", "eventId": "e1"}, 404),
    ("ticket_not_found", {}, {"ragerId": "r9", "eventId": "e1"}, 404),
]


@pytest.mark.parametrize(("code", "changes", "asked", "status"), REFUSED)
async def test_every_refusal_is_reached(
    door: Service, tickets: Tickets, *, code: str, changes: dict[str, object], asked: dict[str, str], status: int
) -> None:
    await tickets.sell("anna", 1, "r1", last_scan_at=SOLD, last_scanned_by="north", **changes)
    reply = await door.post("/scan-ticket", asked)
    assert (reply.status, reply.code) == (status, code)
    if code == "already_used":
        assert reply.body["remaining"] == reply.body["remainingTotal"] == 0
        assert (reply.body["lastScanAt"], reply.body["lastScannedBy"]) == ("2026-03-01T12:00:00Z", "north")
    assert await door.metric("scans_total", code=code, outcome="denied") == 1


async def test_a_token_whose_transfer_was_claimed_is_transferred(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1", transferred_to="ben", active=False)
    await tickets.forget_mapping("r1-token")
    assert (await door.post("/scan-ticket", {"token": "r1-token"})).code == "transferred"


async def test_a_ticket_that_has_no_mapping_yet_is_admitted(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    await tickets.forget_mapping("r1-token")
    assert (await door.post("/scan-ticket", {"token": "r1-token"})).status == 200
    assert await tickets.check() == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"token": ""},
        {"token": "https://x.example/t"},
        {"token": "a/b"},
        {"token": 7},
        {"userId": "anna"},
        {"ragerId": "r1"},
        {"userId": "anna", "eventId": "a/b"},
        {"token": "r1-token", "count": 0},
        {"token": "r1-token", "count": 21},
        {"token": "r1-token", "count": True},
        {"token": "r1-token", "scanId": ".."},
        [],
    ],
)
async def test_a_malformed_scan_is_refused_and_nothing_written(door: Service, tickets: Tickets, body: object) -> None:
    await tickets.sell("anna", 1, "r1")
    reply = await door.post("/scan-ticket", body)
    assert (reply.status, reply.body["code"]) == (400, "invalid_request")
    assert await tickets.check() == 0


async def test_without_the_proxy_key_nothing_is_scanned(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    for path in ("/scan-ticket", "/scan-ticket/preview"):
        assert (await door.post(path, {"token": "r1-token"}, headers={"x-proxy-key": "wrong"})).status == 403
    assert await tickets.check() == 0


@pytest.mark.parametrize("faults", [Fault(), Fault(aborted=0.1, lost_reply=0.05)], ids=["calm", "faults"])
async def test_fifty_scans_at_once_admit_exactly_ten_tickets(
    door: Service, tickets: Tickets, firestore: EmbeddedFirestore, faults: Fault
) -> None:
    await tickets.sell("anna", 10, "r1")
    firestore.faults.set("Commit", faults)
    before = firestore.faults.calls["Commit"]
    ways = [{"token": "r1-token"}, {"userId": "anna", "eventId": "e1"}]
    scans = [door.post("/scan-ticket", {**ways[n % 2], "scanId": f"s{n}"}) for n in range(50)]
    replies = await asyncio.gather(*scans)
    print(f"50 scans took {firestore.faults.calls['Commit'] - before} commits")
    assert sorted(reply.status for reply in replies) == [200] * 10 + [409] * 40
    assert {reply.code for reply in replies if reply.status == 409} == {"already_used"}
    assert await tickets.check() == 10


async def test_token_and_user_scans_leave_the_same_documents(door: Service, database: Database) -> None:
    left: list[list[dict[str, object]]] = []
    for event_id, asked in (("e1", {"token": "r1-token"}), ("e2", {"userId": "anna", "eventId": "e2"})):
        tickets = Tickets(database, event_id)
        await tickets.sell("anna", 2, "r1")
        await door.post("/scan-ticket", {**asked, "scanId": "s1"})
        scan, summary = await tickets.scan("s1"), await tickets.summary("anna")
        assert scan is not None
        assert summary is not None
        documents = [(await tickets.rager("r1")).fields(), summary.fields(), scan.fields()]
        left.append([{k: str(v).replace(event_id, "e") for k, v in d.items() if not _of_the_way(k)} for d in documents])
    assert left[0] == left[1]


def _of_the_way(field: str) -> bool:
    """What must differ: when, and by which way."""
    return field in {"method", "subject", "at"} or field.lower().endswith(("at", "updated"))
