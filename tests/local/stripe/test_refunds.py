import asyncio

import pytest
import stripe

from deploy.local.stripe import StripeSimulator
from tests.support.stripe_clients import Receiver, control


async def paid(client: stripe.StripeClient, method: str = "pm_card_visa") -> stripe.PaymentIntent:
    return await client.v1.payment_intents.create_async(
        {"amount": 1000, "currency": "usd", "confirm": True, "payment_method": method}
    )


async def test_a_refund_without_an_amount_gives_back_what_is_left(client: stripe.StripeClient) -> None:
    intent = await paid(client)
    part = await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 300, "metadata": {"item": "a"}})
    rest = await client.v1.refunds.create_async({"charge": str(intent.latest_charge), "reason": "duplicate"})
    assert (part.amount, rest.amount, rest.reason, rest.status) == (300, 700, "duplicate", "succeeded")
    charge = await client.v1.charges.retrieve_async(str(intent.latest_charge))
    assert (charge.amount_refunded, charge.refunded) == (1000, True)
    listed = await client.v1.refunds.list_async({"payment_intent": intent.id})
    assert [refund.id for refund in listed.data] == [rest.id, part.id]


async def test_refunds_are_capped_at_what_is_left(client: stripe.StripeClient) -> None:
    intent = await paid(client)
    with pytest.raises(stripe.InvalidRequestError, match=r"\(\$10\.01\) is greater than charge amount \(\$10\.00\)"):
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 1001})
    await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError, match=r"greater than unrefunded amount on charge \(\$6\.00\)"):
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 601})
    await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 600})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 1})
    assert refused.value.code == "charge_already_refunded"


async def test_refunds_that_race_never_give_back_more_than_was_paid(client: stripe.StripeClient) -> None:
    intent = await paid(client)
    racing = (client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 300}) for _ in range(10))
    results = await asyncio.gather(*racing, return_exceptions=True)
    assert sum(isinstance(result, stripe.Refund) for result in results) == 3
    charge = await client.v1.charges.retrieve_async(str(intent.latest_charge))
    assert charge.amount_refunded == 900


async def test_an_unpaid_intent_has_nothing_to_refund(client: stripe.StripeClient) -> None:
    intent = await client.v1.payment_intents.create_async({"amount": 1000, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        await client.v1.refunds.create_async({"payment_intent": intent.id})


async def test_a_declined_intent_has_nothing_to_refund(client: stripe.StripeClient) -> None:
    intent = await client.v1.payment_intents.create_async({"amount": 1000, "currency": "usd"})
    with pytest.raises(stripe.CardError):
        await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_chargeDeclined"})
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        await client.v1.refunds.create_async({"payment_intent": intent.id})


async def test_a_refund_made_in_the_dashboard_is_heard_of(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    intent = await paid(client)
    made = await control(simulator, "refunds", {"payment_intent": intent.id, "amount": 250})
    assert await simulator.webhooks.settled(5)
    assert receiver.types[-2:] == ["refund.created", "charge.refunded"]
    assert receiver.events[-2].data.object["id"] == made["id"]
    assert receiver.events[-1].data.object["amount_refunded"] == 250


async def test_a_refund_that_fails_later_makes_the_money_refundable_again(
    client: stripe.StripeClient, simulator: StripeSimulator, receiver: Receiver
) -> None:
    intent = await paid(client)
    refund = await client.v1.refunds.create_async({"payment_intent": intent.id})
    await control(simulator, f"refunds/{refund.id}/fail", {"reason": "lost_or_stolen_card"})
    failed = await client.v1.refunds.retrieve_async(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    assert await simulator.webhooks.settled(5)
    assert receiver.types[-3:] == ["refund.updated", "charge.refund.updated", "refund.failed"]
    again = await client.v1.refunds.create_async({"payment_intent": intent.id})
    assert again.amount == 1000


async def test_a_pending_refund_counts_against_the_cap_until_the_bank_takes_it(
    client: stripe.StripeClient, simulator: StripeSimulator
) -> None:
    intent = await paid(client, "pm_card_pendingRefund")
    refund = await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 900})
    assert refund.status == "pending"
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 200})
    await control(simulator, f"refunds/{refund.id}/settle")
    assert (await client.v1.refunds.retrieve_async(refund.id)).status == "succeeded"
