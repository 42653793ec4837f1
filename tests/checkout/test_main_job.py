"""A cart becomes a payment, the payment becomes tickets."""

import asyncio
import re

from deploy.local.mailbox import Mailbox
from shared.documents import Fulfillment, PendingOrder, Rager, TicketToken
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.wiring import WORKER
from tests.support.services import Service
from tests.support.shop import Shop, check_invariants, event_on_sale, ragers_of, summaries_of


async def test_a_cart_is_priced_by_the_server_and_remembered(shop: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10, price=12.5)
    started = await shop.start("ann", "gala", 3, amount=3750)
    assert started.status == 200
    assert started.body["amount"] == 3750
    assert started.body["currency"] == "usd"
    assert started.body["client_secret"].startswith(started.body["paymentIntentId"])
    remembered = PendingOrder.of(await database.get(paths.pending_order(started.body["paymentIntentId"])))
    assert remembered is not None
    assert remembered.user_id == "ann"
    assert [(item.event_id, item.quantity, item.unit_cents) for item in remembered.items] == [("gala", 3, 1250)]


async def test_a_tier_has_its_own_price(shop: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", ticketTiers=[{"name": "VIP", "price": 99}, {"name": "Floor", "price": 10}])
    cart = [{"productId": "gala", "quantity": "2", "ticketType": "vip"}, {"productId": "gala", "ticketType": "Floor"}]
    assert (await shop.start("ann", "gala", cartItems=cart)).body["amount"] == 2 * 9900 + 1000


async def test_a_paid_order_becomes_tickets_in_one_piece(shop: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    paid = await shop.paid("ann", "gala", 3)
    finalized = await shop.finalize("ann", paid)
    assert finalized.status == 200
    assert finalized.body["ok"] is True
    assert finalized.body["createdTickets"] == 3
    [detail] = finalized.body["details"]
    assert (detail["eventId"], detail["qty"], detail["newQty"]) == ("gala", 3, 7)
    rager = Rager.of(await database.get(paths.rager("gala", detail["ragerId"])))
    assert rager is not None
    assert (rager.user_id, rager.ticket_quantity, rager.used_count, rager.active) == ("ann", 3, 0, True)
    assert rager.ticket_token is not None
    assert re.fullmatch(r"[0-9a-f]{32}", rager.ticket_token)
    token = TicketToken.of(await database.get(paths.ticket_token(rager.ticket_token)))
    assert token is not None
    assert (token.event_id, token.rager_id) == ("gala", rager.id)
    order_number = finalized.body["orderNumber"]
    for path in (paths.purchase(order_number), paths.customer_purchase("ann", order_number)):
        assert (await database.get(path)).exists
    await check_invariants(database, "gala")


async def test_finalizing_again_returns_the_stored_result_and_creates_nothing(shop: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    paid = await shop.paid("ann", "gala", 2)
    first = await shop.finalize("ann", paid)
    again = await shop.finalize("ann", paid)
    assert again.body["idempotent"] is True
    assert again.body["message"] == "Already fulfilled"
    assert {key: again.body[key] for key in first.body} == first.body
    assert "idempotent" not in first.body
    assert len(await ragers_of(database, "gala")) == 1
    await check_invariants(database, "gala")


async def test_finalizing_the_same_payment_ten_times_at_once_creates_one_order(shop: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    paid = await shop.paid("ann", "gala", 2)
    replies = await asyncio.gather(*(shop.finalize("ann", paid) for _ in range(10)))
    assert {reply.body["orderNumber"] for reply in replies} == {replies[0].body["orderNumber"]}
    assert sum("idempotent" not in reply.body for reply in replies) == 1
    assert len(await ragers_of(database, "gala")) == 1
    await check_invariants(database, "gala")


async def test_an_item_that_is_sold_out_or_gone_does_not_hold_up_the_others(shop: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    await event_on_sale(database, "small", 1)
    cart = [{"productId": "gala", "quantity": 2}, {"productId": "small", "quantity": 1}]
    early, late = [await shop.paid(uid, "gala", cartItems=cart) for uid in ("ann", "bob")]
    assert (await shop.finalize("ann", early)).body["createdTickets"] == 3
    refused = await shop.finalize("bob", late)
    assert refused.status == 200
    assert (refused.body["status"], refused.body["createdTickets"]) == ("partial", 2)
    assert [(error["eventId"], error["code"]) for error in refused.body["errors"]] == [("small", "sold_out")]
    ledger = Fulfillment.of(await database.get(paths.fulfillment(late)))
    assert ledger is not None
    assert ledger.needs_admin_review
    assert len(await database.query(Query("adminAlerts"))) == 1
    await check_invariants(database, "gala")
    await check_invariants(database, "small")


async def test_two_items_of_one_event_share_its_last_tickets(shop: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 3)
    cart = [{"productId": "gala", "quantity": 2}, {"productId": "gala", "quantity": 2}]
    assert (await shop.start("ann", "gala", cartItems=cart)).code == "sold_out"
    cart[1]["quantity"] = 1
    finalized = await shop.finalize("ann", await shop.paid("ann", "gala", cartItems=cart))
    assert [detail["newQty"] for detail in finalized.body["details"]] == [1, 0]
    await check_invariants(database, "gala")


async def test_a_guest_gets_tickets_without_an_account(shop: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    guest = {"firebaseId": None, "isGuest": True, "guestEmail": "Guest@Example.com", "customerEmail": None}
    paid = await shop.paid("guest", "gala", 2, **guest)
    other = {**guest, "guestEmail": "somebody@else.example"}
    assert (await shop.finalize("guest", paid, **other)).code == "payment_owner_mismatch"
    finalized = await shop.finalize("guest", paid, **{**guest, "guestEmail": "guest@example.com"})
    assert finalized.body["createdTickets"] == 2
    [rager] = await ragers_of(database, "gala")
    assert rager.user_id is None
    assert rager.guest_email == "guest@example.com"
    assert await summaries_of(database, "gala") == {}


async def test_one_receipt_arrives_and_is_noted_on_the_ledger(shop: Shop, database: Database, mailbox: Mailbox) -> None:
    await event_on_sale(database, "gala", 10, date="2030-05-01T19:00:00Z")
    paid = await shop.paid("ann", "gala", 2)
    await shop.finalize("ann", paid)
    await shop.finalize("ann", paid)
    [mail] = await mailbox.arrived(1, to="ann@example.com")
    assert "Your tickets" in mail.fields["subject"]
    await shop.checkout.app[WORKER].idle()
    ledger = Fulfillment.of(await database.get(paths.fulfillment(paid)))
    assert ledger is not None
    assert (ledger.email_provider, ledger.email_message_id) == ("resend", mail.id)


async def test_the_numbers_of_orders_and_tickets_are_counted(shop: Shop, checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    await shop.buy("ann", "gala", 4)
    assert await checkout.metric("checkout_tickets_total") == 4
    assert await checkout.metric("checkout_orders_total", status="completed", replayed="false") == 1
