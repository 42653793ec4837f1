"""Every refusal of the routes that sell and fulfil, over HTTP; none of them writes anything."""

from typing import Any

import pytest

from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app
from services.checkout.settings import CheckoutSettings
from shared.firestore import paths
from shared.firestore.client import Database
from tests.support.services import Service, serving
from tests.support.shop import Shop, collections, event_on_sale, put

CART = [{"productId": "gala", "quantity": 1}]
ANN = {"firebaseId": "ann", "customerEmail": "ann@example.com"}


@pytest.fixture(autouse=True)
async def on_sale(database: Database) -> None:
    await event_on_sale(database, "gala", 5)
    await event_on_sale(database, "tiered", 5, price=None, ticketTiers=[{"name": "VIP", "price": 99}])


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({**ANN, "cartItems": []}, "empty_cart", None),
        ({**ANN}, "empty_cart", None),
        ({**ANN, "cartItems": [{"productId": "nowhere"}]}, "unknown_event", None),
        ({**ANN, "cartItems": [{"productId": "tiered", "ticketType": "Pit"}]}, "unknown_ticket_type", None),
        ({**ANN, "cartItems": CART, "amount": 1}, "amount_mismatch", None),
        ({**ANN, "cartItems": CART, "currency": "jpy"}, "unsupported_currency", "currency"),
        ({**ANN, "cartItems": CART, "amount": "25.00"}, "invalid_request", "amount"),
        ({**ANN, "cartItems": "gala"}, "invalid_request", "cartItems"),
        ({**ANN, "cartItems": [{"quantity": 1}]}, "invalid_request", "cartItems[0].productId"),
        ({**ANN, "cartItems": [{"productId": "a/b"}]}, "invalid_request", "cartItems[0].productId"),
        ({**ANN, "cartItems": [{"productId": "__x__"}]}, "invalid_request", "cartItems[0].productId"),
        ({**ANN, "cartItems": [{"productId": "x" * 1501}]}, "invalid_request", "cartItems[0].productId"),
        ({**ANN, "cartItems": [{**CART[0], "quantity": 0}]}, "invalid_request", "cartItems[0].quantity"),
        ({**ANN, "cartItems": [{**CART[0], "quantity": 21}]}, "invalid_request", "cartItems[0].quantity"),
        ({**ANN, "cartItems": [{**CART[0], "quantity": 1.5}]}, "invalid_request", "cartItems[0].quantity"),
        ({**ANN, "cartItems": [{**CART[0], "quantity": True}]}, "invalid_request", "cartItems[0].quantity"),
        ({**ANN, "cartItems": [{**CART[0], "quantity": "two"}]}, "invalid_request", "cartItems[0].quantity"),
        ({**ANN, "cartItems": CART * 21}, "invalid_request", "cartItems"),
        ({"cartItems": CART}, "invalid_request", None),
        ({**ANN, "cartItems": CART, "isGuest": True, "guestEmail": "g@example.com"}, "invalid_request", None),
        ({"cartItems": CART, "isGuest": True}, "invalid_request", None),
        ({**ANN, "cartItems": CART, "customerEmail": "nobody"}, "invalid_request", "customerEmail"),
        ({**ANN, "cartItems": CART, "addressDetails": {"a": {"b": {"c": {"d": "deep"}}}}}, "invalid_request", None),
        ({**ANN, "cartItems": CART, "addressDetails": {"": "x"}}, "invalid_request", "addressDetails"),
        ({**ANN, "cartItems": CART, "addressDetails": {"n": 2**63}}, "invalid_request", "addressDetails"),
    ],
)
async def test_a_bad_cart_is_refused_and_nothing_is_written(
    checkout: Service, database: Database, body: dict[str, Any], code: str, field: str | None
) -> None:
    refused = await checkout.post("/create-payment-intent", body)
    assert (refused.status, refused.code) == (400, code)
    assert refused.body["error"].endswith(".")
    if field:
        assert refused.body["field"] == field
    assert await collections(database) == {"events"}


async def test_the_expected_amount_is_told(shop: Shop) -> None:
    refused = await shop.start("ann", "gala", 2, amount=1)
    assert (refused.code, refused.body["expectedAmount"]) == ("amount_mismatch", 5000)


async def test_more_tickets_than_there_are_is_a_conflict(shop: Shop, database: Database) -> None:
    refused = await shop.start("ann", "gala", 6)
    assert (refused.status, refused.code) == (409, "sold_out")
    assert (refused.body["eventId"], refused.body["available"]) == ("gala", 5)
    assert await collections(database) == {"events"}


