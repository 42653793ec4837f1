from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.documents import DoorKey
from shared.firestore.client import Database
from shared.operations import Merge
from tests.support.services import Reply, Service
from tests.support.tickets import Tickets, store


async def issue(door: Service, **fields: Any) -> Reply:
    return await door.post("/door-keys", {"eventId": "e1", "label": "north gate", **fields})


async def test_a_door_key_scans_under_its_label(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 3, "r1")
    key = {"x-door-key": (await issue(door)).body["doorKey"]}
    by_token = await door.post("/scan-ticket", {"token": "r1-token", "scannerId": "me"}, headers=key)
    by_user = await door.post("/scan-ticket", {"userId": "anna"}, headers=key)  # the event is the key's
    preview = await door.post("/scan-ticket/preview", {"userId": "anna"}, headers=key)
    assert [reply.status for reply in (by_token, by_user, preview)] == [200, 200, 200]
    assert (await tickets.rager("r1")).last_scanned_by == "north gate"
    assert {scan.scanner_id for scan in await tickets.scans()} == {"north gate"}


async def test_a_door_key_opens_one_event(door: Service, database: Database) -> None:
    await Tickets(database, "e2").sell("anna", 1, "r1")
    key = {"x-door-key": (await issue(door)).body["doorKey"]}
    elsewhere = await door.post("/scan-ticket", {"token": "r1-token", "eventId": "e2"}, headers=key)
    astray = await door.post("/scan-ticket", {"token": "r1-token"}, headers=key)
    manifest = await door.get("/events/e2/manifest", headers=key)
    batch = await door.post("/scan-ticket/batch", {"eventId": "e2", "scans": []}, headers=key)
    assert (elsewhere.status, elsewhere.code) == (403, "door_key_for_other_event")
    assert (astray.status, astray.code) == (409, "wrong_event")
    assert (manifest.status, batch.status) == (403, 403)


async def test_a_door_key_is_shown_once_and_stored_as_a_hash(door: Service, database: Database) -> None:
    issued = await issue(door, expiresAt="2999-01-01T00:00:00Z")
    key, key_id = issued.body["doorKey"], issued.body["id"]
    assert issued.body["expiresAt"] == "2999-01-01T00:00:00Z"
    stored = await database.get(f"doorKeys/{key_id}")
    assert key.rpartition("_")[2] not in str(stored.fields)
    listed = await door.get("/door-keys?eventId=e1")
    assert [(found["id"], found["label"], found["revokedAt"]) for found in listed.body["doorKeys"]] == [
        (key_id, "north gate", None)
    ]
    assert key.rpartition("_")[2] not in str(listed.body)
    assert (await door.get("/door-keys?eventId=e2")).body["doorKeys"] == []


async def test_a_revoked_key_opens_nothing(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 2, "r1")
    issued = (await issue(door)).body
    key = {"x-door-key": issued["doorKey"]}
    assert (await door.post("/scan-ticket", {"token": "r1-token"}, headers=key)).status == 200
    assert (await door.request("DELETE", f"/door-keys/{issued['id']}")).status == 200
    after = await door.post("/scan-ticket", {"token": "r1-token"}, headers=key)
    assert (after.status, after.code) == (401, "invalid_door_key")
    assert (await door.request("DELETE", f"/door-keys/{issued['id']}")).status == 200
    assert (await door.request("DELETE", "/door-keys/other")).code == "door_key_not_found"
    assert await tickets.check() == 1


async def test_an_expired_key_opens_nothing(door: Service, database: Database) -> None:
    issued = (await issue(door)).body
    past = datetime.now(UTC) - timedelta(seconds=1)
    await store(database, Merge(f"doorKeys/{issued['id']}", DoorKey.patch(expires_at=past)))
    reply = await door.post("/scan-ticket", {"token": "t"}, headers={"x-door-key": issued["doorKey"]})
    assert (reply.status, reply.code) == (401, "door_key_expired")


@pytest.mark.parametrize("key", ["", "x", "dk_", "dk_a_", "dk_unknown_secret", "dk_a/b_secret"])
async def test_what_is_no_key_is_refused(door: Service, key: str) -> None:
    reply = await door.post("/scan-ticket", {"token": "t"}, headers={"x-door-key": key})
    assert (reply.status, reply.code) == (401, "invalid_door_key")


async def test_the_right_id_with_a_wrong_secret_is_refused(door: Service) -> None:
    issued = (await issue(door)).body
    reply = await door.post("/scan-ticket", {"token": "t"}, headers={"x-door-key": issued["doorKey"] + "x"})
    assert reply.code == "invalid_door_key"


async def test_a_door_key_does_nothing_but_scan_and_preview(door: Service, tickets: Tickets) -> None:
    await tickets.sell("anna", 1, "r1")
    key = {"x-door-key": (await issue(door)).body["doorKey"]}
    for path in ("/scan-ticket/undo", "/door-keys", "/reconcile-event-users", "/inventory-drift"):
        reply = await door.post(path, {"eventId": "e1", "label": "x", "scanId": "s"}, headers=key)
        assert (reply.status, reply.code) == (403, "door_key_not_enough")
    assert (await door.get("/door-keys?eventId=e1", headers=key)).status == 403


async def test_a_key_that_would_be_of_no_use_is_not_issued(door: Service) -> None:
    past = await issue(door, expiresAt="2020-01-01T00:00:00Z")
    beyond = await issue(door, expiresAt="9999-12-31T23:59:59-14:00")
    nameless = await issue(door, label=" ")
    refused = [(reply.status, reply.body["field"]) for reply in (past, beyond, nameless)]
    assert refused == [(400, "expiresAt"), (400, "expiresAt"), (400, "label")]
