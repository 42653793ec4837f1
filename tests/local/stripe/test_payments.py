from pathlib import Path

import pytest
import stripe

from deploy.local.stripe import StripeSimulator
from deploy.local.stripe.records import API_VERSION
from tests.support.stripe_clients import Receiver, control, stripe_client


async def intent_of(client: stripe.StripeClient, amount: int = 1200) -> stripe.PaymentIntent:
    return await client.v1.payment_intents.create_async({"amount": amount, "currency": "usd"})


async def paid(client: stripe.StripeClient, amount: int = 1200, method: str = "pm_card_visa") -> stripe.PaymentIntent:
    intent = await intent_of(client, amount)
    return await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": method})


def test_events_carry_the_version_that_the_client_speaks() -> None:
    assert stripe.api_version == API_VERSION


async def test_a_new_intent_is_what_was_asked_for_and_waits_for_a_payment_method(client: stripe.StripeClient) -> None:
    customer = await client.v1.customers.create_async({"email": "ada@example.com", "name": "Ada"})
    intent = await client.v1.payment_intents.create_async(
        {
            "amount": 4500,
            "currency": "USD",
            "customer": customer.id,
            "automatic_payment_methods": {"enabled": True},
            "metadata": {"firebaseId": "uid1", "0": "a key that looks like an index"},
            "receipt_email": "ada@example.com",
            "description": "2 tickets",
        }
    )
    assert (intent.status, intent.amount, intent.currency, intent.customer) == (
        "requires_payment_method", 4500, "usd", customer.id,
    )  # fmt: skip
    assert intent.client_secret is not None
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    assert intent.metadata.to_dict() == {"firebaseId": "uid1", "0": "a key that looks like an index"}
    assert (await client.v1.payment_intents.retrieve_async(intent.id)).to_dict() == intent.to_dict()


async def test_a_good_card_pays_the_intent_with_a_charge(client: stripe.StripeClient) -> None:
    intent = await paid(client)
    assert (intent.status, intent.amount_received) == ("succeeded", 1200)
    shown = await client.v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge"]})
    charge = shown.latest_charge
    assert isinstance(charge, stripe.Charge)
    assert (charge.paid, charge.amount_captured, charge.payment_intent) == (True, 1200, intent.id)


@pytest.mark.parametrize(
    ("method", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
    ],
)
async def test_a_declined_card_is_a_card_error_and_the_intent_can_be_paid_afterwards(
    client: stripe.StripeClient, method: str, code: str, decline_code: str | None
) -> None:
    intent = await intent_of(client)
    with pytest.raises(stripe.CardError) as declined:
        await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": method})
    assert (declined.value.http_status, declined.value.code) == (402, code)
    assert declined.value.error is not None
    assert declined.value.error.decline_code == decline_code
    failed = await client.v1.payment_intents.retrieve_async(intent.id)
    assert failed.status == "requires_payment_method"
    assert failed.last_payment_error is not None
    assert failed.last_payment_error.code == code
    again = await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert (again.status, again.last_payment_error) == ("succeeded", None)


async def test_confirming_twice_takes_the_money_once(client: stripe.StripeClient) -> None:
    intent = await paid(client)
    with pytest.raises(stripe.InvalidRequestError, match="already succeeded") as refused:
        await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    assert refused.value.code == "payment_intent_unexpected_state"
    charges = await client.v1.charges.list_async({"payment_intent": intent.id})
    assert len(charges.data) == 1


async def test_confirming_without_a_payment_method_is_refused(client: stripe.StripeClient) -> None:
    intent = await intent_of(client)
    with pytest.raises(stripe.InvalidRequestError, match="missing a payment method"):
        await client.v1.payment_intents.confirm_async(intent.id)


async def test_an_intent_is_created_and_confirmed_in_one_call(client: stripe.StripeClient) -> None:
    intent = await client.v1.payment_intents.create_async(
        {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_mastercard"}
    )
    assert intent.status == "succeeded"


async def test_a_canceled_intent_stays_canceled(client: stripe.StripeClient) -> None:
    intent = await intent_of(client)
    canceled = await client.v1.payment_intents.cancel_async(intent.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    with pytest.raises(stripe.InvalidRequestError, match="status of canceled"):
        await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})
    with pytest.raises(stripe.InvalidRequestError, match="status of canceled"):
        await client.v1.payment_intents.cancel_async(intent.id)


