"""Walking through what there is, with both unchanged clients."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1 import AsyncClient, Client
from google.cloud.firestore_v1.query_profile import ExplainOptions
from google.cloud.firestore_v1.types import firestore

from deploy.local.firestore.server import EmbeddedFirestore
from tests.support.firestore_faces import Face, showing

ROOT = "projects/demo-test/databases/(default)/documents"


@pytest.fixture(params=["sync", "async"])
async def face(request: pytest.FixtureRequest, firestore: EmbeddedFirestore) -> AsyncIterator[Face]:
    async with showing(request.param, "demo-test") as face:
        yield face


async def walk(face: Face, method: Callable[..., Any], **options: Any) -> list[str]:
    """The ids that a client's iterator gives."""
    if isinstance(face.client, AsyncClient):
        return [each.id async for each in method(**options)]
    return await asyncio.to_thread(lambda: [each.id for each in method(**options)])


async def test_documents_are_listed_page_by_page_with_the_missing_parents_of_others(face: Face) -> None:
    await face.write(**{f"d{number:02}": {"n": number} for number in range(10)})
    await face.call(face.client.document("c/d05x/below/one").set, {})
    expected = sorted([f"d{number:02}" for number in range(10)] + ["d05x"])
    for page_size in (1, 3, 11, 100):
        assert await walk(face, face.client.collection("c").list_documents, page_size=page_size) == expected


async def test_collections_are_those_with_something_in_them_at_whatever_depth(face: Face) -> None:
    await face.write(a={})
    await face.call(face.client.document("c/a/s/b/t/c").set, {})
    await face.call(face.client.document("gone/a").set, {})
    await face.call(face.client.document("gone/a").delete)
    assert await walk(face, face.client.collections) == ["c"]
    assert await walk(face, face.client.document("c/a").collections) == ["s"]
    assert await walk(face, face.client.document("c/a/s/b").collections) == ["t"]


async def test_recursive_delete_leaves_nothing_below(sync_client: Client) -> None:
    """Of the synchronous client: the other's blocks the loop, which the server needs."""

    def play() -> None:
        paths = ["c/a", "c/b", "c/a/s/1", "c/a/s/1/t/2", "c/missing/s/3", "other/x"]
        for path in paths:
            sync_client.document(path).set({})
        assert sync_client.recursive_delete(sync_client.collection("c")) >= 5
        assert [each.id for each in sync_client.collections()] == ["other"]

    await asyncio.to_thread(play)


async def test_partitions_cut_a_group_into_parts_that_hold_all_of_it(face: Face) -> None:
    await face.write(**{f"d{number:03}": {} for number in range(100)})
    group = face.client.collection_group("c")
    if isinstance(face.client, AsyncClient):
        parts = [part async for part in group.get_partitions(4)]
    else:
        parts = await face.call(lambda: list(group.get_partitions(4)))
    found = [await face.ids(part.query()) for part in parts]
    assert len(found) == 5
    assert [each for part in found for each in part] == [f"d{number:03}" for number in range(100)]
    assert max(map(len, found)) - min(map(len, found)) <= 1


async def test_a_listing_can_be_ordered_and_masked(client: AsyncClient) -> None:
    for name, price in {"a": 3, "b": 1, "c": 2}.items():
        await client.document(f"shop/{name}").set({"price": price, "text": "x"})
    await client.document("shop/unpriced").set({})
    request = firestore.ListDocumentsRequest(
        parent=ROOT, collection_id="shop", order_by="price desc", page_size=2, mask={"field_paths": ["price"]}
    )
    found = [each async for each in await client._firestore_api.list_documents(request)]
    assert [each.name.rpartition("/")[2] for each in found] == ["a", "c", "b"]
    assert {tuple(each.fields) for each in found} == {("price",)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"page_token": "nonsense"},
        {"page_size": -1},
        {"order_by": "price sideways"},
        {"order_by": "price", "show_missing": True},
    ],
)
async def test_a_listing_that_makes_no_sense_is_refused(client: AsyncClient, wrong: dict[str, Any]) -> None:
    request = firestore.ListDocumentsRequest(parent=ROOT, collection_id="shop", **wrong)
    with pytest.raises(exceptions.InvalidArgument):
        await client._firestore_api.list_documents(request)


async def test_explanations_are_refused_by_name(client: AsyncClient) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="explain_options"):
        await client.collection("c").limit(1).get(explain_options=ExplainOptions(analyze=True))
