"""Ways in which refunds and tickets could come apart, each of which an attack has tried."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from deploy.local.http_faults import Fault
from deploy.local.stripe import StripeSimulator
from services.checkout.counter import refunds_of, settlement_of
from services.checkout.refund_rules import RecordRefund
from shared.documents import Event, Refund, TicketTransfer
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Value
from shared.wiring import COMMITTER
from tests.support.money import (
    at_risk,
    bought,
    expiry_of,
    ledger_of,
    left,
    refund,
    settled,
    simulate,
    stripes_refunds,
    sweep,
)
from tests.support.shop import Shop, check_invariants, event_on_sale, put, ragers_of


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


async def test_a_refunded_order_says_that_there_are_no_tickets(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await bought(holding, stripe)
    await refund(holding, payment)
    assert (await holding.finalize("ann", payment)).body["ok"] is False


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
    assert await at_risk(holding) == 0
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
