"""Holds, webhooks and refunds: where the money is, and what stands for it."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from deploy.local.http_faults import Fault
from deploy.local.mailbox import Mailbox
from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app
from services.checkout.counter import refunds_of, settlement_of, sweeper_of
from services.checkout.settings import CheckoutSettings
from shared.documents import Event, Fulfillment, Hold, PendingOrder, Refund
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.wiring import WORKER
from tests.support.services import Reply, Service, serving
from tests.support.shop import Shop, check_invariants, event_on_sale, put, ragers_of, summaries_of

SECRET = "whsec_test"


@pytest.fixture
async def holding(checkout_settings: CheckoutSettings, stripe: StripeSimulator) -> AsyncIterator[Shop]:
    """A shop whose checkout holds tickets, and hears Stripe's webhooks."""
    settings = checkout_settings.model_copy(update={"hold_minutes": 10.0})
    async with serving(create_app(settings)) as checkout, aiohttp.ClientSession() as session:
        stripe.set_webhook_endpoints([(f"{checkout.url}/stripe/webhook", SECRET)])
        yield Shop(checkout, stripe.url, session)
        stripe.set_webhook_endpoints([])


async def settled(shop: Shop, stripe: StripeSimulator) -> None:
    """Until every webhook was delivered and every job it asked for is done."""
    await stripe.webhooks.settled(20)
    await shop.checkout.app[WORKER].idle()
    await stripe.webhooks.settled(20)
    await shop.checkout.app[WORKER].idle()


async def left(database: Database, event_id: str) -> int:
    event = Event.of(await database.get(paths.event(event_id)))
    assert event is not None
    return event.quantity


async def ledger_of(database: Database, payment: str) -> Fulfillment:
    ledger = Fulfillment.of(await database.get(paths.fulfillment(payment)))
    assert ledger is not None
    return ledger


async def stripes_refunds(shop: Shop, payment: str) -> list[dict[str, Any]]:
    url = f"{shop.stripe_url}/v1/refunds?payment_intent={payment}"
    async with shop.session.get(url, headers={"Authorization": "Bearer sk_test_x"}) as response:
        refunds: list[dict[str, Any]] = (await response.json())["data"]
        return refunds


def signed(event: dict[str, Any], secret: str = SECRET, at: float | None = None) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(event).encode()
    stamp = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return body, {"stripe-signature": f"t={stamp},v1={digest}", "x-proxy-key": ""}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": "evt_1", "type": kind, "livemode": False, "data": {"object": {"id": "pi_1", **fields}}}


async def deliver(checkout: Service, body: bytes, headers: dict[str, str]) -> Reply:
    return await checkout.request("POST", "/stripe/webhook", data=body, headers=headers)


class TestHolds:
    async def test_tickets_are_held_from_the_start_of_a_payment(self, holding: Shop, database: Database) -> None:
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

    async def test_the_last_tickets_can_be_asked_for_again_with_the_same_key(
        self, holding: Shop, database: Database
    ) -> None:
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
    async def test_a_hold_is_given_back_once(
        self, holding: Shop, stripe: StripeSimulator, database: Database, how: str
    ) -> None:
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
        await settlement_of(holding.checkout.app).settle(payment, (await _expiry(database, payment)), failed=True)
        assert await left(database, "gala") == 3

    async def test_a_payment_after_the_hold_ended_takes_the_tickets_anew_if_there_are_any(
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 2)
        payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
        await settlement_of(holding.checkout.app).settle(payment, await _expiry(database, payment))
        assert await left(database, "gala") == 2
        await holding.pay(payment)
        assert (await holding.finalize("ann", payment)).body["status"] == "completed"
        await settled(holding, stripe)
        await check_invariants(database, "gala")

    async def test_a_payment_after_the_hold_ended_is_refunded_if_there_are_none(
        self, holding: Shop, stripe: StripeSimulator, database: Database, mailbox: Mailbox
    ) -> None:
        await event_on_sale(database, "gala", 2)
        late = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
        await settlement_of(holding.checkout.app).settle(late, await _expiry(database, late))
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
        self, holding: Shop, stripe: StripeSimulator, database: Database
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


