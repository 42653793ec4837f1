import asyncio
from pathlib import Path

import httpx
import pytest
import stripe

from deploy.local.http_faults import Fault
from deploy.local.stripe import StripeSimulator
from tests.support.stripe_clients import Receiver, stripe_client


async def create(client: stripe.StripeClient, key: str, amount: int = 900) -> stripe.PaymentIntent:
    return await client.v1.payment_intents.create_async({"amount": amount, "currency": "usd"}, {"idempotency_key": key})


async def test_the_same_key_and_parameters_replay_the_first_reply(client: stripe.StripeClient) -> None:
    first, second = await create(client, "k"), await create(client, "k")
    assert first.id == second.id
    assert first.last_response is not None
    assert second.last_response is not None
    assert "Idempotent-Replayed" not in first.last_response.headers
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    assert second.last_response.headers["Original-Request"] == first.last_response.headers["Request-Id"]
    assert len((await client.v1.payment_intents.list_async()).data) == 1


async def test_the_same_key_with_other_parameters_is_an_error(client: stripe.StripeClient) -> None:
    await create(client, "k")
    with pytest.raises(stripe.IdempotencyError, match="same parameters") as refused:
        await create(client, "k", amount=901)
    assert refused.value.http_status == 400


async def test_the_same_key_at_another_endpoint_is_an_error(client: stripe.StripeClient) -> None:
    await create(client, "k")
    with pytest.raises(stripe.IdempotencyError, match="same endpoint"):
        await client.v1.customers.create_async({"name": "Ada"}, {"idempotency_key": "k"})


async def test_keys_of_two_accounts_do_not_meet(simulator: StripeSimulator, client: stripe.StripeClient) -> None:
    async with stripe_client(simulator.url, key="sk_test_other") as other:
        assert (await create(client, "k")).id != (await create(other, "k", amount=901)).id


async def test_a_decline_is_replayed_too(client: stripe.StripeClient) -> None:
    intent = await create(client, "k")
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            await client.v1.payment_intents.confirm_async(
                intent.id, {"payment_method": "pm_card_chargeDeclined"}, {"idempotency_key": "c"}
            )
    assert len((await client.v1.charges.list_async({"payment_intent": intent.id})).data) == 1


async def test_a_request_with_a_wrong_parameter_keeps_nothing_under_its_key(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await create(client, "k", amount=-1)
    assert (await create(client, "k")).amount == 900


async def test_a_refusal_of_the_endpoint_itself_is_kept(client: stripe.StripeClient) -> None:
    intent = await create(client, "k")
    for _ in range(2):
        with pytest.raises(stripe.InvalidRequestError, match="missing a payment method") as refused:
            await client.v1.payment_intents.confirm_async(intent.id, {}, {"idempotency_key": "c"})
    assert refused.value.headers is not None
    assert refused.value.headers["idempotent-replayed"] == "true"


async def test_two_requests_at_once_under_one_key_are_a_conflict(
    simulator: StripeSimulator, client: stripe.StripeClient
) -> None:
    simulator.faults.add(Fault(kind="delay", seconds=0.3, count=1))
    results = await asyncio.gather(create(client, "k"), create(client, "k"), return_exceptions=True)
    conflicts = [result for result in results if isinstance(result, stripe.StripeError)]
    assert [conflict.http_status for conflict in conflicts] == [409]
    assert "idempotency_key_in_use" in str(conflicts[0].http_body)
    assert len((await client.v1.payment_intents.list_async()).data) == 1


async def test_a_lost_reply_is_a_broken_connection(simulator: StripeSimulator, client: stripe.StripeClient) -> None:
    simulator.faults.add(Fault(kind="lost_reply", count=1))
    with pytest.raises(stripe.APIConnectionError):
        await create(client, "k")
    assert len((await client.v1.payment_intents.list_async()).data) == 1


async def test_after_a_lost_reply_the_clients_retry_gets_the_one_intent(
    simulator: StripeSimulator, receiver: Receiver
) -> None:
    simulator.faults.add(Fault(kind="lost_reply", count=1))
    async with stripe_client(simulator.url, retries=2) as client:
        intent = await create(client, "k")
        assert [one.id for one in (await client.v1.payment_intents.list_async()).data] == [intent.id]
    assert await simulator.webhooks.settled(5)
    assert receiver.types == ["payment_intent.created"]


async def test_a_refused_request_changes_nothing_and_its_retry_works(simulator: StripeSimulator) -> None:
    simulator.faults.add(Fault(kind="refuse", count=1, path="/v1/payment_intents"))
    async with stripe_client(simulator.url) as client:
        with pytest.raises(stripe.APIError) as failed:
            await create(client, "k")
        assert failed.value.http_status == 500
        assert simulator.account.store.last() == 0
        assert (await create(client, "k")).amount == 900


async def test_faults_are_added_listed_and_cleared_over_http(simulator: StripeSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.url) as http:
        added = await http.post("/_sim/faults", json={"kind": "refuse", "count": 3, "status": 429, "seconds": 1})
        assert added.json()["data"][0]["count"] == 3
        limited = await http.get("/v1/customers", headers={"Authorization": "Bearer sk_test_x"})
        assert (limited.status_code, limited.headers["Retry-After"]) == (429, "1")
        assert (await http.get("/_sim/faults")).json()["data"][0]["count"] == 2
        assert (await http.delete("/_sim/faults")).json() == {"data": []}
        assert (await http.post("/_sim/faults", json={"kind": "earthquake"})).status_code == 400


async def test_keys_outlive_a_restart(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        async with StripeSimulator(data_dir=tmp_path) as simulator, stripe_client(simulator.url) as client:
            ids.append((await create(client, "k")).id)
    assert ids[0] == ids[1]
