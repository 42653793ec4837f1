from collections.abc import AsyncIterator

import pytest
from google.cloud.firestore_v1 import AsyncClient, Client

from deploy.local.firestore.server import EmbeddedFirestore
from tests.support.firestore_clients import Kind, connecting

PROJECT = "demo-test"


@pytest.fixture(params=["async", "sync"])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Of client: what is promised holds for both."""
    kind: Kind = request.param
    return kind


@pytest.fixture
async def client(firestore: EmbeddedFirestore, kind: Kind) -> AsyncIterator[AsyncClient]:
    """Each of the unchanged clients, against the embedded server."""
    async with connecting(kind, PROJECT) as client:
        yield client


@pytest.fixture
async def sync_client(firestore: EmbeddedFirestore) -> AsyncIterator[Client]:
    """The unchanged synchronous client; call it through ``asyncio.to_thread``: the server needs the loop."""
    client = Client(project=PROJECT)
    yield client
    client._firestore_api.transport.close()