async def _expiry(database: Database, payment: str) -> Any:
    hold = Hold.of(await database.get(paths.hold(payment)))
    assert hold is not None
    return hold.expires_at


class TestWebhook:
    async def test_a_paid_order_is_fulfilled_though_the_browser_never_came_back(
        self, holding: Shop, stripe: StripeSimulator, database: Database, mailbox: Mailbox
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await holding.paid("ann", "gala", 2)
        await settled(holding, stripe)
        assert (await ledger_of(database, payment)).status == "completed"
        again = await holding.finalize("ann", payment)
        assert again.body["idempotent"] is True
        assert len(await mailbox.arrived(1, to="ann@example.com")) == 1
        await check_invariants(database, "gala")

    @pytest.mark.parametrize("order", ["before", "during", "after"])
    async def test_the_browser_and_the_webhook_make_one_order(
        self, holding: Shop, stripe: StripeSimulator, database: Database, mailbox: Mailbox, order: str
    ) -> None:
        await event_on_sale(database, "gala", 10)
        if order == "after":
            stripe.webhooks.hold()
        payment = await holding.paid("ann", "gala", 2)
        if order == "before":
            await settled(holding, stripe)
        await holding.finalize("ann", payment)
        if order == "after":
            stripe.webhooks.release("shuffled", 7)
        await settled(holding, stripe)
        assert len(await ragers_of(database, "gala")) == 1
        assert len(mailbox.mails(to="ann@example.com")) == 1
        await check_invariants(database, "gala")

    async def test_an_event_that_comes_twice_is_taken_in_once(
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await holding.paid("ann", "gala", 2)
        await settled(holding, stripe)
        jobs = await database.count(Query("jobs"))
        event_ids = [document.id for document in await database.query(Query("stripeEvents"))]
        assert event_ids
        for event_id in event_ids:
            stripe.webhooks.redeliver(event_id, 3)
        await settled(holding, stripe)
        assert await database.count(Query("jobs")) == jobs
        assert (await ledger_of(database, payment)).attempts == 1

    @pytest.mark.parametrize(
        ("body", "headers"),
        [
            pytest.param(*signed(event("charge.refunded"), "whsec_wrong"), id="another secret"),
            pytest.param(*signed(event("charge.refunded"), at=0), id="signed long ago"),
            pytest.param(signed(event("charge.refunded"))[0], {}, id="no signature"),
            pytest.param(b"{}", signed(event("charge.refunded"))[1], id="another body"),
            pytest.param(b"\xff", {"stripe-signature": "t=1,v1=00"}, id="no text"),
        ],
    )
    async def test_a_bad_signature_is_refused(
        self, checkout: Service, database: Database, body: bytes, headers: dict[str, str]
    ) -> None:
        refused = await deliver(checkout, body, headers)
        assert (refused.status, refused.code) == (400, "bad_signature")
        assert await database.count(Query("stripeEvents")) == 0

    async def test_a_signed_text_that_is_no_event_is_refused(self, checkout: Service) -> None:
        refused = await deliver(checkout, *signed({"hello": "world"}))
        assert (refused.status, refused.code) == (400, "bad_event")

    async def test_an_unknown_type_and_real_money_in_test_mode_are_acknowledged_and_forgotten(
        self, checkout: Service, database: Database
    ) -> None:
        unknown = await deliver(checkout, *signed(event("invoice.paid")))
        assert (unknown.status, unknown.body) == (200, {"received": True, "type": "invoice.paid"})
        live = {**event("payment_intent.succeeded"), "livemode": True}
        assert (await deliver(checkout, *signed(live))).status == 200
        assert await database.count(Query("stripeEvents")) == 0

    async def test_either_secret_of_a_rotation_is_accepted(self, checkout_settings: CheckoutSettings) -> None:
        settings = checkout_settings.model_copy(update={"stripe_webhook_secret": SecretStr("whsec_new, whsec_old")})
        async with serving(create_app(settings)) as checkout:
            for number, secret in enumerate(("whsec_new", "whsec_old")):
                sent = {**event("payment_intent.canceled"), "id": f"evt_{number}"}
                assert (await deliver(checkout, *signed(sent, secret))).status == 200

    async def test_a_payment_of_another_product_is_left_alone(
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        url = f"{holding.stripe_url}/v1/payment_intents"
        form = {"amount": "900", "currency": "usd", "automatic_payment_methods[enabled]": "true"}
        async with holding.session.post(url, data=form, headers={"Authorization": "Bearer sk_test_x"}) as response:
            payment = (await response.json())["id"]
        await holding.pay(payment)
        await settled(holding, stripe)
        assert await database.count(Query("fulfillments")) == 0
        assert await database.count(Query("adminAlerts")) == 0

    async def test_a_dispute_is_a_persons_to_answer(
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = (await holding.start("ann", "gala")).body["paymentIntentId"]
        await holding.pay(payment, "pm_card_createDispute")
        await holding.finalize("ann", payment)
        await settled(holding, stripe)
        alerts = [document.fields or {} for document in await database.query(Query("adminAlerts"))]
        assert [alert["kind"] for alert in alerts] == ["dispute"]
        assert (await ledger_of(database, payment)).needs_admin_review


class TestSweeper:
    async def test_a_paid_order_that_nobody_came_back_for_is_fulfilled(
        self, shop: Shop, database: Database, checkout_settings: CheckoutSettings
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await shop.paid("ann", "gala", 2)
        settings = checkout_settings.model_copy(update={"sweep_after_seconds": 0.0, "sweep_seconds": 0.2})
        async with serving(create_app(settings)):
            async with asyncio.timeout(20):
                while not (await database.get(paths.fulfillment(payment))).exists:
                    await asyncio.sleep(0.05)
        assert (await ledger_of(database, payment)).status == "completed"
        await check_invariants(database, "gala")

    async def test_a_paid_order_that_cannot_be_decided_is_told_to_a_person_and_measured(
        self, shop: Shop, checkout: Service, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await shop.paid("ann", "gala", 2)
        pending = paths.pending_order(payment)
        stored = dict((await database.get(pending)).fields or {})
        await put(database, pending, {**stored, "amount": 1})
        await settlement_of(checkout.app).settle(payment, datetime.now(UTC))
        order = PendingOrder.of(await database.get(pending))
        assert order is not None
        assert order.status == "stuck"
        [alert] = await database.query(Query("adminAlerts"))
        assert (alert.fields or {})["kind"] == "payment_needs_review"
        await sweeper_of(checkout.app).look()
        assert await checkout.metric("checkout_paid_unfulfilled") == 1
        assert await checkout.metric("checkout_paid_unfulfilled_oldest_seconds") > 0


class TestRefunds:
    async def refund(self, shop: Shop, payment: str, **fields: Any) -> Reply:
        key = fields.pop("key", None)
        body = {"paymentIntentId": payment, "reason": "requested_by_customer", **fields}
        headers = {"x-idempotency-key": key} if key else {}
        return await shop.checkout.post("/refund-order", body, headers=headers)

    async def test_a_whole_refund_takes_the_tickets_back(
        self, holding: Shop, stripe: StripeSimulator, database: Database, mailbox: Mailbox
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await holding.paid("ann", "gala", 2)
        await holding.finalize("ann", payment)
        refunded = await self.refund(holding, payment, key="r1")
        assert (refunded.status, refunded.body["ok"], refunded.body["amount"]) == (200, True, 5000)
        assert (refunded.body["status"], refunded.body["refundId"][:3]) == ("succeeded", "re_")
        again = await self.refund(holding, payment, key="r1")
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
        more = await self.refund(holding, payment)
        assert (more.status, more.code) == (409, "refund_exceeds_payment")

    async def test_an_item_goes_back_with_its_share_of_the_payment(
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 10)
        await event_on_sale(database, "small", 10, price=7.5)
        cart = [{"productId": "gala", "quantity": 2}, {"productId": "small", "quantity": 1}]
        payment = await holding.paid("ann", "gala", cartItems=cart)
        details = (await holding.finalize("ann", payment)).body["details"]
        refunded = await self.refund(holding, payment, items=[{"ragerId": details[1]["ragerId"]}])
        assert refunded.body["amount"] == 750
        assert (await self.refund(holding, payment, items=[{"ragerId": details[1]["ragerId"]}])).code == "item_split"
        assert (await self.refund(holding, payment, items=[{"ragerId": "nobody"}])).code == "unknown_item"
        assert (await ledger_of(database, payment)).status == "completed"
        await settled(holding, stripe)
        await check_invariants(database, "gala")
        await check_invariants(database, "small")

    async def test_an_amount_goes_back_without_tickets_until_nothing_is_left(
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await holding.paid("ann", "gala", 2)
        await holding.finalize("ann", payment)
        assert (await self.refund(holding, payment, amountCents=1000)).body["status"] == "succeeded"
        assert (await ragers_of(database, "gala"))[0].active
        assert (await self.refund(holding, payment, amountCents=4001)).code == "refund_exceeds_payment"
        assert (await self.refund(holding, payment, amountCents=4000)).status == 200
        assert not (await ragers_of(database, "gala"))[0].active
        await settled(holding, stripe)
        await check_invariants(database, "gala")

    async def test_ten_refunds_at_once_never_exceed_the_payment(self, holding: Shop, database: Database) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await holding.paid("ann", "gala", 2)
        await holding.finalize("ann", payment)
        replies = await asyncio.gather(*(self.refund(holding, payment, amountCents=1500) for _ in range(10)))
        assert sorted(reply.status for reply in replies) == [200] * 3 + [409] * 7
        assert sum(refund["amount"] for refund in await stripes_refunds(holding, payment)) == 4500

    async def test_without_restocking_the_tickets_leave_circulation(
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await holding.paid("ann", "gala", 2)
        await holding.finalize("ann", payment)
        await self.refund(holding, payment, restock=False)
        assert await left(database, "gala") == 8
        await settled(holding, stripe)
        await check_invariants(database, "gala")

    async def test_a_refund_in_stripes_dashboard_takes_the_tickets_when_nothing_is_left(
        self, holding: Shop, stripe: StripeSimulator, database: Database
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
        self, holding: Shop, stripe: StripeSimulator, database: Database
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
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = (await holding.start("ann", "gala", 2)).body["paymentIntentId"]
        await holding.pay(payment, "pm_card_refundFail")
        await holding.finalize("ann", payment)
        refunded = await self.refund(holding, payment)
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
        assert (await self.refund(holding, payment, amountCents=5000)).status == 200

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
    async def test_a_bad_request_is_refused(self, checkout: Service, fields: dict[str, Any], code: str) -> None:
        body = {"paymentIntentId": "pi_1", "reason": "other", **fields}
        refused = await checkout.post("/refund-order", body)
        assert (refused.status, refused.code) == (400, code)

    async def test_an_unknown_order_cannot_be_refunded(self, checkout: Service) -> None:
        refused = await checkout.post("/refund-order", {"paymentIntentId": "pi_1", "reason": "other"})
        assert (refused.status, refused.code) == (404, "order_not_found")

    async def test_a_refund_that_stripe_never_heard_of_is_asked_for_by_its_job(
        self, holding: Shop, stripe: StripeSimulator, database: Database
    ) -> None:
        await event_on_sale(database, "gala", 10)
        payment = await holding.paid("ann", "gala", 2)
        await holding.finalize("ann", payment)
        await settled(holding, stripe)
        stripe.faults.add(Fault(kind="refuse", count=20, status=500, path="/v1/refunds"))
        asked = await self.refund(holding, payment, key="lost")
        assert (asked.status, asked.body["status"]) == (200, "requested")
        stripe.faults.clear()
        [document] = await database.query(Query(paths.refunds(payment)))
        refund = Refund.of(document)
        assert refund is not None
        assert (await refunds_of(holding.checkout.app).execute(refund)).status == "succeeded"
        assert len(await stripes_refunds(holding, payment)) == 1
