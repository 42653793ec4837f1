"""What offline scanners are told, and that they hear of every change."""

import ast
import base64
import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.scanning import manifest
from services.scanning.manifest import Cursor, Page
from shared.documents import Rager
from shared.firestore import paths
from shared.firestore.client import Database
from tests.support.services import Service
from tests.support.tickets import SOLD, Tickets, put, store


def digest(reply: dict[str, Any], token: str) -> str:
    return hashlib.sha256((reply["salt"] + token).encode()).hexdigest()


async def read(door: Service, since: str | None = None) -> tuple[dict[str, dict[str, Any]], str]:
    """The entries by hash, and the cursor."""
    reply = await door.get("/events/e1/manifest" + (f"?since={since}" if since else ""))
    assert (reply.status, reply.body["more"]) == (200, False)
    return {entry["hash"]: entry for entry in reply.body["entries"]}, reply.body["cursor"]


async def test_a_manifest_tells_what_each_code_admits_and_nothing_of_its_holder(
    door: Service, tickets: Tickets
) -> None:
    await tickets.sell("anna", 3, "r1", used_count=1, email="anna@example.com")
    await tickets.sell("anna", 1, "r2", refunded_at=SOLD)
    await tickets.sell("anna", 1, "r3", transferred_to="ben")
    await tickets.sell("anna", 1, "r4", used_count=1)
    await tickets.sell("anna", 1, "r5", active=False)
    reply = (await door.get("/events/e1/manifest")).body
    told = {entry["hash"]: (entry["remaining"], entry["status"]) for entry in reply["entries"]}
    assert told == {
        digest(reply, "r1-token"): (2, "ok"),
        digest(reply, "r2-token"): (0, "refunded"),
        digest(reply, "r3-token"): (0, "transferred"),
        digest(reply, "r4-token"): (0, "already_used"),
        digest(reply, "r5-token"): (0, "inactive"),
    }
    assert "anna" not in str(reply)
    assert "token" not in str(reply)


async def all_pages(database: Database, since: str | None) -> list[Page]:
    pages = [await manifest.page(database, "e1", since, datetime.now(UTC), size=4)]
    while pages[-1].more:
        pages.append(await manifest.page(database, "e1", str(pages[-1].cursor), datetime.now(UTC), size=4))
    return pages


async def test_a_large_manifest_comes_in_pages(tickets: Tickets) -> None:
    for n in range(9):
        await tickets.sell(None, 1, f"r{n}")
    pages = await all_pages(tickets.database, None)
    assert [len(page.entries) for page in pages] == [4, 4, 1]
    assert len({entry.token_hash for page in pages for entry in page.entries}) == 9


async def test_a_cursor_tells_what_has_changed_since(door: Service, tickets: Tickets) -> None:
    for n in range(3):
        await tickets.sell("anna", 2, f"r{n}")
    everything, cursor = await read(door)
    assert (await read(door, cursor))[0] == {}
    await door.post("/scan-ticket", {"token": "r1-token", "scanId": "s1"})
    changed, later = await read(door, cursor)
    assert [entry["remaining"] for entry in changed.values()] == [1]
    assert set(changed) < set(everything)
    await door.post("/scan-ticket/undo", {"eventId": "e1", "scanId": "s1"})
    assert [entry["remaining"] for entry in (await read(door, later))[0].values()] == [2]


async def test_a_change_that_was_under_way_while_the_manifest_was_read_is_told_by_the_next_cursor(
    tickets: Tickets,
) -> None:
    [whole] = await all_pages(tickets.database, None)
    before = datetime.now(UTC) - timedelta(seconds=30)  # its time was taken, but its commit came after the reading
    await store(tickets.database, put(Rager(paths.rager("e1", "r1"), ticket_token="t1", updated_at=before)))
    [changes] = await all_pages(tickets.database, str(whole.cursor))
    assert len(changes.entries) == 1


async def test_a_pass_of_several_pages_goes_on_from_when_it_began(tickets: Tickets) -> None:
    for n in range(5):
        await tickets.sell(None, 1, f"r{n}")
    began = datetime.now(UTC) - timedelta(hours=2)
    first = await manifest.page(tickets.database, "e1", None, began, size=4)
    await tickets.change("r0", used_count=1, updated_at=began + timedelta(minutes=5))
    last = await manifest.page(tickets.database, "e1", str(first.cursor), datetime.now(UTC), size=4)
    [changes] = await all_pages(tickets.database, str(last.cursor))
    assert [entry.status for entry in changes.entries] == ["already_used"]


async def test_changes_come_in_pages_too(tickets: Tickets) -> None:
    [empty] = await all_pages(tickets.database, None)
    now = datetime.now(UTC)
    ragers = [Rager(paths.rager("e1", f"r{n}"), ticket_token=f"t{n}", updated_at=now) for n in range(10)]
    await store(tickets.database, *map(put, ragers))
    pages = await all_pages(tickets.database, str(empty.cursor))
    assert [len(page.entries) for page in pages] == [4, 4, 2]
    assert len({entry.token_hash for page in pages for entry in page.entries}) == 10


async def test_a_cursor_of_nothing_is_refused(door: Service) -> None:
    for since in ("x", "%%%", "W10", "WzEsMiwzLDRd"):
        reply = await door.get(f"/events/e1/manifest?since={since}")
        assert (reply.status, reply.code) == (400, "invalid_cursor")


def packed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "text",
    [
        '["0001-01-01T00:00:00+14:00",null,null,null]',
        '[null,"9999-12-31T23:59:59-14:00",null,null]',
        '["0001-01-01T00:00:10+00:00",null,null,null]',
        '[null,"2026-03-01T20:00:00",null,null]',
        '[null,null,["r1"],null]',
        '[null,null,"a/b",null]',
        '{"a":1,"b":2,"c":3,"d":4}',
        "[" * 2900,
    ],
)
async def test_a_cursor_made_by_somebody_else_is_refused(door: Service, text: str) -> None:
    reply = await door.get(f"/events/e1/manifest?since={packed(text)}")
    assert (reply.status, reply.code) == (400, "invalid_cursor")


@pytest.mark.parametrize(
    "cursor", [Cursor(), Cursor(started=SOLD, after="r1"), Cursor(SOLD, SOLD, "r1", SOLD), Cursor(since=SOLD)]
)
def test_a_cursor_survives_its_way(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


def test_every_write_of_a_batch_says_when() -> None:
    """Offline scanners would not hear of a write without ``updatedAt``: a refunded code would go on to open doors."""
    for source in Path("services").rglob("*.py"):
        for call in (node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.Call)):
            name, given = ast.unparse(call.func), {keyword.arg for keyword in call.keywords}
            if name == "Rager":
                assert "updated_at" in given, f"{source}:{call.lineno} must give the new batch its updated_at"
            if name == "Rager.patch" and source.name != "admission.py":  # there it completes a Rager.changed
                assert "updated_at" in given, f"{source}:{call.lineno} must write by Rager.changed(now, ...)"
