from collections.abc import AsyncIterator

import pytest
import stripe

from deploy.local.stripe import Pace, StripeSimulator
from tests.support.stripe_clients import SECRET, Receiver, receiving, stripe_client


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def simulator(receiver: Receiver) -> AsyncIterator[StripeSimulator]:
    pace = Pace(retry_seconds=(0.01, 0.01, 0.01), send_seconds=2)
    async with StripeSimulator(webhook_endpoints=[(receiver.url, SECRET)], pace=pace) as simulator:
        yield simulator


@pytest.fixture
async def client(simulator: StripeSimulator) -> AsyncIterator[stripe.StripeClient]:
    async with stripe_client(simulator.url) as client:
        yield client
