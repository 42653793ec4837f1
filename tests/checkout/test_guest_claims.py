"""What a guest bought becomes the account's that has the guest's address."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from services.checkout.guest_claims import Account, ClaimGuestTickets
from shared.documents import Purchase, Rager
from shared.firestore import paths
from shared.firestore.client import Database
from shared.operations import Batch, Delete, Document
from tests.support.id_tokens import SignIn
from tests.support.services import Reply, Service
from tests.support.shop import Shop, check_invariants, event_on_sale, ragers_of, summaries_of
from tests.support.tickets import Tickets, store

GUEST = "guest@example.com"


async def claim(checkout: Service, uid: str = "gus", email: str = GUEST, **options: Any) -> Reply:
    return await checkout.post("/claim-guest-tickets", {"userId": uid, "userEmail": email}, **options)


async def buy_as_guest(shop: Shop, event_id: str, quantity: int, email: str = GUEST) -> str:
    """The order's number."""
    guest = {"firebaseId": None, "isGuest": True, "guestEmail": email}
    paid = await shop.paid("guest", event_id, quantity, **guest, customerEmail=None)
    number: str = (await shop.finalize("guest", paid, **guest, userEmail=email)).body["orderNumber"]
    return number


@pytest.mark.parametrize(
    ("bought", "claimed"),
    [
        ("Gus@Example.com", "gus@example.com"),
        ("gus@example.com", "GUS@example.com"),
        ("GUS@x.example", "gUs@X.example"),
    ],
)
async def test_an_address_is_found_however_it_was_typed(
    shop: Shop, checkout: Service, database: Database, bought: str, claimed: str
) -> None:
    await event_on_sale(database, "gala", 10)
    await buy_as_guest(shop, "gala", 2, bought)
    assert (await claim(checkout, email=claimed)).body["ticketCount"] == 2
    assert (await claim(checkout, email=claimed)).body["ticketCount"] == 0


async def test_tickets_of_all_events_are_handed_over(shop: Shop, checkout: Service, database: Database) -> None:
    for event_id in ("gala", "ball"):
        await event_on_sale(database, event_id, 10)
    orders = [await buy_as_guest(shop, "gala", 2), await buy_as_guest(shop, "gala", 1)]
    orders.append(await buy_as_guest(shop, "ball", 3))
    await buy_as_guest(shop, "ball", 1, "somebody@else.example")
    reply = await claim(checkout)
    assert reply.status == 200
    assert (reply.body["claimed"], reply.body["ticketCount"]) == (3, 6)
    tickets = {(ticket["eventName"], ticket["orderNumber"]) for ticket in reply.body["tickets"]}
    assert tickets == {("Event gala", orders[0]), ("Event gala", orders[1]), ("Event ball", orders[2])}
    for rager in await ragers_of(database, "gala"):
        assert (rager.user_id, rager.guest_email) == ("gus", GUEST)
        mapping = await database.get(paths.ticket_token(rager.ticket_token or ""))
        assert mapping.fields is not None
        assert (mapping.fields["ragerId"], mapping.fields["firebaseId"]) == (rager.id, "gus")
    for number in orders:
        for path in (paths.purchase(number), paths.customer_purchase("gus", number)):
            purchase = Purchase.of(await database.get(path))
            assert purchase is not None
            assert purchase.user_id == "gus"
    assert (await summaries_of(database, "gala"))["gus"].total_tickets == 3
    await check_invariants(database, "gala")
    await check_invariants(database, "ball")