async def test_the_same_idempotency_key_is_one_payment_and_another_cart_is_refused(checkout: Service) -> None:
    key = {"x-idempotency-key": "cart-1"}
    body = {**ANN, "cartItems": CART}
    first = await checkout.post("/create-payment-intent", body, headers=key)
    again = await checkout.post("/create-payment-intent", body, headers=key)
    assert first.body["paymentIntentId"] == again.body["paymentIntentId"]
    other = {**body, "cartItems": [{"productId": "gala", "quantity": 2}]}
    refused = await checkout.post("/create-payment-intent", other, headers=key)
    assert (refused.status, refused.code) == (409, "idempotency_conflict")


async def test_a_key_does_not_turn_into_another_cart_of_the_same_amount(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "twin", 5)
    key = {"x-idempotency-key": "cart-1"}
    first = await checkout.post("/create-payment-intent", {**ANN, "cartItems": CART}, headers=key)
    twin = {**ANN, "cartItems": [{"productId": "twin", "quantity": 1}]}
    refused = await checkout.post("/create-payment-intent", twin, headers=key)
    assert (first.status, refused.status, refused.code) == (200, 409, "idempotency_conflict")


async def test_an_amount_below_stripes_minimum_is_refused(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "cheap", 5, price=0.1)
    refused = await checkout.post("/create-payment-intent", {**ANN, "cartItems": [{"productId": "cheap"}]})
    assert (refused.status, refused.code) == (400, "payment_refused")


@pytest.mark.parametrize("payment", ["pi_unknown", "ch_123", "", "pi_/../x", "pi_" + "x" * 300])
async def test_an_id_that_is_no_payment_is_refused(shop: Shop, database: Database, payment: str) -> None:
    refused = await shop.finalize("ann", payment)
    assert (refused.status, refused.code) == (400, "invalid_payment_intent")
    assert await collections(database) == {"events"}


async def test_an_unpaid_order_is_not_fulfilled(shop: Shop, database: Database) -> None:
    started = (await shop.start("ann", "gala")).body["paymentIntentId"]
    refused = await shop.finalize("ann", started)
    assert (refused.status, refused.code) == (409, "payment_not_succeeded")
    assert refused.body["status"] == "requires_payment_method"
    declined = await shop.pay(started, "pm_card_chargeDeclined")
    assert declined["error"]["code"] == "card_declined"
    assert (await shop.finalize("ann", started)).code == "payment_not_succeeded"
    assert not (await database.get(paths.fulfillment(started))).exists


async def test_somebody_elses_payment_is_not_fulfilled(shop: Shop, database: Database) -> None:
    paid = await shop.paid("ann", "gala")
    refused = await shop.finalize("bob", paid)
    assert (refused.status, refused.code) == (403, "payment_owner_mismatch")
    assert not (await database.get(paths.fulfillment(paid))).exists
    await shop.finalize("ann", paid)
    assert (await shop.finalize("bob", paid)).code == "payment_owner_mismatch"


async def test_a_payment_without_a_remembered_cart_needs_one_of_the_same_price(shop: Shop, database: Database) -> None:
    paid = await shop.paid("ann", "gala", 2)
    pending = paths.pending_order(paid)
    await put(database, pending, {"note": "an old order, without items"})
    for cart in ([], [{"productId": "gala", "quantity": 1}], [{"productId": "nowhere", "quantity": 2}]):
        refused = await shop.finalize("ann", paid, cartItems=cart)
        assert (refused.status, refused.code) == (409, "cart_mismatch")
    assert not (await database.get(paths.fulfillment(paid))).exists
    fulfilled = await shop.finalize("ann", paid, cartItems=[{"productId": "gala", "quantity": 2}])
    assert fulfilled.body["createdTickets"] == 2


async def test_the_remembered_cart_wins_over_the_requests(shop: Shop) -> None:
    paid = await shop.paid("ann", "gala", 1)
    fulfilled = await shop.finalize("ann", paid, cartItems=[{"productId": "gala", "quantity": 5}])
    assert fulfilled.body["createdTickets"] == 1


async def test_without_stripe_nothing_can_be_paid_for(checkout_settings: CheckoutSettings) -> None:
    settings = checkout_settings.model_copy(update={"stripe_secret": None})
    async with serving(create_app(settings)) as checkout:
        assert (await checkout.get("/health")).body == {"ok": True, "stripeConfigured": False}
        refused = await checkout.post("/create-payment-intent", {**ANN, "cartItems": CART})
        assert (refused.status, refused.code) == (503, "stripe_disabled")


async def test_a_stripe_that_is_down_is_a_503(shop: Shop, stripe: StripeSimulator, database: Database) -> None:
    paid = await shop.paid("ann", "gala")
    await stripe.__aexit__(None, None, None)
    refused = await shop.finalize("ann", paid)
    assert (refused.status, refused.code) == (503, "stripe_unavailable")
    assert not (await database.get(paths.fulfillment(paid))).exists
    await stripe.__aenter__()
