"""Tickets that an admin makes, over HTTP and from the shell."""

import asyncio
import json
import os
import sys
from typing import Any

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.mailbox import Mailbox
from shared.documents import Event, Fulfillment, Purchase, Rager
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.wiring import WORKER
from tests.support.id_tokens import SignIn
from tests.support.services import Reply, Service
from tests.support.shop import Shop, check_invariants, event_on_sale, put, ragers_of, summaries_of

ANN = {"uid": "ann", "eventId": "gala", "qty": 2, "priceCents": 1500}


async def create(checkout: Service, *, key: str | None = None, **fields: Any) -> Reply:
    headers = {"x-idempotency-key": key} if key else None
    return await checkout.post("/manual-create-ticket", {**ANN, **fields}, headers=headers)


async def left(database: Database, event_id: str = "gala") -> int:
    event = Event.of(await database.get(paths.event(event_id)))
    assert event is not None
    return event.quantity


async def test_tickets_by_hand_leave_the_records_of_a_sale(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    reply = await create(checkout, email="ann@example.com", name="Ann", title="Press", paymentIntentId="pi_cash1")
    assert reply.status == 200
    order = reply.body["orderNumber"]
    told = {"ok": True, "eventId": "gala", "qty": 2, "email": "ann@example.com"}
    assert told.items() <= reply.body.items()
    rager = Rager.of(await database.get(paths.rager("gala", reply.body["ragerId"])))
    assert rager is not None
    assert (rager.user_id, rager.owner, rager.ticket_quantity, rager.order_number) == ("ann", "Ann", 2, order)
    assert rager.payment_intent_id == "pi_cash1"
    assert (await database.get(paths.ticket_token(rager.ticket_token or ""))).exists
    for path in (paths.purchase(order), paths.customer_purchase("ann", order)):
        purchase = Purchase.of(await database.get(path))
        assert purchase is not None
        assert (purchase.amount, purchase.items[0].title, purchase.user_id) == (3000, "Press", "ann")
    assert await left(database) == 8
    assert await database.query(Query("fulfillments")) == []
    await check_invariants(database, "gala")


async def test_what_is_not_said_of_the_customer_is_known(
    checkout: Service, database: Database, mailbox: Mailbox
) -> None:
    await event_on_sale(database, "gala", 10, date="2030-05-01T19:00:00Z")
    await put(database, paths.customer("ann"), {"email": "ann@home.example", "name": "Ann A."})
    reply = await create(checkout)
    assert reply.body["email"] == "ann@home.example"
    [rager] = await ragers_of(database, "gala")
    assert (rager.owner, rager.email) == ("Ann A.", "ann@home.example")
    [mail] = await mailbox.arrived(1, to="ann@home.example")
    assert mail.fields["subject"] == "Your tickets for Event gala"


async def test_tickets_for_somebody_without_an_address_need_no_mail(
    checkout: Service, database: Database, mailbox: Mailbox
) -> None:
    await event_on_sale(database, "gala", 10)
    reply = await create(checkout)
    assert (reply.status, reply.body["email"]) == (200, None)
    await checkout.app[WORKER].idle()
    assert mailbox.mails() == []


async def test_an_event_is_found_by_its_name_if_only_one_has_it(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10, name="The Gala")
    reply = await create(checkout, eventId=None, eventName="The Gala")
    assert (reply.status, reply.body["eventId"]) == (200, "gala")
    await event_on_sale(database, "twin", 10, name="The Gala")
    refused = await create(checkout, eventId=None, eventName="The Gala")
    assert (refused.status, refused.code, refused.body["eventIds"]) == (409, "ambiguous_event", ["gala", "twin"])


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"eventId": "nowhere"}, 404, "event_not_found"),
        ({"eventId": None, "eventName": "Nothing"}, 404, "event_not_found"),
        ({"qty": 4}, 409, "sold_out"),
        ({"orderNumber": "ORD-BOB"}, 409, "order_number_taken"),
        ({"createFulfillment": True, "paymentIntentId": "pi_done"}, 409, "already_fulfilled"),
        ({"eventId": None}, 400, "invalid_request"),
        ({"uid": None}, 400, "invalid_request"),
        ({"uid": "a/b"}, 400, "invalid_request"),
        ({"qty": 0}, 400, "invalid_request"),
        ({"qty": 21}, 400, "invalid_request"),
        ({"priceCents": -1}, 400, "invalid_request"),
        ({"priceCents": 1.5}, 400, "invalid_request"),
        ({"currency": "dollars"}, 400, "invalid_request"),
        ({"paymentIntentId": "cash"}, 400, "invalid_payment_intent"),
    ],
)
async def test_a_bad_request_is_refused_and_nothing_is_written(
    checkout: Service, database: Database, fields: dict[str, Any], status: int, code: str
) -> None:
    await event_on_sale(database, "gala", 3)
    await put(database, paths.purchase("ORD-BOB"), {"firebaseId": "bob", "orderNumber": "ORD-BOB"})
    await put(database, paths.fulfillment("pi_done"), {"status": "refunded"})
    refused = await create(checkout, **fields)
    assert (refused.status, refused.code) == (status, code)
    assert await database.query(Query("manualTickets")) == []
    assert await ragers_of(database, "gala") == []
    assert await left(database) == 3


