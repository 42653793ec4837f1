from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from deploy.local.firestore.server import EmbeddedFirestore
from services.scanning.app import create_app
from services.scanning.settings import ScanningSettings
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.metrics import CommitterMetrics
from tests.support.interrupted import Interrupted
from tests.support.services import PROXY_KEY, Service, serving
from tests.support.tickets import Tickets


@pytest.fixture
async def firestore(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedFirestore]:
    """As everywhere, but queries that production would refuse for lack of an index fail."""
    async with EmbeddedFirestore(indexes=Path("deploy/firestore/firestore.indexes.json")) as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        yield server


@pytest.fixture
def scanning_settings(firestore: EmbeddedFirestore) -> ScanningSettings:
    return ScanningSettings(
        proxy_key=SecretStr(PROXY_KEY), admin_auth="proxy", google_cloud_project="demo-test", job_poll_seconds=3600
    )


@pytest.fixture
async def door(scanning_settings: ScanningSettings) -> AsyncIterator[Service]:
    async with serving(create_app(scanning_settings)) as service:
        yield service


@pytest.fixture
def tickets(database: Database) -> Tickets:
    return Tickets(database)


@pytest.fixture
async def interrupted(firestore: EmbeddedFirestore) -> AsyncIterator[Interrupted]:
    database = Interrupted.connect("demo-test")
    yield database
    await database.close()


@pytest.fixture
async def committer(database: Database) -> AsyncIterator[Committer]:
    committer = Committer(database, CommitterMetrics(CollectorRegistry()))
    yield committer
    await committer.close()
