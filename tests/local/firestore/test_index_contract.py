"""A server that is given the deployed indexes answers what production answers, and names what is missing."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1 import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter

from deploy.local.firestore.server import EmbeddedFirestore

INDEX = {
    "collectionGroup": "ragers",
    "queryScope": "COLLECTION",
    "fields": [{"fieldPath": "firebaseId", "order": "ASCENDING"}, {"fieldPath": "purchaseDate", "order": "DESCENDING"}],
}


@pytest.fixture
def index_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Holds the indexes that the test names."""
    file = tmp_path / "firestore.indexes.json"
    file.write_text(json.dumps({"indexes": request.param, "fieldOverrides": []}))
    return file


@pytest.fixture
async def client(index_file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:
    async with EmbeddedFirestore(indexes=index_file) as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        client = AsyncClient(project="demo-test")
        yield client
        await client._firestore_api.transport.close()


without_indexes = pytest.mark.parametrize("index_file", [[]], indirect=True)
with_the_index = pytest.mark.parametrize("index_file", [[INDEX]], indirect=True)


def tickets_of(client: AsyncClient, user: str) -> Any:
    ragers = client.collection("events/e1/ragers").where(filter=FieldFilter("firebaseId", "==", user))
    return ragers.order_by("purchaseDate", direction="DESCENDING")


@without_indexes
async def test_a_query_without_its_index_fails_with_the_index_to_add(client: AsyncClient) -> None:
    with pytest.raises(exceptions.FailedPrecondition, match="The query requires an index") as refused:
        await tickets_of(client, "u1").get()
    assert json.loads(refused.value.message[refused.value.message.index("{") :]) == INDEX


@with_the_index
async def test_the_index_that_was_named_lets_the_query_through(client: AsyncClient) -> None:
    for name, user, date in (("a", "u1", 1), ("b", "u1", 2), ("c", "u2", 3)):
        await client.document(f"events/e1/ragers/{name}").set({"firebaseId": user, "purchaseDate": date})
    assert [found.id for found in await tickets_of(client, "u1").get()] == ["b", "a"]


@without_indexes
async def test_aggregations_need_their_index_too(client: AsyncClient) -> None:
    ragers: Any = client.collection("events/e1/ragers").where(filter=FieldFilter("firebaseId", "==", "u1"))
    await ragers.count().get()
    with pytest.raises(exceptions.FailedPrecondition, match="firebaseId ASCENDING, usedCount ASCENDING"):
        await ragers.sum("usedCount").get()
