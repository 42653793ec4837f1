"""One Stripe customer for each account."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from services.checkout.app import create_app
from services.checkout.settings import CheckoutSettings
from shared.documents import Customer
from shared.firestore import paths
from shared.firestore.client import Database
from tests.support.services import Service, serving

ANN = {"uid": "ann", "email": "ann@example.com", "name": "Ann"}


async def test_an_account_gets_one_customer_and_keeps_it(checkout: Service, database: Database) -> None:
    first = await checkout.post("/create-customer", ANN)
    assert (first.status, first.body["ok"], first.body["reused"]) == (200, True, False)
    assert first.body["id"].startswith("cus_")
    again = await checkout.post("/create-customer", ANN)
    assert again.body == {**first.body, "reused": True}
    stored = Customer.of(await database.get(paths.customer("ann")))
    assert stored is not None
    assert (stored.stripe_customer_id, stored.email) == (first.body["id"], "ann@example.com")


async def test_a_new_address_reaches_the_customer_that_is_there(checkout: Service, database: Database) -> None:
    first = await checkout.post("/create-customer", ANN)
    moved = await checkout.post("/create-customer", {**ANN, "email": "ann@new.example"})
    assert (moved.body["id"], moved.body["reused"]) == (first.body["id"], True)
    stored = Customer.of(await database.get(paths.customer("ann")))
    assert stored is not None
    assert (stored.email, stored.name) == ("ann@new.example", "Ann")


async def test_the_same_account_ten_times_at_once_is_one_customer(checkout: Service) -> None:
    replies = await asyncio.gather(
        *(checkout.post("/create-customer", {**ANN, "name": f"Ann {n % 2}"}) for n in range(10))
    )
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body["id"] for reply in replies}) == 1


async def test_a_guest_gets_a_customer_without_an_account(checkout: Service) -> None:
    reply = await checkout.post("/create-customer", {"email": "guest@example.com"})
    assert (reply.status, reply.body["reused"]) == (200, False)


@pytest.mark.parametrize("body", [{}, {"email": "nobody"}, {**ANN, "uid": "a/b"}, {**ANN, "uid": 5}])
async def test_a_bad_registration_is_refused(checkout: Service, body: dict[str, object]) -> None:
    refused = await checkout.post("/create-customer", body)
    assert (refused.status, refused.code) == (400, "invalid_request")


@pytest.fixture
async def realtime_database() -> AsyncIterator[tuple[str, asyncio.Queue[tuple[str, str, str]]]]:
    """What the Realtime Database's REST interface was asked to store."""
    asked: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()

    async def store(request: web.Request) -> web.Response:
        await asked.put((request.path, await request.text(), request.headers["Authorization"]))
        return web.json_response(None)

    app = web.Application()
    app.router.add_put("/{path:.*}", store)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", asked
    await runner.cleanup()


async def test_the_realtime_database_mirrors_the_customers_id(
    checkout_settings: CheckoutSettings, realtime_database: tuple[str, asyncio.Queue[tuple[str, str, str]]]
) -> None:
    url, asked = realtime_database
    settings = checkout_settings.model_copy(update={"firebase_database_url": url})
    async with serving(create_app(settings)) as checkout:
        created = await checkout.post("/create-customer", {**ANN, "uid": "ann-b"})
        async with asyncio.timeout(10):
            path, body, authorization = await asked.get()
    assert path == "/users/ann-b/stripeCustomerId.json"
    assert body == f'"{created.body["id"]}"'
    assert authorization == "Bearer owner"
