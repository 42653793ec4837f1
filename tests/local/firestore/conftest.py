from collections.abc import AsyncIterator

import pytest
from google.cloud.firestore_v1 import AsyncClient, Client

from deploy.local.firestore.server import EmbeddedFirestore

PROJECT = "demo-test"


@pytest.fixture
async def client(firestore: EmbeddedFirestore) -> AsyncIterator[AsyncClient]:
    """The unchanged asynchronous client, against the embedded server."""
    client = AsyncClient(project=PROJECT)
    yield client
    await client._firestore_api.transport.close()


@pytest.fixture
async def sync_client(firestore: EmbeddedFirestore) -> AsyncIterator[Client]:
    """The unchanged synchronous client; call it through ``asyncio.to_thread``: the server needs the loop."""
    client = Client(project=PROJECT)
    yield client
    client._firestore_api.transport.close()