async def test_claiming_again_finds_nothing_more(shop: Shop, checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    await buy_as_guest(shop, "gala", 2)
    assert (await claim(checkout)).body["claimed"] == 1
    assert (await claim(checkout)).body == {"claimed": 0, "ticketCount": 0, "tickets": []}
    assert (await claim(checkout, "another")).body["claimed"] == 0
    await buy_as_guest(shop, "gala", 1)
    assert (await claim(checkout)).body["ticketCount"] == 1
    await check_invariants(database, "gala")


@pytest.mark.parametrize(("stored", "typed"), [(GUEST, "Guest@Example.com"), ("Guest@Example.com", GUEST.upper())])
async def test_an_address_is_one_in_any_spelling_that_can_be_looked_up(
    checkout: Service, database: Database, stored: str, typed: str
) -> None:
    tickets = Tickets(database, "gala")
    await tickets.sell(None, 2, "r1", guest_email=stored)
    found = typed.lower() == stored or typed == stored
    assert (await claim(checkout, email=typed)).body["claimed"] == int(found)


async def test_used_tickets_are_handed_over_as_used(checkout: Service, database: Database) -> None:
    tickets = Tickets(database, "gala")
    await tickets.sell(None, 3, "r1", guest_email=GUEST, used_count=1)
    await tickets.sell(None, 2, "r2", guest_email=GUEST, refunded_at=None, transferred_to="cat", active=False)
    assert (await claim(checkout)).body["ticketCount"] == 3
    summary = await tickets.summary("gus")
    assert summary is not None
    assert (summary.total_tickets, summary.used_count) == (3, 1)


async def test_tickets_of_orders_and_tokens_that_nobody_knows_are_handed_over_too(
    checkout: Service, database: Database
) -> None:
    tickets = Tickets(database, "gala")
    await tickets.sell(None, 1, "r1", guest_email=GUEST, order_number="gone")
    await tickets.sell(None, 1, "r2", guest_email=GUEST, order_number="no/order")
    await tickets.change("r2", ticket_token=None)
    await store(database, Delete(paths.ticket_token("r1-token")), Delete(paths.ticket_token("r2-token")))
    assert (await claim(checkout)).body["claimed"] == 2
    assert not (await database.get(paths.customer_purchase("gus", "gone"))).exists


async def test_lost_replies_and_many_requests_hand_over_once(
    checkout: Service, database: Database, firestore: EmbeddedFirestore
) -> None:
    firestore.faults.seed(5)
    tickets = Tickets(database, "gala")
    for n in range(60):
        await tickets.sell(None, 1, f"r{n:02}", guest_email=GUEST)
    firestore.faults.set("Commit", Fault(aborted=0.2, lost_reply=0.4))
    replies = await asyncio.gather(*(claim(checkout) for _ in range(6)))
    firestore.faults.clear()
    assert {reply.status for reply in replies} == {200}
    assert sum(reply.body["claimed"] for reply in replies) == 60
    await tickets.check()


def test_a_decision_that_is_taken_again_after_a_lost_reply_answers_the_same() -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    rager = Rager(paths.rager("gala", "r1"), guest_email=GUEST, ticket_quantity=2)
    operation = ClaimGuestTickets(Account("gus", GUEST), "gala", [rager], now)
    documents = {path: Document(path, None) for path in operation.reads()}
    batch = Batch({**documents, rager.path: Document(rager.path, rager.fields())})
    first = operation.decide(batch.view(operation.reads()))
    batch.add(first.writes)
    again = operation.decide(batch.view(operation.reads()))
    assert [claimed.rager_id for claimed in first.result] == ["r1"]
    assert (again.result, again.writes) == (first.result, ())
    later = replace(operation, now=now + timedelta(seconds=1))
    assert later.decide(batch.view(operation.reads())).result == []


@pytest.mark.parametrize(
    ("uid", "claims", "status", "code"),
    [
        ("gus", {"email": "Guest@Example.com", "email_verified": True}, 200, None),
        ("gus", {"email": GUEST, "email_verified": False}, 403, "email_not_verified"),
        ("gus", {"email": GUEST}, 403, "email_not_verified"),
        ("gus", {"email": "cat@example.com", "email_verified": True}, 403, "email_mismatch"),
        ("cat", {"email": GUEST, "email_verified": True}, 403, "uid_mismatch"),
    ],
)
async def test_only_a_verified_address_counts(
    strict_checkout: Service, database: Database, sign_in: SignIn, uid: str, claims: dict[str, Any], status: int,
    code: str | None,
) -> None:  # fmt: skip
    tickets = Tickets(database, "gala")
    await tickets.sell(None, 2, "r1", guest_email=GUEST)
    reply = await claim(strict_checkout, headers=sign_in(uid, **claims))
    assert (reply.status, reply.code) == (status, code)
    assert (await tickets.rager("r1")).user_id == ("gus" if status == 200 else None)


async def test_without_an_id_token_nobody_is_believed(strict_checkout: Service, database: Database) -> None:
    await Tickets(database, "gala").sell(None, 2, "r1", guest_email=GUEST)
    refused = await claim(strict_checkout)
    assert (refused.status, refused.code) == (401, "token_missing")


@pytest.mark.parametrize("body", [{}, {"userId": "gus"}, {"userId": "a/b", "userEmail": GUEST}, {"userEmail": "x"}])
async def test_a_bad_request_is_refused(checkout: Service, body: dict[str, str]) -> None:
    refused = await checkout.post("/claim-guest-tickets", body)
    assert (refused.status, refused.code) == (400, "invalid_request")
