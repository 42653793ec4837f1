"""Money that goes back, and the tickets that go with it."""

import asyncio
from typing import Any

import pytest

from deploy.local.http_faults import Fault
from deploy.local.mailbox import Mailbox
from deploy.local.stripe import StripeSimulator
from services.checkout.counter import refunds_of
from shared.documents import Refund
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from tests.support.money import ledger_of, left, settled, stripes_refunds
from tests.support.services import Reply, Service
from tests.support.shop import Shop, check_invariants, event_on_sale, ragers_of, summaries_of


async def refund(shop: Shop, payment: str, **fields: Any) -> Reply:
    key = fields.pop("key", None)
    body = {"paymentIntentId": payment, "reason": "requested_by_customer", **fields}
    headers = {"x-idempotency-key": key} if key else {}
    return await shop.checkout.post("/refund-order", body, headers=headers)


async def test_a_whole_refund_takes_the_tickets_back(
    holding: Shop, stripe: StripeSimulator, database: Database, mailbox: Mailbox
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await holding.paid("ann", "gala", 2)
    await holding.finalize("ann", payment)
    refunded = await refund(holding, payment, key="r1")
    assert (refunded.status, refunded.body["ok"], refunded.body["amount"]) == (200, True, 5000)
    assert (refunded.body["status"], refunded.body["refundId"][:3]) == ("succeeded", "re_")
    again = await refund(holding, payment, key="r1")
    assert again.body == refunded.body
    await settled(holding, stripe)
    [rager] = await ragers_of(database, "gala")
    assert rager.refunded_at is not None
    assert not rager.active
    assert await left(database, "gala") == 10
    assert (await summaries_of(database, "gala"))["ann"].total_tickets == 0
    assert (await ledger_of(database, payment)).status == "refunded"
    assert len(await stripes_refunds(holding, payment)) == 1
    assert len(await mailbox.arrived(2, to="ann@example.com")) == 2
    await check_invariants(database, "gala")
    more = await refund(holding, payment)
    assert (more.status, more.code) == (409, "refund_exceeds_payment")


async def test_an_item_goes_back_with_its_share_of_the_payment(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    await event_on_sale(database, "small", 10, price=7.5)
    cart = [{"productId": "gala", "quantity": 2}, {"productId": "small", "quantity": 1}]
    payment = await holding.paid("ann", "gala", cartItems=cart)
    details = (await holding.finalize("ann", payment)).body["details"]
    refunded = await refund(holding, payment, items=[{"ragerId": details[1]["ragerId"]}])
    assert refunded.body["amount"] == 750
    assert (await refund(holding, payment, items=[{"ragerId": details[1]["ragerId"]}])).code == "item_split"
    assert (await refund(holding, payment, items=[{"ragerId": "nobody"}])).code == "unknown_item"
    assert (await ledger_of(database, payment)).status == "completed"
    await settled(holding, stripe)
    await check_invariants(database, "gala")
    await check_invariants(database, "small")


async def test_an_amount_goes_back_without_tickets_until_nothing_is_left(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await holding.paid("ann", "gala", 2)
    await holding.finalize("ann", payment)
    assert (await refund(holding, payment, amountCents=1000)).body["status"] == "succeeded"
    assert (await ragers_of(database, "gala"))[0].active
    assert (await refund(holding, payment, amountCents=4001)).code == "refund_exceeds_payment"
    assert (await refund(holding, payment, amountCents=4000)).status == 200
    assert not (await ragers_of(database, "gala"))[0].active
    await settled(holding, stripe)
    await check_invariants(database, "gala")


async def test_ten_refunds_at_once_never_exceed_the_payment(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await holding.paid("ann", "gala", 2)
    await holding.finalize("ann", payment)
    replies = await asyncio.gather(*(refund(holding, payment, amountCents=1500) for _ in range(10)))
    assert sorted(reply.status for reply in replies) == [200] * 3 + [409] * 7
    assert sum(refund["amount"] for refund in await stripes_refunds(holding, payment)) == 4500


async def test_without_restocking_the_tickets_leave_circulation(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await holding.paid("ann", "gala", 2)
    await holding.finalize("ann", payment)
    await refund(holding, payment, restock=False)
    assert await left(database, "gala") == 8
    await settled(holding, stripe)
    await check_invariants(database, "gala")


async def test_a_refund_in_stripes_dashboard_takes_the_tickets_when_nothing_is_left(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await holding.paid("ann", "gala", 2)
    await holding.finalize("ann", payment)
    for amount, active in ((2000, True), (3000, False)):
        form = {"payment_intent": payment, "amount": str(amount)}
        headers = {"Authorization": "Bearer sk_test_x"}
        async with holding.session.post(f"{holding.stripe_url}/v1/refunds", data=form, headers=headers) as response:
            assert response.status == 200
        await settled(holding, stripe)
        assert (await ragers_of(database, "gala"))[0].active is active
    ledger = await ledger_of(database, payment)
    assert ledger.refund is not None
    assert (ledger.status, ledger.refund.amount) == ("refunded", 5000)
    await check_invariants(database, "gala")


async def test_a_payment_refunded_before_it_was_fulfilled_brings_no_tickets(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    stripe.webhooks.hold()
    payment = await holding.paid("ann", "gala", 2)
    headers = {"Authorization": "Bearer sk_test_x"}
    form = {"payment_intent": payment}
    async with holding.session.post(f"{holding.stripe_url}/v1/refunds", data=form, headers=headers) as response:
        assert response.status == 200
    stripe.webhooks.release("reversed")
    await settled(holding, stripe)
    assert await ragers_of(database, "gala") == []
    assert (await ledger_of(database, payment)).status == "refunded"
    assert await left(database, "gala") == 10
    assert len(await stripes_refunds(holding, payment)) == 1


async def test_a_refund_that_fails_is_told_to_a_person_and_may_be_made_again(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
    await holding.pay(payment, "pm_card_refundFail")
    await holding.finalize("ann", payment)
    refunded = await refund(holding, payment)
    async with holding.session.post(
        f"{holding.stripe_url}/_sim/refunds/{refunded.body['refundId']}/fail", json={}
    ) as response:
        assert response.status == 200, await response.text()
    await settled(holding, stripe)
    ledger = await ledger_of(database, payment)
    assert ledger.refund is not None
    assert ledger.refund.amount == 0
    kinds = [(document.fields or {})["kind"] for document in await database.query(Query("adminAlerts"))]
    assert kinds == ["refund_failed"]
    assert (await refund(holding, payment, amountCents=5000)).status == 200


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"amountCents": 0}, "invalid_request"),
        ({"amountCents": -5}, "invalid_request"),
        ({"amountCents": 1.5}, "invalid_request"),
        ({"items": []}, "invalid_request"),
        ({"items": [{"ragerId": "a"}], "amountCents": 5}, "invalid_request"),
        ({"reason": "because"}, "invalid_request"),
        ({"paymentIntentId": "nonsense"}, "invalid_payment_intent"),
    ],
)
async def test_a_bad_request_is_refused(checkout: Service, fields: dict[str, Any], code: str) -> None:
    body = {"paymentIntentId": "pi_1", "reason": "other", **fields}
    refused = await checkout.post("/refund-order", body)
    assert (refused.status, refused.code) == (400, code)


async def test_an_unknown_order_cannot_be_refunded(checkout: Service) -> None:
    refused = await checkout.post("/refund-order", {"paymentIntentId": "pi_1", "reason": "other"})
    assert (refused.status, refused.code) == (404, "order_not_found")


async def test_a_refund_that_stripe_never_heard_of_is_asked_for_by_its_job(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    await event_on_sale(database, "gala", 10)
    payment = await holding.paid("ann", "gala", 2)
    await holding.finalize("ann", payment)
    await settled(holding, stripe)
    stripe.faults.add(Fault(kind="refuse", count=20, status=500, path="/v1/refunds"))
    asked = await refund(holding, payment, key="lost")
    assert (asked.status, asked.body["status"]) == (200, "requested")
    stripe.faults.clear()
    [document] = await database.query(Query(paths.refunds(payment)))
    known = Refund.of(document)
    assert known is not None
    assert (await refunds_of(holding.checkout.app).execute(known)).status == "succeeded"
    assert len(await stripes_refunds(holding, payment)) == 1
