"""Neither a log line nor a refusal tells who the customers are, what opens the door, or how it looks inside."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.http_faults import Fault
from deploy.local.mailbox import Mailbox
from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app
from services.checkout.settings import CheckoutSettings
from services.scanning.app import create_app as scanning_app
from services.scanning.settings import ScanningSettings
from shared import logs
from shared.firestore.client import Database
from shared.wiring import WORKER
from tests.support.hands import Hands
from tests.support.restored_logs import restored_logs
from tests.support.services import PROXY_KEY, Service, serving
from tests.support.shop import STRIPE_KEY, Shop, event_on_sale, ragers_of

RESEND_KEY, WEBHOOK_SECRET = "re_privacy_key", "whsec_privacy_secret"
INSIDE = re.compile(r"(?i)traceback|\.py\b|site-packages|/services/|projects/.+/databases|sk_test|firestore|grpc")
"""What a client has no business to read."""


@pytest.fixture
async def system(checkout_settings: CheckoutSettings, stripe: StripeSimulator) -> AsyncIterator[tuple[Shop, Service]]:
    """A checkout that holds and hears webhooks, and a door."""
    settings = checkout_settings.model_copy(
        update={
            "hold_minutes": 10.0,
            "log_level": "DEBUG",
            "resend_api_key": SecretStr(RESEND_KEY),
            "stripe_webhook_secret": SecretStr(WEBHOOK_SECRET),
        }
    )
    door_settings = ScanningSettings(
        proxy_key=SecretStr(PROXY_KEY), admin_auth="proxy", google_cloud_project=settings.google_cloud_project
    )
    async with AsyncExitStack() as stack:
        checkout = await stack.enter_async_context(serving(create_app(settings)))
        door = await stack.enter_async_context(serving(scanning_app(door_settings)))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        stripe.set_webhook_endpoints([(f"{checkout.url}/stripe/webhook", WEBHOOK_SECRET)])
        yield Shop(checkout, stripe.url, session), door


async def test_a_sale_a_transfer_and_a_scan_leave_no_person_and_no_secret_in_the_logs(
    system: tuple[Shop, Service],
    stripe: StripeSimulator,
    database: Database,
    mailbox: Mailbox,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shop, door = system
    await event_on_sale(database, "gala", 10, date="2030-05-01T19:00:00Z")
    with restored_logs():
        logs.configure("DEBUG", "json")
        secrets = await _sell_transfer_and_scan(shop, door, database, mailbox)
        await stripe.webhooks.settled(20)
        await shop.checkout.app[WORKER].idle()
    captured = capsys.readouterr()
    logged = captured.err + captured.out
    assert logged.count('"event": "request"') > 10
    assert '"event": "job_failed"' in logged
    assert "Logging error" not in logged
    assert [secret for secret in secrets if secret in logged] == []
    assert re.findall(r"(?i)\b(?:ann|bob)@example\.com", logged) == []


async def _sell_transfer_and_scan(shop: Shop, door: Service, database: Database, mailbox: Mailbox) -> set[str]:
    """The secrets that came up on the way."""
    hands = Hands(shop.checkout, database, mailbox)
    started = await shop.start("ann", "gala", 2, name="Ann")
    await shop.pay(started.body["paymentIntentId"])
    mailbox.faults.add(Fault(kind="refuse", status=422, count=1))
    await shop.finalize("ann", started.body["paymentIntentId"])
    await shop.checkout.app[WORKER].idle()
    await shop.checkout.post("/create-customer", {"uid": "ann", "email": "ann@example.com", "name": "Ann"})
    await shop.checkout.post("/my-receipts", {"email": "ann@example.com"})
    declined = await shop.start("bob", "gala")
    await shop.pay(declined.body["paymentIntentId"], "pm_card_chargeDeclined")
    [sold] = await ragers_of(database, "gala")
    await hands.sent("ann", sold.id, "bob@example.com")
    claim_token = await hands.token("bob@example.com")
    await hands.preview(claim_token)
    assert (await hands.claim("bob", claim_token)).status == 200
    tickets = {str(rager.ticket_token) for rager in await ragers_of(database, "gala")}
    assert len(tickets) == 2
    statuses = [(await door.post("/scan-ticket", {"token": token})).status for token in (*tickets, "f" * 32)]
    assert sorted(statuses) == [200, 404, 409]
    clients = {started.body["client_secret"], declined.body["client_secret"]}
    return {PROXY_KEY, STRIPE_KEY, RESEND_KEY, WEBHOOK_SECRET, claim_token} | clients | tickets


async def test_refusals_and_faults_tell_nothing_of_the_inside(
    system: tuple[Shop, Service], firestore: EmbeddedFirestore, stripe: StripeSimulator, database: Database
) -> None:
    shop, door = system
    await event_on_sale(database, "gala", 10)
    await event_on_sale(database, "cheap", 10, price=0.1)
    bodies: list[dict[str, Any]] = [
        {"firebaseId": "ann", "cartItems": [{"productId": "cheap"}]},
        {"firebaseId": "ann", "cartItems": [{"productId": "nowhere"}]},
        {"firebaseId": "ann", "cartItems": {"a": 1}},
    ]
    replies = [await shop.checkout.post("/create-payment-intent", body) for body in bodies]
    key = {"x-idempotency-key": "my-key"}
    one, two = [{"firebaseId": "ann", "cartItems": [{"productId": "gala", "quantity": n}]} for n in (1, 2)]
    replies += [await shop.checkout.post("/create-payment-intent", body, headers=key) for body in (one, two)]
    stripe.faults.add(Fault(kind="refuse", status=400, count=1), Fault(kind="refuse", status=500))
    replies += [await shop.start("ann", "gala") for _ in range(2)]
    stripe.faults.clear()
    replies.append(await shop.finalize("ann", "pi_unknown"))
    replies.append(await door.post("/scan-ticket", {"token": "f" * 32}))
    replies.append(await shop.checkout.post("/nothing-here", {}))
    texts = [str(reply.body) for reply in replies if reply.status >= 400]
    assert len(texts) >= 9
    assert [text for text in texts if INSIDE.search(text) or "my-key" in text] == []
