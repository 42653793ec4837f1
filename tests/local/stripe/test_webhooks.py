from pathlib import Path

import httpx
import pytest
import stripe
from aiohttp import web

from deploy.local.standalone import Listener
from deploy.local.stripe import Pace, StripeSimulator
from tests.support.stripe_clients import SECRET, Receiver, control, receiving, stripe_client


async def customers(client: stripe.StripeClient, count: int) -> list[str]:
    return [(await client.v1.customers.create_async({"name": str(n)})).id for n in range(count)]


def subjects(receiver: Receiver) -> list[str]:
    return [event.data.object["id"] for event in receiver.events]


async def test_a_paid_intent_tells_its_story(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    intent = await client.v1.payment_intents.create_async({"amount": 700, "currency": "usd"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.CardError):
        await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_chargeDeclined"})
    await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert await simulator.webhooks.settled(5)
    assert receiver.types == [
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]
    created, *_, succeeded = receiver.events
    assert created.request is not None
    assert created.request.idempotency_key == "k"
    assert (created.data.object["status"], succeeded.data.object["status"]) == ("requires_payment_method", "succeeded")
    assert (succeeded.livemode, succeeded.pending_webhooks) == (False, 1)
    shown = await client.v1.events.retrieve_async(succeeded.id)
    assert shown.data.object["id"] == intent.id


async def test_an_event_is_sent_again_until_it_is_taken(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    receiver.answer = lambda _event: 200 if len(receiver.events) == 3 else 503
    await customers(client, 1)
    assert await simulator.webhooks.settled(5)
    assert len({event.id for event in receiver.events}) == 1
    assert [(d.state, d.attempts) for d in simulator.deliveries.listed()] == [("delivered", 3)]


async def test_a_delivery_that_is_never_taken_is_given_up(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    receiver.answer = lambda _event: 500
    await customers(client, 1)
    assert await simulator.webhooks.settled(5)
    assert len(receiver.events) == 4
    delivery = simulator.deliveries.listed("failed")[0]
    assert (delivery.attempts, delivery.status, delivery.error) == (4, 500, "HTTP 500")


async def test_held_events_come_in_the_order_that_the_test_wants(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    await control(simulator, "webhooks/hold")
    made = await customers(client, 6)
    assert not (await control(simulator, "webhooks/settle", {"timeout": 0.05}))["settled"]
    assert receiver.events == []
    await control(simulator, "webhooks/release", {"order": "reversed"})
    assert await simulator.webhooks.settled(5)
    assert subjects(receiver) == made[::-1]


async def test_a_chosen_order_is_kept_by_sending_one_at_a_time(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    receiver.thinks = 0.01
    for order, busiest in (("reversed", 1), ("as_created", 4)):
        simulator.webhooks.hold()
        await customers(client, 4)
        await control(simulator, "webhooks/release", {"order": order})
        assert await simulator.webhooks.settled(5)
        assert receiver.busiest == busiest


async def test_a_shuffle_is_repeatable_by_its_seed(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    orders = []
    for _ in range(2):
        async with receiving() as receiver:
            simulator.set_webhook_endpoints([(receiver.url, SECRET)])
            simulator.webhooks.hold()
            made = await customers(client, 8)
            simulator.webhooks.release("shuffled", seed=7)
            assert await simulator.webhooks.settled(5)
            orders.append([made.index(one) for one in subjects(receiver)])
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])


async def test_events_are_duplicated_and_redelivered_on_request(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    await control(simulator, "webhooks/copies", {"copies": 2})
    await customers(client, 1)
    assert await simulator.webhooks.settled(5)
    assert len(receiver.events) == 2
    await control(simulator, "webhooks/copies", {"copies": 1})
    again = await control(simulator, "webhooks/redeliver", {"event": receiver.events[0].id, "times": 3})
    assert again == {"deliveries": 3}
    assert await simulator.webhooks.settled(5)
    assert len({event.id for event in receiver.events}) == 1
    assert len(receiver.events) == 5


async def test_each_secret_of_an_endpoint_signs_once(client: stripe.StripeClient, simulator: StripeSimulator) -> None:
    async with receiving() as receiver:
        receiver.secret = "whsec_new"
        simulator.set_webhook_endpoints([(receiver.url, "whsec_old, whsec_new")])
        await customers(client, 1)
        assert await simulator.webhooks.settled(5)
    assert receiver.signatures[0].count("v1=") == 2


async def test_endpoints_are_set_over_http_with_the_types_that_they_want(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    async with receiving() as receiver, httpx.AsyncClient(base_url=simulator.url) as http:
        wanted = [{"url": receiver.url, "secret": SECRET, "events": ["payment_intent.created"]}]
        assert (await http.put("/_sim/webhooks/endpoints", json=wanted)).json() == {"endpoints": 1}
        assert (await http.put("/_sim/webhooks/endpoints", json=[{"url": "x"}])).status_code == 400
        await customers(client, 2)
        await client.v1.payment_intents.create_async({"amount": 700, "currency": "usd"})
        assert await simulator.webhooks.settled(5)
        assert receiver.types == ["payment_intent.created"]
        listed = (await http.get("/_sim/deliveries", params={"state": "delivered"})).json()["data"]
    assert [delivery["event"] for delivery in listed] == [receiver.events[0].id]


async def test_an_endpoint_that_is_down_hears_of_everything_once_it_is_back(receiver: Receiver) -> None:
    down = Listener(web.Application(), "127.0.0.1", 0)
    await down.start()
    await down.stop()
    pace = Pace(retry_seconds=(0.02,) * 500)
    async with StripeSimulator(pace=pace, webhook_endpoints=[(down.url, SECRET)]) as simulator:
        async with stripe_client(simulator.url) as client:
            made = await customers(client, 3)
        assert not await simulator.webhooks.settled(0.05)
        simulator.set_webhook_endpoints([(receiver.url, SECRET)])
        assert await simulator.webhooks.settled(5)
    assert sorted(subjects(receiver)) == sorted(made)


async def test_undelivered_events_outlive_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    async with StripeSimulator(data_dir=tmp_path, webhook_endpoints=[(receiver.url, SECRET)]) as simulator:
        simulator.webhooks.hold()
        async with stripe_client(simulator.url) as client:
            made = await customers(client, 2)
    async with StripeSimulator(data_dir=tmp_path) as simulator:
        assert await simulator.webhooks.settled(5)
    assert sorted(subjects(receiver)) == sorted(made)
