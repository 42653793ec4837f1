"""Ways in which payments and tickets could come apart, each of which an attack has tried."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.stripe import StripeSimulator
from services.checkout.counter import settlement_of, sweeper_of
from services.checkout.holds import ReleaseHold
from shared.documents import Hold, PendingOrder
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Value
from shared.wiring import COMMITTER
from tests.support.money import (
    at_risk,
    at_stripe,
    bought,
    expiry_of,
    ledger_of,
    left,
    settled,
    sweep,
)
from tests.support.shop import Shop, check_invariants, event_on_sale, put, ragers_of


async def test_a_payment_that_waits_for_its_buyer_does_not_hold_tickets_for_ever(
    holding: Shop, database: Database
) -> None:
    await event_on_sale(database, "gala", 2)
    payment = (await holding.start("mallory", "gala", 2)).body["paymentIntentId"]
    assert (await holding.pay(payment, "pm_card_threeDSecure2Required"))["status"] == "requires_action"
    await settlement_of(holding.checkout.app).settle(payment, await expiry_of(database, payment))
    assert await left(database, "gala") == 2


async def test_a_payment_for_something_else_buys_no_tickets(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    form = {"amount": "5000", "currency": "usd", "automatic_payment_methods[enabled]": "true"}
    hoodie = await at_stripe(holding, "payment_intents", {**form, "receipt_email": "mallory@example.com"})
    await holding.pay(hoodie["id"])
    refused = await holding.finalize("mallory", hoodie["id"], cartItems=[{"productId": "gala", "quantity": 2}])
    assert (refused.status, refused.code) == (403, "payment_owner_mismatch")


async def test_a_payment_for_one_cart_buys_no_other_of_the_same_price(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    await event_on_sale(database, "twin", 10)
    payment = await holding.paid("ann", "gala", 2)
    await put(database, paths.pending_order(payment), {"note": "without items"})
    refused = await holding.finalize("ann", payment, cartItems=[{"productId": "twin", "quantity": 2}])
    assert (refused.status, refused.code) == (409, "cart_mismatch")


async def test_an_inventory_stored_as_text_is_counted_on_from_its_number(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    event: dict[str, Value] = {"name": "Gala", "price": 25, "quantity": "10", "seededQuantity": 10}
    await put(database, paths.event("gala"), event)
    await bought(holding, stripe)
    assert await left(database, "gala") == 8
    await put(database, paths.event("gala"), {**event, "quantity": "8"})
    payment = (await holding.start("bob", "gala", 3)).body["paymentIntentId"]
    assert await left(database, "gala") == 5
    await put(database, paths.event("gala"), {**event, "quantity": "5"})
    await settlement_of(holding.checkout.app).settle(payment, await expiry_of(database, payment))
    assert await left(database, "gala") == 8
    await check_invariants(database, "gala")


async def test_tickets_made_by_hand_for_a_payment_end_its_hold(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    stripe.webhooks.hold()
    payment = await holding.paid("ann", "gala", 2)
    by_hand = {"uid": "ann", "eventId": "gala", "qty": 2, "priceCents": 2500, "createFulfillment": True}
    made = await holding.checkout.post("/manual-create-ticket", {**by_hand, "paymentIntentId": payment})
    assert made.status == 200
    stripe.webhooks.release()
    await settled(holding, stripe)
    hold = Hold.of(await database.get(paths.hold(payment)))
    order = PendingOrder.of(await database.get(paths.pending_order(payment)))
    assert hold is not None
    assert order is not None
    assert (hold.status, order.status, await left(database, "gala")) == ("released", "completed", 8)


async def test_one_order_that_cannot_be_decided_does_not_stop_the_sweep(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    stripe.webhooks.hold()
    odd, good = await holding.paid("ann", "gala", 2), await holding.paid("bob", "gala", 2)
    for payment, hours, changed in ((odd, 2, {"eventId": ""}), (good, 1, {})):
        stored: Any = (await database.get(paths.pending_order(payment))).fields
        items = [{**stored["items"][0], **changed}]
        created = datetime.now(UTC) - timedelta(hours=hours)
        await put(database, paths.pending_order(payment), {**stored, "items": items, "createdAt": created})
    await sweep(holding)
    assert (await ledger_of(database, good)).status == "completed"
    order = PendingOrder.of(await database.get(paths.pending_order(odd)))
    assert order is not None
    assert order.status == "stuck"
    assert await at_risk(holding) == 1


async def test_a_sweep_is_asked_for_once_however_many_ask(
    holding: Shop, database: Database, stripe: StripeSimulator
) -> None:
    await event_on_sale(database, "gala", 10)
    await holding.start("ann", "gala")
    asked = [document.id for document in await database.query(Query("jobs")) if document.id.startswith("sweep")]
    assert asked == ["sweep-orders"]
    assert (await database.get(paths.job("sweep-orders"))).exists


async def test_a_ledger_left_half_done_is_completed_and_not_begun_anew(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    stripe.webhooks.hold()
    cart = [{"productId": "gala", "quantity": 2}, {"productId": "gala", "quantity": 1}]
    payment = await holding.paid("ann", "gala", cartItems=cart)
    ticket: dict[str, Value] = {
        "firebaseId": "ann",
        "ticketQuantity": 2,
        "usedCount": 0,
        "active": True,
        "paymentIntentId": payment,
    }
    await put(database, paths.rager("gala", "r1"), ticket)
    half: dict[str, Any] = {"eventId": "gala", "ragerId": "r1", "qty": 2, "newQty": 8}
    await put(database, paths.fulfillment(payment), {"status": "processing", "details": [half], "createdTickets": 2})
    finalized = await holding.finalize("ann", payment)
    assert finalized.body["createdTickets"] == 3
    assert sorted(rager.ticket_quantity for rager in await ragers_of(database, "gala")) == [1, 2]


async def test_a_settled_order_answers_without_its_remembered_cart(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await bought(holding, stripe)
    await database.client.document(paths.pending_order(payment)).delete()
    assert (await holding.finalize("ann", payment)).body["idempotent"] is True


async def test_the_key_of_a_cancelled_payment_starts_no_new_one(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    body = {"firebaseId": "ann", "cartItems": [{"productId": "gala", "quantity": 2}]}
    key = {"x-idempotency-key": "a"}
    payment = (await holding.checkout.post("/create-payment-intent", body, headers=key)).body["paymentIntentId"]
    await at_stripe(holding, f"payment_intents/{payment}/cancel", {})
    await settled(holding, stripe)
    again = await holding.checkout.post("/create-payment-intent", body, headers=key)
    assert (again.status, again.code) == (409, "idempotency_conflict")


@pytest.mark.parametrize("paid", [False, True])
async def test_an_order_that_is_given_up_is_cancelled_at_stripe_too(
    holding: Shop, stripe: StripeSimulator, database: Database, *, paid: bool
) -> None:
    await event_on_sale(database, "gala", 10)
    stripe.webhooks.hold()
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    stored: Any = (await database.get(paths.pending_order(payment))).fields
    before = datetime.now(UTC) - timedelta(hours=2)
    await put(database, paths.pending_order(payment), {**stored, "createdAt": before})
    if paid:
        await holding.pay(payment)
    await sweep(holding)
    stripe.webhooks.release()
    await settled(holding, stripe)
    if paid:
        assert (await ledger_of(database, payment)).status == "completed"
    else:
        assert (await holding.pay(payment))["error"]["code"] == "payment_intent_unexpected_state"
        order = PendingOrder.of(await database.get(paths.pending_order(payment)))
        assert order is not None
        assert (order.status, await left(database, "gala")) == ("canceled", 10)
    await check_invariants(database, "gala")


@pytest.mark.parametrize("what", ["order", "payment"])
async def test_a_hold_whose_order_or_payment_is_gone_is_given_back(
    holding: Shop, stripe: StripeSimulator, database: Database, what: str
) -> None:
    await event_on_sale(database, "gala", 10)
    if what == "order":
        stripe.webhooks.hold()
        payment = await holding.paid("ann", "gala", 2)
        await database.client.document(paths.pending_order(payment)).delete()
        stripe.webhooks.release()
        await settled(holding, stripe)
    else:
        real = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
        for at in (paths.pending_order, paths.hold):
            await put(database, at("pi_gone"), dict((await database.get(at(real))).fields or {}))
            await database.client.document(at(real)).delete()
        await settlement_of(holding.checkout.app).settle("pi_gone", datetime.now(UTC))
    assert await left(database, "gala") == 10
    assert await at_risk(holding) == 1


async def test_an_order_that_nobody_decides_is_seen_by_its_age(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    stripe.webhooks.hold()
    payment = await holding.paid("ann", "gala", 2)
    stored: Any = (await database.get(paths.pending_order(payment))).fields
    before = datetime.now(UTC) - timedelta(hours=5)
    await put(database, paths.pending_order(payment), {**stored, "createdAt": before})
    await sweeper_of(holding.checkout.app).look()
    assert await holding.checkout.metric("checkout_undecided_oldest_seconds") > 4 * 3600


async def test_a_late_decline_takes_nothing_from_a_payment_under_way(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 2)
    stripe.webhooks.hold()
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    await holding.pay(payment, "pm_card_chargeDeclined")
    assert (await holding.pay(payment, "pm_card_threeDSecure2Required"))["status"] == "requires_action"
    stripe.webhooks.release()
    await settled(holding, stripe)
    assert await left(database, "gala") == 0


async def test_a_hold_taken_meanwhile_is_left_alone_by_whoever_did_not_know_of_it(
    holding: Shop, database: Database
) -> None:
    await event_on_sale(database, "gala", 2)
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    unknown = ReleaseHold(Hold(paths.hold(payment), status="released"), "canceled", datetime.now(UTC))
    await holding.checkout.app[COMMITTER].run(unknown)
    assert await left(database, "gala") == 0