async def test_sold_out_says_how_many_are_left(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 1)
    refused = await create(checkout)
    assert (refused.body["eventId"], refused.body["available"]) == ("gala", 1)


async def test_only_an_admin_makes_tickets(strict_checkout: Service, database: Database, sign_in: SignIn) -> None:
    await event_on_sale(database, "gala", 10)
    await put(database, paths.admin_user("root"), {})
    for headers, status, code in (
        ({}, 401, "token_missing"),
        (sign_in("ann"), 403, "not_admin"),
        (sign_in("root"), 200, None),
    ):
        reply = await strict_checkout.post("/manual-create-ticket", ANN, headers=headers)
        assert (reply.status, reply.code) == (status, code)


async def test_a_ledger_entry_brings_the_receipt_and_ends_the_payments_order(
    shop: Shop, checkout: Service, database: Database, mailbox: Mailbox
) -> None:
    await event_on_sale(database, "gala", 10)
    paid = await shop.paid("ann", "gala", 2)
    reply = await create(checkout, createFulfillment=True, paymentIntentId=paid, email="ann@example.com")
    assert reply.status == 200
    ledger = Fulfillment.of(await database.get(paths.fulfillment(paid)))
    assert ledger is not None
    assert (ledger.status, ledger.created_tickets, ledger.order_number) == ("completed", 2, reply.body["orderNumber"])
    assert ledger.details[0].rager_id == reply.body["ragerId"]
    replayed = await shop.finalize("ann", paid)
    assert (replayed.body["idempotent"], replayed.body["orderNumber"]) == (True, reply.body["orderNumber"])
    [mail] = await mailbox.arrived(1, to="ann@example.com")
    assert reply.body["orderNumber"] in str(mail.fields["subject"])
    assert len(await ragers_of(database, "gala")) == 1


async def test_tickets_can_be_added_to_an_order_of_the_customers(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    order = (await create(checkout)).body["orderNumber"]
    added = await create(checkout, orderNumber=order, qty=1)
    assert added.body["orderNumber"] == order
    purchase = Purchase.of(await database.get(paths.purchase(order)))
    assert purchase is not None
    assert (purchase.amount, [item.quantity for item in purchase.items]) == (4500, [2, 1])
    await check_invariants(database, "gala")


async def test_the_same_idempotency_key_is_the_same_tickets(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    replies = await asyncio.gather(*(create(checkout, key="k1") for _ in range(10)))
    assert {reply.status for reply in replies} == {200}
    assert all(reply.body == replies[0].body for reply in replies)
    other = await create(checkout, key="k1", qty=3)
    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert len(await ragers_of(database, "gala")) == 1
    await check_invariants(database, "gala")


async def test_a_customer_who_changes_does_not_break_the_key(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    first = await create(checkout, key="k1")
    await put(database, paths.customer("ann"), {"email": "ann@new.example"})
    assert (await create(checkout, key="k1")).body == first.body


async def test_many_at_once_never_exceed_what_there_is(
    checkout: Service, database: Database, firestore: EmbeddedFirestore
) -> None:
    firestore.faults.seed(11)
    await event_on_sale(database, "gala", 15)
    firestore.faults.set("Commit", Fault(aborted=0.2, lost_reply=0.2))
    replies = await asyncio.gather(*(create(checkout, uid=f"u{n % 5}") for n in range(10)))
    firestore.faults.clear()
    assert sorted(reply.status for reply in replies) == [200] * 7 + [409] * 3
    assert await left(database) == 1
    assert sum(summary.total_tickets for summary in (await summaries_of(database, "gala")).values()) == 14
    await check_invariants(database, "gala")


async def shell(*arguments: str) -> tuple[int, str, str]:
    environment = {**os.environ, "PROXY_KEY": "k"}
    command = (sys.executable, "-m", "services.checkout", "create-ticket", *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_the_shell_makes_tickets_too(firestore: EmbeddedFirestore, database: Database) -> None:
    await event_on_sale(database, "gala", 3)
    asked = ("--uid", "ann", "--event-name", "Event gala", "--qty", "2", "--idempotency-key", "k1")
    (first, out, err), (again, same, _) = [await shell(*asked) for _ in range(2)]
    assert (first, again, err) == (0, 0, "")
    created = json.loads(out)
    assert (created["ok"], created["eventId"], created["qty"]) == (True, "gala", 2)
    assert json.loads(same) == created
    await check_invariants(database, "gala")
    code, out, err = await shell("--uid", "ann", "--event-id", "gala", "--qty", "2")
    assert (code, out) == (1, "")
    assert err == "sold_out: Not enough tickets are left for this event: 1.\n"
    code, _, err = await shell("--uid", "a/b", "--event-id", "gala")
    assert code == 1
    assert err.startswith("invalid_request: uid ")
