from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.firestore.server import EmbeddedFirestore
from services.checkout.app import create_app
from services.checkout.settings import CheckoutSettings
from tests.support.id_tokens import Signer, SignIn, published
from tests.support.services import Service, serving


@pytest.fixture
async def firestore(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedFirestore]:
    """As production has it: a query without its index in the file that is deployed fails."""
    async with EmbeddedFirestore(indexes=Path("deploy/firestore/firestore.indexes.json")) as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-test")
        yield server


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
