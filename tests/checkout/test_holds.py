"""Tickets are set aside while a buyer pays."""

import asyncio

import pytest

from deploy.local.mailbox import Mailbox
from deploy.local.stripe import StripeSimulator
from services.checkout.counter import settlement_of
from shared.documents import Hold
from shared.firestore import paths
from shared.firestore.client import Database
from tests.support.money import expiry_of, ledger_of, left, settled, stripes_refunds
from tests.support.shop import Shop, check_invariants, event_on_sale


async def test_tickets_are_held_from_the_start_of_a_payment(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 3)
    started = await holding.start("ann", "gala", 2)
    assert await left(database, "gala") == 1
    refused = await holding.start("bob", "gala", 2)
    assert (refused.status, refused.code, refused.body["available"]) == (409, "sold_out", 1)
    payment = started.body["paymentIntentId"]
    await holding.pay(payment)
    finalized = await holding.finalize("ann", payment)
    assert finalized.body["details"][0]["newQty"] == 1
    hold = Hold.of(await database.get(paths.hold(payment)))
    assert hold is not None
    assert hold.status == "consumed"
    await check_invariants(database, "gala")


async def test_the_last_tickets_can_be_asked_for_again_with_the_same_key(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 2)
    body = {"firebaseId": "ann", "cartItems": [{"productId": "gala", "quantity": 2}]}
    key = {"x-idempotency-key": "attempt-1"}
    first = await holding.checkout.post("/create-payment-intent", body, headers=key)
    again = await holding.checkout.post("/create-payment-intent", body, headers=key)
    assert (first.status, again.status) == (200, 200)
    assert first.body["paymentIntentId"] == again.body["paymentIntentId"]
    assert await left(database, "gala") == 0
    other = await holding.checkout.post("/create-payment-intent", body, headers={"x-idempotency-key": "attempt-2"})
    assert other.code == "sold_out"


@pytest.mark.parametrize("how", ["declined", "canceled", "expired"])
async def test_a_hold_is_given_back_once(holding: Shop, stripe: StripeSimulator, database: Database, how: str) -> None:
    await event_on_sale(database, "gala", 3)
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    if how == "declined":
        await holding.pay(payment, "pm_card_chargeDeclined")
    elif how == "canceled":
        url = f"{holding.stripe_url}/v1/payment_intents/{payment}/cancel"
        async with holding.session.post(url, headers={"Authorization": "Bearer sk_test_x"}) as response:
            assert response.status == 200
    else:
        hold = Hold.of(await database.get(paths.hold(payment)))
        assert hold is not None
        assert hold.expires_at is not None
        await settlement_of(holding.checkout.app).settle(payment, hold.expires_at)
    await settled(holding, stripe)
    assert await left(database, "gala") == 3
    await settlement_of(holding.checkout.app).settle(payment, (await expiry_of(database, payment)), failed=True)
    assert await left(database, "gala") == 3


async def test_a_payment_after_the_hold_ended_takes_the_tickets_anew_if_there_are_any(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 2)
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    await settlement_of(holding.checkout.app).settle(payment, await expiry_of(database, payment))
    assert await left(database, "gala") == 2
    await holding.pay(payment)
    assert (await holding.finalize("ann", payment)).body["status"] == "completed"
    await settled(holding, stripe)
    await check_invariants(database, "gala")


async def test_a_payment_after_the_hold_ended_is_refunded_if_there_are_none(
    holding: Shop, stripe: StripeSimulator, database: Database, mailbox: Mailbox
) -> None:
    await event_on_sale(database, "gala", 2)
    late = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    await settlement_of(holding.checkout.app).settle(late, await expiry_of(database, late))
    await holding.buy("bob", "gala", 2)
    await holding.pay(late)
    finalized = await holding.finalize("ann", late)
    assert (finalized.body["ok"], finalized.body["status"]) == (False, "refunded")
    await settled(holding, stripe)
    assert [refund["amount"] for refund in await stripes_refunds(holding, late)] == [5000]
    ledger = await ledger_of(database, late)
    assert ledger.refund is not None
    assert (ledger.refund.amount, ledger.refund.status) == (5000, "succeeded")
    [mail] = await mailbox.arrived(1, to="ann@example.com")
    assert "refund" in mail.fields["subject"]
    assert "50.00 USD" in mail.fields["text"]
    await check_invariants(database, "gala")


async def test_500_buyers_of_100_tickets_pay_only_for_what_they_get(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 100)

    async def buy(uid: str) -> str:
        started = await holding.start(uid, "gala", customerEmail=None)
        if started.status != 200:
            assert started.code == "sold_out"
            return "sold out"
        payment = started.body["paymentIntentId"]
        await holding.pay(payment)
        finalized = await holding.finalize(uid, payment, userEmail=None)
        return str(finalized.body["status"])

    outcomes = await asyncio.gather(*(buy(f"buyer{n:03}") for n in range(500)))
    await settled(holding, stripe)
    assert outcomes.count("completed") == 100
    assert outcomes.count("sold out") == 400
    assert await left(database, "gala") == 0
    await check_invariants(database, "gala")
