"""Orders with a promo code: what is charged, and that no code is used more often than it may be."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from deploy.local.mailbox import Mailbox
from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app
from services.checkout.counter import settlement_of
from services.checkout.settings import CheckoutSettings
from shared.documents import Fulfillment, Hold, PendingOrder, PromoCode
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Delete, Merge
from shared.wiring import WORKER
from tests.support.services import Reply, Service, serving
from tests.support.shop import Shop, check_invariants, event_on_sale, put, write

SPRING = "promoCodes/SPRING"
OVER = "promoCodes/OVER"


@pytest.fixture
async def holding(checkout_settings: CheckoutSettings, stripe: StripeSimulator) -> AsyncIterator[Shop]:
    """A shop that holds tickets while they are paid for."""
    settings = checkout_settings.model_copy(update={"hold_minutes": 10.0})
    async with serving(create_app(settings)) as checkout, aiohttp.ClientSession() as session:
        yield Shop(checkout, stripe.url, session)


@pytest.fixture(autouse=True)
async def on_sale(database: Database) -> None:
    await event_on_sale(database, "gala", 100)


async def offer(database: Database, **fields: Any) -> None:
    await put(database, SPRING, {"type": "percentage", "value": 10, **fields})


async def uses(database: Database) -> tuple[int, int]:
    """Counted and set aside."""
    promo = PromoCode.of(await database.get(SPRING))
    assert promo is not None
    return promo.uses, promo.reserved


async def ledger_of(database: Database, payment: str) -> Fulfillment:
    ledger = Fulfillment.of(await database.get(paths.fulfillment(payment)))
    assert ledger is not None
    return ledger


async def let_go(shop: Shop, database: Database, payment: str) -> None:
    """The hold runs out."""
    hold = Hold.of(await database.get(paths.hold(payment)))
    assert hold is not None
    assert hold.expires_at is not None
    await settlement_of(shop.checkout.app).settle(payment, hold.expires_at)


async def test_a_discount_comes_off_before_tax(
    checkout_settings: CheckoutSettings, stripe: StripeSimulator, database: Database, mailbox: Mailbox
) -> None:
    await offer(database)
    taxing = checkout_settings.model_copy(update={"sales_tax_percent": Decimal("8.25")})
    async with serving(create_app(taxing)) as checkout, aiohttp.ClientSession() as session:
        shop = Shop(checkout, stripe.url, session)
        expected = 7_500 - 750 + 557  # 8.25 % of 6750 is 556.875
        assert (await shop.start("ann", "gala", 3, promoCode="spring", amount=7_500)).code == "amount_mismatch"
        payment = await shop.paid("ann", "gala", 3, promoCode=" spring ", amount=expected)
        pending = PendingOrder.of(await database.get(paths.pending_order(payment)))
        assert pending is not None
        assert (pending.amount, pending.promo_code, pending.discount_cents) == (expected, "SPRING", 750)
        assert (await shop.finalize("ann", payment)).body["status"] == "completed"
        ledger = await ledger_of(database, payment)
        assert (ledger.amount, ledger.promo_code, ledger.discount_cents) == (expected, "SPRING", 750)
        [mail] = await mailbox.arrived(1, to="ann@example.com")
        for line in ("3 x Event gala: 75.00 USD", "Discount (SPRING): -7.50 USD", "Tax: 5.57 USD", "Total: 73.07 USD"):
            assert line in mail.fields["text"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (None, "unknown"),
        ({"active": False}, "inactive"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expired"),
        ({"maxUses": 5, "uses": 5}, "exhausted"),
        ({"minimumTotal": 25.01}, "minimum"),
    ],
)
async def test_a_code_that_is_not_good_refuses_the_payment_and_nothing_is_written(
    shop: Shop, database: Database, fields: dict[str, Any] | None, reason: str
) -> None:
    if fields is not None:
        await offer(database, **fields)
    refused = await shop.start("ann", "gala", promoCode="SPRING")
    assert (refused.status, refused.code, refused.body["reason"]) == (400, "invalid_promo_code", reason)
    assert await database.query(Query("pendingOrders")) == []


async def test_an_order_below_what_stripe_takes_is_refused(shop: Shop, database: Database) -> None:
    await offer(database, value=100)
    refused = await shop.start("ann", "gala", promoCode="SPRING")
    assert (refused.status, refused.code) == (400, "payment_refused")


async def test_finalizing_twice_counts_one_use(shop: Shop, database: Database) -> None:
    await offer(database)
    payment = await shop.paid("ann", "gala", promoCode="SPRING")
    await asyncio.gather(*(shop.finalize("ann", payment) for _ in range(5)))
    assert await uses(database) == (1, 0)


async def test_with_holds_no_more_payments_start_than_a_code_has_uses(holding: Shop, database: Database) -> None:
    await offer(database, maxUses=3)
    replies = await asyncio.gather(*(holding.start(f"u{n}", "gala", promoCode="SPRING") for n in range(12)))
    started = [(n, reply.body["paymentIntentId"]) for n, reply in enumerate(replies) if reply.status == 200]
    refused = [reply for reply in replies if reply.status != 200]
    assert len(started) == 3
    assert {(reply.code, reply.body["reason"]) for reply in refused} == {("invalid_promo_code", "exhausted")}
    assert await uses(database) == (0, 3)
    for n, payment in started:
        await holding.pay(payment)
        assert (await holding.finalize(f"u{n}", payment)).body["status"] == "completed"
    assert await uses(database) == (3, 0)
    await check_invariants(database, "gala")


async def test_without_holds_a_paid_order_whose_code_ran_out_gets_its_money_back(
    shop: Shop, database: Database
) -> None:
    await offer(database, maxUses=2)
    payments = [await shop.paid(f"u{n}", "gala", promoCode="SPRING") for n in range(6)]
    replies = await asyncio.gather(*(shop.finalize(f"u{n}", payment) for n, payment in enumerate(payments)))
    assert sorted(reply.body["status"] for reply in replies) == ["completed"] * 2 + ["refunded"] * 4
    codes = {error["code"] for reply in replies for error in reply.body.get("errors", [])}
    assert codes == {"promo_exhausted"}
    assert await uses(database) == (2, 0)
    await shop.checkout.app[WORKER].idle()
    for payment in payments:
        ledger = await ledger_of(database, payment)
        assert bool(ledger.created_tickets) != bool(ledger.refund and ledger.refund.amount == ledger.amount)
    await check_invariants(database, "gala")


async def test_a_hold_that_ends_gives_the_use_back(holding: Shop, database: Database) -> None:
    await offer(database, maxUses=1)
    payment = (await holding.start("ann", "gala", promoCode="SPRING")).body["paymentIntentId"]
    assert await uses(database) == (0, 1)
    await let_go(holding, database, payment)
    await let_go(holding, database, payment)
    assert await uses(database) == (0, 0)
    assert (await holding.start("bob", "gala", promoCode="SPRING")).status == 200


@pytest.mark.parametrize("taken", [False, True])
async def test_a_late_payment_has_its_code_if_there_is_a_use_left(
    holding: Shop, database: Database, *, taken: bool
) -> None:
    await offer(database, maxUses=1)
    late = (await holding.start("ann", "gala", promoCode="SPRING")).body["paymentIntentId"]
    await let_go(holding, database, late)
    if taken:
        await holding.start("bob", "gala", promoCode="SPRING")
    await holding.pay(late)
    status = (await holding.finalize("ann", late)).body["status"]
    assert status == ("refunded" if taken else "completed")
    assert await uses(database) == ((0, 1) if taken else (1, 0))


async def test_a_repeated_attempt_keeps_its_own_use(holding: Shop, database: Database) -> None:
    await offer(database, maxUses=1)
    body = {"firebaseId": "ann", "cartItems": [{"productId": "gala"}], "promoCode": "SPRING"}
    key = {"x-idempotency-key": "attempt-1"}
    replies = [await holding.checkout.post("/create-payment-intent", body, headers=key) for _ in range(3)]
    assert [reply.status for reply in replies] == [200, 200, 200]
    assert len({reply.body["paymentIntentId"] for reply in replies}) == 1
    assert await uses(database) == (0, 1)
    other = {"x-idempotency-key": "attempt-2"}
    assert (await holding.checkout.post("/create-payment-intent", body, headers=other)).code == "invalid_promo_code"


@pytest.mark.parametrize(
    ("before", "asked"),
    [
        ({}, {"promoCode": "OVER"}),  # with no code at all
        ({"promoCode": "SPRING"}, {"promoCode": "OVER"}),
        ({"firebaseId": "bob", "promoCode": "OVER"}, {"promoCode": "OVER"}),
    ],
)
@pytest.mark.parametrize("age", [timedelta(0), timedelta(days=2)])
async def test_a_key_used_before_does_not_bring_back_a_code_that_is_over(
    holding: Shop, database: Database, before: dict[str, Any], asked: dict[str, Any], age: timedelta
) -> None:
    await offer(database)
    await put(database, OVER, {"type": "percentage", "value": 90})
    await attempt(holding, database, age, **before)
    await put(database, OVER, {"type": "percentage", "value": 90, "expiresAt": "2020-01-01T00:00:00Z"})
    refused = await attempt(holding, database, timedelta(0), **asked)
    assert (refused.code, refused.body["reason"]) == ("invalid_promo_code", "expired")


@pytest.mark.parametrize("status", ["pending", "completed"])
@pytest.mark.parametrize("age", [timedelta(hours=22), timedelta(hours=24)])
async def test_an_attempt_is_repeated_as_long_as_stripe_answers_with_its_payment(
    holding: Shop, database: Database, status: str, age: timedelta
) -> None:
    await put(database, OVER, {"type": "percentage", "value": 90})
    started = await attempt(holding, database, age, promoCode="OVER")
    path = paths.pending_order(started.body["paymentIntentId"])
    await write(database, Merge(path, PendingOrder.patch(status=status)))
    await put(database, OVER, {"type": "percentage", "value": 90, "active": False})
    again = await attempt(holding, database, timedelta(0), promoCode="OVER")
    good = status == "pending" and age < timedelta(hours=23)
    assert again.code == (None if good else "invalid_promo_code")


async def attempt(shop: Shop, database: Database, age: timedelta, **fields: Any) -> Reply:
    """One under the same key each time, made so long ago."""
    body = {"firebaseId": "ann", "cartItems": [{"productId": "gala"}], **fields}
    headers = {"x-idempotency-key": "attempt-1"}
    started = await shop.checkout.post("/create-payment-intent", body, headers=headers)
    if started.status == 200:
        path = paths.pending_order(started.body["paymentIntentId"])
        await write(database, Merge(path, PendingOrder.patch(created_at=datetime.now(UTC) - age)))
    return started


async def test_an_order_that_is_sold_out_uses_nothing_up(holding: Shop, database: Database) -> None:
    await offer(database, maxUses=1)
    await event_on_sale(database, "small", 1)
    late = (await holding.start("ann", "small", promoCode="SPRING")).body["paymentIntentId"]
    await let_go(holding, database, late)
    await holding.buy("bob", "small")
    await holding.pay(late)
    assert (await holding.finalize("ann", late)).body["errors"][0]["code"] == "sold_out"
    assert await uses(database) == (0, 0)


async def test_one_key_does_not_serve_two_codes(checkout: Service, database: Database) -> None:
    await offer(database)
    await put(database, "promoCodes/TWIN", {"type": "percentage", "value": 10})
    key = {"x-idempotency-key": "attempt-1"}
    body = {"firebaseId": "ann", "cartItems": [{"productId": "gala"}]}
    replies = [
        await checkout.post("/create-payment-intent", {**body, "promoCode": code}, headers=key)
        for code in ("SPRING", "TWIN")
    ]
    assert [reply.code for reply in replies] == [None, "idempotency_conflict"]


async def test_a_code_that_was_deleted_meanwhile_is_kept_to_and_not_made_anew(shop: Shop, database: Database) -> None:
    await offer(database)
    payment = await shop.paid("ann", "gala", promoCode="SPRING")
    await write(database, Delete(SPRING))
    assert (await shop.finalize("ann", payment)).body["status"] == "completed"
    assert not (await database.get(SPRING)).exists
