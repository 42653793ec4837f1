"""How often the routes may be asked: what stops a program, and what must not stop anybody else."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from deploy.local.mailbox import Mailbox
from services.checkout.app import create_app
from services.checkout.settings import CheckoutSettings
from shared.firestore.client import Database
from tests.support.hands import Hands
from tests.support.services import Service, serving
from tests.support.shop import event_on_sale

GUESS = {"code": "guess", "cartTotal": 1_000}


@pytest.fixture
async def behind_a_proxy(checkout_settings: CheckoutSettings) -> AsyncIterator[Service]:
    """A checkout that can tell clients apart."""
    async with serving(create_app(checkout_settings.model_copy(update={"trusted_proxy_hops": 1}))) as service:
        yield service


async def statuses(service: Service, route: str, bodies: list[dict[str, Any]], client: str | None = None) -> list[int]:
    headers = {"X-Forwarded-For": client} if client else None
    return [(await service.post(route, body, headers=headers)).status for body in bodies]


async def test_guessing_codes_is_limited_for_each_client(behind_a_proxy: Service) -> None:
    assert await statuses(behind_a_proxy, "/validate-promo-code", [GUESS] * 61, "203.0.113.7") == [200] * 60 + [429]
    assert await statuses(behind_a_proxy, "/validate-promo-code", [GUESS], "203.0.113.8") == [200]


async def test_asking_for_receipts_is_limited_for_each_client(behind_a_proxy: Service, mailbox: Mailbox) -> None:
    bodies = [{"email": f"u{n}@example.com"} for n in range(61)]
    assert await statuses(behind_a_proxy, "/my-receipts", bodies, "203.0.113.7") == [200] * 60 + [429]
    assert await statuses(behind_a_proxy, "/my-receipts", bodies[:1], "203.0.113.8") == [200]
    assert mailbox.mails() == []


@pytest.mark.parametrize("route", ["/validate-promo-code", "/my-receipts", "/claim-ticket"])
async def test_clients_that_cannot_be_told_apart_do_not_lock_each_other_out(checkout: Service, route: str) -> None:
    """All come from the address of the one proxy, and nothing says that its header can be trusted."""
    bodies = [
        {**GUESS, "email": f"u{n}@example.com", "claimToken": "t" * 32, "claimerUserId": f"u{n}"} for n in range(130)
    ]
    assert 429 not in await statuses(checkout, route, bodies)


async def test_sending_to_a_stranger_again_and_again_is_limited_by_the_day(
    checkout: Service, database: Database, mailbox: Mailbox
) -> None:
    hands = Hands(checkout, database, mailbox)
    await hands.sold("mallory", 1, "r1")
    await hands.sold("ann", 1, "r2")
    for _ in range(10):
        await hands.cancel(await hands.sent("mallory", "r1", "victim@example.com"), "mallory")
    refused = await hands.send("mallory", "r1", "Victim@example.com")
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert int(refused.headers["Retry-After"]) > 3600
    assert (await hands.send("mallory", "r1", "friend@example.com")).status == 200
    assert (await hands.send("ann", "r2", "victim@example.com")).status == 200


async def test_starting_payments_without_end_is_limited_for_each_buyer(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 1)
    body = {"firebaseId": "ann", "cartItems": [{"productId": "gala", "quantity": 2}]}
    assert await statuses(checkout, "/create-payment-intent", [body] * 301) == [409] * 300 + [429]
    assert await statuses(checkout, "/create-payment-intent", [{**body, "firebaseId": "bob"}]) == [409]
