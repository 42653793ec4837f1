from collections.abc import AsyncIterator

import aiohttp
import pytest
import structlog
from pydantic import SecretStr

from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.mailbox import Mailbox
from deploy.local.parts import INDEXES
from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app as checkout_app
from services.checkout.settings import CheckoutSettings
from shared.firestore.client import Database
from tests.support.services import PROXY_KEY, Service, serving
from tests.support.shop import STRIPE_KEY, Shop

PROJECT = "demo-test"

# what tests print when they fail; the pretty tracebacks of the default take seconds and show secrets
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)
WEBHOOK_SECRET = "whsec_test"


@pytest.fixture
async def firestore(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedFirestore]:
    """An empty Firestore on a free port, which every client made in the test talks to."""
    async with EmbeddedFirestore(indexes=INDEXES) as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
        yield server


@pytest.fixture
async def database(firestore: EmbeddedFirestore) -> AsyncIterator[Database]:
    """The database behind the services of this test, to prepare and inspect documents."""
    database = Database.connect(PROJECT)
    yield database
    await database.close()


@pytest.fixture
async def stripe() -> AsyncIterator[StripeSimulator]:
    async with StripeSimulator() as simulator:
        yield simulator


@pytest.fixture
async def mailbox() -> AsyncIterator[Mailbox]:
    async with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def checkout_settings(firestore: EmbeddedFirestore, stripe: StripeSimulator, mailbox: Mailbox) -> CheckoutSettings:
    return CheckoutSettings(
        proxy_key=SecretStr(PROXY_KEY),
        admin_auth="proxy",
        google_cloud_project=PROJECT,
        stripe_secret=SecretStr(STRIPE_KEY),
        stripe_webhook_secret=SecretStr(WEBHOOK_SECRET),
        stripe_api_base=stripe.url,
        resend_api_key=SecretStr("re_test"),
        resend_api_url=mailbox.url,
        job_poll_seconds=0.5,
    )


@pytest.fixture
async def checkout(checkout_settings: CheckoutSettings) -> AsyncIterator[Service]:
    async with serving(checkout_app(checkout_settings)) as service:
        yield service


@pytest.fixture
async def shop(checkout: Service, stripe: StripeSimulator) -> AsyncIterator[Shop]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield Shop(checkout, stripe.url, session)
