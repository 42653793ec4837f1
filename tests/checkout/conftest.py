from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app
from services.checkout.settings import CheckoutSettings
from tests.support.id_tokens import Signer, SignIn, published
from tests.support.services import Service, serving
from tests.support.shop import Shop

WEBHOOK_SECRET = "whsec_test"


@pytest.fixture(scope="session")
def signer() -> Signer:
    return Signer("key-1")


@pytest.fixture
def sign_in(signer: Signer) -> SignIn:
    """The headers of somebody who is signed in at the project of these tests, with the claims given."""

    def headers(uid: str, **claims: Any) -> dict[str, str]:
        issued = {"aud": "demo-test", "iss": "https://securetoken.google.com/demo-test", **claims}
        return {"Authorization": f"Bearer {signer.token(uid, **issued)}"}

    return headers


@pytest.fixture
async def strict_checkout(checkout_settings: CheckoutSettings, signer: Signer) -> AsyncIterator[Service]:
    """A checkout that believes ID tokens only, as in production."""
    async with published(signer) as certificates:
        asking = {"admin_auth": "token", "id_token_certs_url": certificates.url}
        async with serving(create_app(checkout_settings.model_copy(update=asking))) as service:
            yield service


@pytest.fixture
async def holding(checkout_settings: CheckoutSettings, stripe: StripeSimulator) -> AsyncIterator[Shop]:
    """A shop whose checkout holds tickets, and hears Stripe's webhooks."""
    settings = checkout_settings.model_copy(update={"hold_minutes": 10.0})
    async with serving(create_app(settings)) as checkout, aiohttp.ClientSession() as session:
        stripe.set_webhook_endpoints([(f"{checkout.url}/stripe/webhook", WEBHOOK_SECRET)])
        yield Shop(checkout, stripe.url, session)
        stripe.set_webhook_endpoints([])
