"""The same key is the same request, whatever bytes it is made of, and nobody's key is somebody else's."""

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from services.checkout.idempotency import key_of
from shared.firestore.client import Database
from tests.support.services import PROXY_KEY, Service
from tests.support.shop import STRIPE_KEY, Shop, event_on_sale

ODD = [b"\xff", "ł".encode(), b"a\x80b", b"k" * 4000]
BODIES: dict[str, dict[str, Any]] = {
    "/create-payment-intent": {"firebaseId": "ann", "cartItems": [{"productId": "gala"}]},
    "/refund-order": {"paymentIntentId": "pi_1", "reason": "other"},
    "/transfer-ticket": {
        "ragerId": "r", "eventId": "gala", "senderUserId": "ann", "recipientEmail": "bob@example.com"
    },
    "/manual-create-ticket": {"uid": "ann", "eventId": "gala"},
    "/resend-receipt": {"orderNumber": "ORD-1"},
}  # fmt: skip


@pytest.fixture(autouse=True)
async def on_sale(database: Database) -> None:
    await event_on_sale(database, "gala", 100)


async def send(checkout: Service, route: str, body: object, key: bytes) -> tuple[int, dict[str, Any]]:
    """With a key that no client library would send."""
    at, content = urlsplit(checkout.url), json.dumps(body).encode()
    head = f"POST {route} HTTP/1.1\r\nHost: x\r\nx-proxy-key: {PROXY_KEY}\r\nContent-Type: application/json\r\n"
    head += f"Content-Length: {len(content)}\r\nConnection: close\r\nx-idempotency-key: "
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(head.encode() + key + b"\r\n\r\n" + content)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    headers, _, reply = answer.partition(b"\r\n\r\n")
    return int(headers.split()[1]), json.loads(reply)


@pytest.mark.parametrize("route", BODIES)
@pytest.mark.parametrize("key", ODD)
async def test_no_key_is_a_fault(checkout: Service, route: str, key: bytes) -> None:
    status, reply = await send(checkout, route, BODIES[route], key)
    assert status in {200, 404}, reply


@pytest.mark.parametrize("key", ODD)
async def test_an_odd_key_works_as_any_other(checkout: Service, key: bytes) -> None:
    body = BODIES["/create-payment-intent"]
    first, again, other = [
        await send(checkout, "/create-payment-intent", body, sent) for sent in (key, key, key + b"x")
    ]
    assert (first[0], again[0], other[0]) == (200, 200, 200)
    assert first[1]["paymentIntentId"] == again[1]["paymentIntentId"] != other[1]["paymentIntentId"]


def test_a_plain_key_is_kept_and_long_ones_are_not_cut() -> None:
    assert key_of(" attempt-1 ") == "attempt-1"
    assert key_of("k" * 255) == "k" * 255
    assert key_of("k" * 256) != key_of("k" * 257)
    assert key_of("  ") is None


async def test_two_buyers_with_the_same_key_have_two_payments(checkout: Service) -> None:
    key = {"x-idempotency-key": "1"}
    bodies = [{**BODIES["/create-payment-intent"], "firebaseId": uid} for uid in ("ann", "bob")]
    one, other = [await checkout.post("/create-payment-intent", body, headers=key) for body in bodies]
    assert (one.status, other.status) == (200, 200)
    assert one.body["paymentIntentId"] != other.body["paymentIntentId"]


async def test_a_browsers_key_does_not_stand_in_the_way_of_a_refund(shop: Shop) -> None:
    paid = await shop.paid("ann", "gala", 2)
    ours = {"Idempotency-Key": f"refund-{paid}-item-0", "Authorization": f"Bearer {STRIPE_KEY}"}
    guessed = {"x-idempotency-key": ours["Idempotency-Key"]}
    started = await shop.checkout.post("/create-payment-intent", BODIES["/create-payment-intent"], headers=guessed)
    assert started.status == 200
    form = {"payment_intent": paid, "amount": "1"}
    async with shop.session.post(f"{shop.stripe_url}/v1/refunds", data=form, headers=ours) as response:
        assert response.status == 200, await response.text()
