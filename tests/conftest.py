from collections.abc import AsyncIterator

import pytest

from deploy.local.firestore.server import EmbeddedFirestore
from shared.firestore.client import Database

PROJECT = "demo-test"


@pytest.fixture
async def firestore(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddedFirestore]:
    """An empty Firestore on a free port, which every client made in the test talks to."""
    async with EmbeddedFirestore() as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", PROJECT)
        yield server


@pytest.fixture
async def database(firestore: EmbeddedFirestore) -> AsyncIterator[Database]:
    """The database behind the services of this test, to prepare and inspect documents."""
    database = Database.connect(PROJECT)
    yield database
    await database.close()
