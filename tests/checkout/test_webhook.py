"""Stripe's events, and what the sweeper finds where none came."""

import asyncio
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from deploy.local.mailbox import Mailbox
from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app
from services.checkout.counter import settlement_of, sweeper_of
from services.checkout.settings import CheckoutSettings
from shared.documents import PendingOrder
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from tests.support.money import ledger_of, settled
from tests.support.services import Reply, Service, serving
from tests.support.shop import Shop, check_invariants, event_on_sale, put, ragers_of

SECRET = "whsec_test"


def signed(event: dict[str, Any], secret: str = SECRET, at: float | None = None) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(event).encode()
    stamp = int(time.time() if at is None else at)
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return body, {"stripe-signature": f"t={stamp},v1={digest}", "x-proxy-key": ""}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"id": "evt_1", "type": kind, "livemode": False, "data": {"object": {"id": "pi_1", **fields}}}


async def deliver(checkout: Service, body: bytes, headers: dict[str, str]) -> Reply:
    return await checkout.request("POST", "/stripe/webhook", data=body, headers=headers)


async def test_a_paid_order_is_fulfilled_though_the_browser_never_came_back(
    holding: Shop, stripe: StripeSimulator, database: Database, mailbox: Mailbox
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
    holding: Shop, stripe: StripeSimulator, database: Database, mailbox: Mailbox, order: str
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
    holding: Shop, stripe: StripeSimulator, database: Database
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
    checkout: Service, database: Database, body: bytes, headers: dict[str, str]
) -> None:
    refused = await deliver(checkout, body, headers)
    assert (refused.status, refused.code) == (400, "bad_signature")
    assert await database.count(Query("stripeEvents")) == 0


async def test_a_signed_text_that_is_no_event_is_refused(checkout: Service) -> None:
    refused = await deliver(checkout, *signed({"hello": "world"}))
    assert (refused.status, refused.code) == (400, "bad_event")


async def test_an_unknown_type_and_real_money_in_test_mode_are_acknowledged_and_forgotten(
    checkout: Service, database: Database
) -> None:
    unknown = await deliver(checkout, *signed(event("invoice.paid")))
    assert (unknown.status, unknown.body) == (200, {"received": True, "type": "invoice.paid"})
    live = {**event("payment_intent.succeeded"), "livemode": True}
    assert (await deliver(checkout, *signed(live))).status == 200
    assert await database.count(Query("stripeEvents")) == 0


async def test_either_secret_of_a_rotation_is_accepted(checkout_settings: CheckoutSettings) -> None:
    settings = checkout_settings.model_copy(update={"stripe_webhook_secret": SecretStr("whsec_new, whsec_old")})
    async with serving(create_app(settings)) as checkout:
        for number, secret in enumerate(("whsec_new", "whsec_old")):
            sent = {**event("payment_intent.canceled"), "id": f"evt_{number}"}
            assert (await deliver(checkout, *signed(sent, secret))).status == 200


async def test_a_payment_of_another_product_is_left_alone(
    holding: Shop, stripe: StripeSimulator, database: Database
) -> None:
    url = f"{holding.stripe_url}/v1/payment_intents"
    form = {"amount": "900", "currency": "usd", "automatic_payment_methods[enabled]": "true"}
    async with holding.session.post(url, data=form, headers={"Authorization": "Bearer sk_test_x"}) as response:
        payment = (await response.json())["id"]
    await holding.pay(payment)
    await settled(holding, stripe)
    assert await database.count(Query("fulfillments")) == 0
    assert await database.count(Query("adminAlerts")) == 0


async def test_a_dispute_is_a_persons_to_answer(holding: Shop, stripe: StripeSimulator, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    payment = (await holding.start("ann", "gala")).body["paymentIntentId"]
    await holding.pay(payment, "pm_card_createDispute")
    await holding.finalize("ann", payment)
    await settled(holding, stripe)
    alerts = [document.fields or {} for document in await database.query(Query("adminAlerts"))]
    assert [alert["kind"] for alert in alerts] == ["dispute"]
    assert (await ledger_of(database, payment)).needs_admin_review


async def test_a_paid_order_that_nobody_came_back_for_is_fulfilled(
    shop: Shop, database: Database, checkout_settings: CheckoutSettings
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
    shop: Shop, checkout: Service, database: Database
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
