"""Ways in which money and tickets could come apart, each of which an attack has tried."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.http_faults import Fault
from deploy.local.stripe import StripeSimulator
from services.checkout.counter import refunds_of, settlement_of, sweeper_of
from services.checkout.holds import ReleaseHold
from services.checkout.refund_rules import RecordRefund
from services.checkout.sweeper import AskForSweep
from shared.documents import Event, Hold, PendingOrder, Refund, TicketTransfer
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Value
from shared.wiring import COMMITTER, WORKER
from tests.support.money import expiry_of, ledger_of, left, settled, stripes_refunds
from tests.support.services import Reply
from tests.support.shop import Shop, check_invariants, event_on_sale, put, ragers_of

AUTHORIZED = {"Authorization": "Bearer sk_test_x"}


async def simulate(shop: Shop, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    async with shop.session.post(f"{shop.stripe_url}/_sim/{path}", json=body or {}) as response:
        assert response.status == 200, await response.text()
        happened: dict[str, Any] = await response.json()
        return happened


async def at_stripe(shop: Shop, path: str, form: dict[str, str]) -> dict[str, Any]:
    async with shop.session.post(f"{shop.stripe_url}/v1/{path}", data=form, headers=AUTHORIZED) as response:
        assert response.status == 200, await response.text()
        made: dict[str, Any] = await response.json()
        return made


async def refund(shop: Shop, payment: str, key: str | None = None, **fields: Any) -> Reply:
    headers = {"x-idempotency-key": key} if key else {}
    body = {"paymentIntentId": payment, "reason": "other", **fields}
    return await shop.checkout.post("/refund-order", body, headers=headers)


async def bought(shop: Shop, stripe: StripeSimulator, uid: str = "ann", quantity: int = 2) -> str:
    payment = await shop.paid(uid, "gala", quantity)
    assert (await shop.finalize(uid, payment)).body["ok"] is True
    await settled(shop, stripe)
    return payment


async def sweep(shop: Shop) -> None:
    app = shop.checkout.app
    await app[WORKER].idle()
    assert await app[COMMITTER].run(AskForSweep(timedelta(0), datetime.now(UTC)))
    await app[WORKER].idle()


async def at_risk(shop: Shop) -> float:
    await sweeper_of(shop.checkout.app).look()
    return await shop.checkout.metric("checkout_paid_unfulfilled")


async def test_a_payment_that_waits_for_its_buyer_does_not_hold_tickets_for_ever(
    holding: Shop, database: Database
) -> None:
    await event_on_sale(database, "gala", 2)
    payment = (await holding.start("mallory", "gala", 2)).body["paymentIntentId"]
    assert (await holding.pay(payment, "pm_card_threeDSecure2Required"))["status"] == "requires_action"
    await settlement_of(holding.checkout.app).settle(payment, await expiry_of(database, payment))
    assert await left(database, "gala") == 2


async def test_no_ticket_admits_once_all_of_its_payment_has_gone_back(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await bought(holding, stripe)
    stripe.faults.add(Fault(kind="refuse", count=4, status=500, method="POST", path="/v1/refunds"))
    asked = await refund(holding, payment, amountCents=1000)
    assert asked.body["status"] == "requested"
    stripe.faults.clear()
    await simulate(holding, "refunds", {"payment_intent": payment})
    await settled(holding, stripe)
    refunds = map(Refund.of, await database.query(Query(paths.refunds(payment))))
    [waiting] = [known for known in refunds if known and known.status == "requested"]
    assert (await refunds_of(holding.checkout.app).execute(waiting)).status == "failed"
    [rager] = await ragers_of(database, "gala")
    assert rager.remaining == 0
    assert sum(known["amount"] for known in await stripes_refunds(holding, payment)) == 5000
    await check_invariants(database, "gala")


async def test_an_item_that_cost_nothing_goes_back_without_money(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    await event_on_sale(database, "free", 10, price=0)
    cart = [{"productId": "free"}, {"productId": "gala", "quantity": 2}]
    payment = await holding.paid("ann", "gala", cartItems=cart)
    free, paid = (detail["ragerId"] for detail in (await holding.finalize("ann", payment)).body["details"])
    nothing = await refund(holding, payment, items=[{"ragerId": free}])
    assert (nothing.status, nothing.body["amount"], nothing.body["status"]) == (200, 0, "succeeded")
    assert (await refund(holding, payment, items=[{"ragerId": paid}])).body["amount"] == 5000
    assert [known["amount"] for known in await stripes_refunds(holding, payment)] == [5000]
    await settled(holding, stripe)
    await check_invariants(database, "gala")
    await check_invariants(database, "free")


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


async def test_an_automatic_refund_that_fails_is_told_and_measured(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 2)
    late = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    await settlement_of(holding.checkout.app).settle(late, await expiry_of(database, late))
    await bought(holding, stripe, "bob")
    await holding.pay(late)
    await holding.finalize("ann", late)
    await settled(holding, stripe)
    [made] = await stripes_refunds(holding, late)
    assert await at_risk(holding) == 0
    await simulate(holding, f"refunds/{made['id']}/fail")
    await settled(holding, stripe)
    ledger = await ledger_of(database, late)
    assert (ledger.status, ledger.needs_admin_review) == ("partial", True)
    assert await at_risk(holding) == 1


async def test_no_more_goes_back_by_itself_than_is_left(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 2)
    stripe.webhooks.hold()
    payment = await holding.paid("ann", "gala", 2)
    await simulate(holding, "refunds", {"payment_intent": payment, "amount": 1000})
    stored: Any = (await database.get(paths.event("gala"))).fields
    await put(database, paths.event("gala"), {**stored, "quantity": -2})
    assert (await holding.finalize("ann", payment)).body["status"] == "refunded"
    stripe.webhooks.release()
    await settled(holding, stripe)
    refunds = await stripes_refunds(holding, payment)
    assert sorted(known["amount"] for known in refunds) == [1000, 4000]
    assert await at_risk(holding) == 0


async def test_a_refund_that_stripe_refuses_outright_leaves_the_tickets(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    await holding.pay(payment, "pm_card_createDispute")
    await holding.finalize("ann", payment)
    await settled(holding, stripe)
    refused = await refund(holding, payment)
    assert (refused.status, refused.body["ok"], refused.body["status"]) == (200, False, "failed")
    [rager] = await ragers_of(database, "gala")
    assert (rager.active, rager.refunded_at, rager.remaining) == (True, None, 2)
    assert await left(database, "gala") == 8
    assert await at_risk(holding) == 1
    await check_invariants(database, "gala")


async def test_a_refund_never_goes_back_to_an_earlier_state(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    await holding.pay(payment, "pm_card_pendingRefund")
    await holding.finalize("ann", payment)
    await settled(holding, stripe)
    made = (await refund(holding, payment)).body["refundId"]
    await simulate(holding, f"refunds/{made}/fail")
    await settled(holding, stripe)
    [document] = await database.query(Query(paths.refunds(payment)))
    late = RecordRefund(document.path, "pending", made, None, datetime.now(UTC))
    await holding.checkout.app[COMMITTER].run(late)
    ledger = await ledger_of(database, payment)
    assert ledger.refund is not None
    assert ledger.refund.amount == 0


async def test_a_dispute_is_told_as_it_stands_now(holding: Shop, stripe: StripeSimulator, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await bought(holding, stripe)
    stripe.webhooks.hold()
    dispute = await simulate(holding, "disputes", {"payment_intent": payment})
    await simulate(holding, f"disputes/{dispute['id']}/close", {"status": "lost"})
    stripe.webhooks.release("reversed")
    await settled(holding, stripe)
    [alert] = await database.query(Query("adminAlerts"))
    assert "lost" in str((alert.fields or {})["message"])


async def test_a_refunds_key_is_not_good_for_another_refund(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await bought(holding, stripe)
    assert (await refund(holding, payment, "k", amountCents=100)).status == 200
    other = await refund(holding, payment, "k", amountCents=5000)
    assert (other.status, other.code) == (409, "idempotency_conflict")


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


async def test_a_refunded_order_says_that_there_are_no_tickets(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await bought(holding, stripe)
    await refund(holding, payment)
    assert (await holding.finalize("ann", payment)).body["ok"] is False


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


async def test_a_refund_ends_the_transfer_that_was_under_way(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10, dateTime=datetime.now(UTC) + timedelta(days=3))
    payment = await bought(holding, stripe)
    [rager] = await ragers_of(database, "gala")
    offer = {"ragerId": rager.id, "eventId": "gala", "senderUserId": "ann", "recipientEmail": "bob@example.com"}
    sent = await holding.checkout.post("/transfer-ticket", offer)
    await refund(holding, payment)
    await settled(holding, stripe)
    transfer = TicketTransfer.of(await database.get(paths.ticket_transfer(sent.body["transferId"])))
    assert transfer is not None
    assert transfer.status == "cancelled"
    event = Event.of(await database.get(paths.event("gala")))
    assert event is not None
    assert event.quantity == 10


@pytest.mark.parametrize("by_item", [False, True])
async def test_a_refund_made_in_the_dashboard_meanwhile_gives_no_tickets_back(
    holding: Shop, stripe: StripeSimulator, database: Database, *, by_item: bool
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await bought(holding, stripe)
    [rager] = await ragers_of(database, "gala")
    stripe.faults.add(Fault(kind="refuse", count=4, status=500, method="POST", path="/v1/refunds"))
    items: dict[str, Any] = {"items": [{"ragerId": rager.id}]} if by_item else {}
    assert (await refund(holding, payment, **items)).body["status"] == "requested"
    stripe.faults.clear()
    await simulate(holding, "refunds", {"payment_intent": payment})
    await settled(holding, stripe)
    refunds = map(Refund.of, await database.query(Query(paths.refunds(payment))))
    [waiting] = [known for known in refunds if known and known.status == "requested"]
    assert (await refunds_of(holding.checkout.app).execute(waiting)).status == "failed"
    assert [batch.remaining for batch in await ragers_of(database, "gala")] == [0]
    assert (await ledger_of(database, payment)).status == "refunded"
    await check_invariants(database, "gala")


@pytest.mark.parametrize("tickets", [2, 10])
async def test_tickets_that_left_circulation_come_back_with_a_refused_refund(
    holding: Shop, stripe: StripeSimulator, database: Database, tickets: int
) -> None:
    await event_on_sale(database, "gala", tickets)
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    await holding.pay(payment, "pm_card_createDispute")
    await holding.finalize("ann", payment)
    await settled(holding, stripe)
    assert (await refund(holding, payment, restock=False)).body["status"] == "failed"
    [rager] = await ragers_of(database, "gala")
    event = Event.of(await database.get(paths.event("gala")))
    assert event is not None
    assert (rager.remaining, event.quantity, event.seeded_quantity) == (2, tickets - 2, tickets)
    assert (await ledger_of(database, payment)).status == "completed"
    await check_invariants(database, "gala")


@pytest.mark.parametrize("restock", [True, False])
async def test_an_inventory_stored_as_text_takes_back_all_batches_of_an_order(
    holding: Shop, stripe: StripeSimulator, database: Database, *, restock: bool
) -> None:
    event: dict[str, Value] = {"name": "Gala", "price": 25, "quantity": "10", "seededQuantity": "10"}
    await put(database, paths.event("gala"), event)
    cart = [{"productId": "gala", "quantity": 2}, {"productId": "gala", "quantity": 1}]
    payment = await holding.paid("ann", "gala", cartItems=cart)
    await holding.finalize("ann", payment)
    await put(database, paths.event("gala"), {**event, "quantity": "7"})
    assert (await refund(holding, payment, restock=restock)).body["status"] == "succeeded"
    known = Event.of(await database.get(paths.event("gala")))
    assert known is not None
    assert (known.quantity, known.seeded_quantity) == ((10, 10) if restock else (7, 7))
    await settled(holding, stripe)
    await check_invariants(database, "gala")


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


async def test_one_refund_that_stripe_answers_oddly_does_not_stop_the_others(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    odd, good = await bought(holding, stripe, "ann"), await bought(holding, stripe, "bob")
    stripe.faults.add(Fault(kind="refuse", count=8, status=500, method="POST", path="/v1/refunds"))
    for payment in (odd, good):
        assert (await refund(holding, payment)).body["status"] == "requested"
        [document] = await database.query(Query(paths.refunds(payment)))
        before = datetime.now(UTC) - timedelta(minutes=10 if payment == odd else 8)
        await put(database, document.path, {**(document.fields or {}), "createdAt": before})
    stripe.faults.clear()
    stripe.faults.add(Fault(kind="refuse", count=1, status=404, method="GET", path="/v1/refunds"))
    await sweep(holding)
    assert [known["amount"] for known in await stripes_refunds(holding, good)] == [5000]