async def test_a_paid_intent_cannot_be_canceled_nor_repriced_but_annotated(client: stripe.StripeClient) -> None:
    intent = await paid(client)
    with pytest.raises(stripe.InvalidRequestError, match="status of succeeded"):
        await client.v1.payment_intents.cancel_async(intent.id)
    with pytest.raises(stripe.InvalidRequestError, match="amount could not be updated"):
        await client.v1.payment_intents.update_async(intent.id, {"amount": 1})
    noted = await client.v1.payment_intents.update_async(intent.id, {"metadata": {"order": "7"}})
    assert (noted.metadata["order"], noted.status) == ("7", "succeeded")


async def test_metadata_merges_and_an_empty_value_removes_its_key(client: stripe.StripeClient) -> None:
    customer = await client.v1.customers.create_async({"metadata": {"a": "1", "b": "2"}, "name": "Ada"})
    changed = await client.v1.customers.update_async(customer.id, {"metadata": {"b": "", "c": "3"}, "name": ""})
    assert changed.metadata is not None
    assert changed.metadata.to_dict() == {"a": "1", "c": "3"}
    assert changed.name is None


@pytest.mark.parametrize(
    ("method", "waiting"),
    [("pm_card_authenticationRequired", "requires_action"), ("pm_usBankAccount_success", "processing")],
)
async def test_a_payment_that_waits_for_someone_ends_when_they_decide(
    simulator: StripeSimulator, client: stripe.StripeClient, method: str, waiting: str
) -> None:
    for outcome, status in (("succeeded", "succeeded"), ("failed", "requires_payment_method")):
        intent = await paid(client, method=method)
        assert intent.status == waiting
        await control(simulator, f"payment_intents/{intent.id}/complete", {"outcome": outcome})
        assert (await client.v1.payment_intents.retrieve_async(intent.id)).status == status


async def test_lists_are_newest_first_and_continue_at_a_cursor(client: stripe.StripeClient) -> None:
    made = [(await client.v1.customers.create_async({"email": "ada@example.com"})).id for _ in range(5)]
    await client.v1.customers.create_async({"email": "bob@example.com"})
    first = await client.v1.customers.list_async({"email": "ada@example.com", "limit": 2})
    assert ([c.id for c in first.data], first.has_more) == ([made[4], made[3]], True)
    everything = [customer.id async for customer in first.auto_paging_iter()]
    assert everything == made[::-1]
    back = await client.v1.customers.list_async({"email": "ada@example.com", "limit": 2, "ending_before": made[1]})
    assert ([c.id for c in back.data], back.has_more) == ([made[3], made[2]], True)


async def test_a_dispute_follows_the_payment_and_bars_refunds(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    intent = await paid(client, method="pm_card_createDispute")
    disputes = await client.v1.disputes.list_async({"payment_intent": intent.id})
    assert (disputes.data[0].amount, disputes.data[0].status) == (1200, "needs_response")
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        await client.v1.refunds.create_async({"payment_intent": intent.id})
    await control(simulator, f"disputes/{disputes.data[0].id}/close", {"status": "won"})
    assert await simulator.webhooks.settled(5)
    assert (await client.v1.disputes.retrieve_async(disputes.data[0].id)).status == "won"
    assert receiver.types[-2:] == ["charge.dispute.created", "charge.dispute.closed"]


async def test_a_seed_repeats_the_ids_and_a_restart_continues_them(tmp_path: Path) -> None:
    async def ids(data_dir: Path | None) -> list[str]:
        async with StripeSimulator(seed="s", data_dir=data_dir) as simulator, stripe_client(simulator.url) as client:
            return [(await intent_of(client)).id for _ in range(3)]

    first = await ids(None)
    assert await ids(None) == first == await ids(tmp_path)
    assert not set(await ids(tmp_path)) & set(first)
