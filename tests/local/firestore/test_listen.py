"""Listening over the wire: with the synchronous client's on_snapshot, and message by message."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from google.cloud.firestore_v1 import AsyncClient, Client
from google.cloud.firestore_v1.types import firestore

from deploy.local.firestore.server import EmbeddedFirestore

DATABASE = "projects/demo-test/databases/(default)"
ROOT = f"{DATABASE}/documents"
_Request: Any = firestore.ListenRequest.pb()
_Reply: Any = firestore.ListenResponse.pb()
_Kind: Any = firestore.TargetChange.TargetChangeType


class Stream:
    """Messages as short tuples: ("change", id, targets), ("remove", id), ("delete", id), ("CURRENT", targets)."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.token = b""

    async def add(self, target_id: int, **target: Any) -> None:
        await self._call.write(_Request(database=DATABASE, add_target={"target_id": target_id, **target}))

    async def remove(self, target_id: int) -> None:
        await self._call.write(_Request(database=DATABASE, remove_target=target_id))

    async def snapshot(self) -> list[tuple[object, ...]]:
        """Everything up to and with the next consistent moment."""
        seen: list[tuple[object, ...]] = []
        while not seen or seen[-1] != ("NO_CHANGE", ()):
            seen.append(await self.next())
        return seen[:-1]

    async def next(self) -> tuple[object, ...]:
        reply = await asyncio.wait_for(self._call.read(), timeout=5)
        match reply.WhichOneof("response_type"):
            case "document_change":
                document_id = reply.document_change.document.name.rpartition("/")[2]
                return ("change", document_id, tuple(reply.document_change.target_ids))
            case "document_delete":
                return ("delete", reply.document_delete.document.rpartition("/")[2])
            case "document_remove":
                return ("remove", reply.document_remove.document.rpartition("/")[2])
        self.token = reply.target_change.resume_token or self.token
        kind = _Kind(reply.target_change.target_change_type).name
        return (kind, tuple(reply.target_change.target_ids), *filter(None, [reply.target_change.cause.message]))


@asynccontextmanager
async def listening(server: EmbeddedFirestore) -> AsyncIterator[Stream]:
    async with grpc.aio.insecure_channel(server.host) as channel:
        call: Any = channel.stream_stream(
            "/google.firestore.v1.Firestore/Listen",
            request_serializer=_Request.SerializeToString,
            response_deserializer=_Reply.FromString,
        )()
        yield Stream(call)
        call.cancel()


def cheap(limit: int | None = None) -> dict[str, Any]:
    where = {"field_filter": {"field": {"field_path": "price"}, "op": "LESS_THAN", "value": {"integer_value": 10}}}
    query: dict[str, Any] = {"from_": [{"collection_id": "shop"}], "where": where}
    if limit:
        query["limit"] = {"value": limit}
    return {"parent": ROOT, "structured_query": query}


async def test_a_query_is_told_what_comes_what_changes_and_what_goes(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    shop = client.collection("shop")
    await shop.document("a").set({"price": 5})
    await shop.document("b").set({"price": 50})
    async with listening(firestore) as stream:
        await stream.add(1, query=cheap())
        assert await stream.snapshot() == [("ADD", (1,)), ("change", "a", (1,)), ("CURRENT", (1,))]
        await shop.document("b").update({"price": 1})
        assert await stream.snapshot() == [("change", "b", (1,))]
        await shop.document("a").update({"price": 100})
        assert await stream.snapshot() == [("remove", "a")]
        await shop.document("b").delete()
        assert await stream.snapshot() == [("delete", "b")]


async def test_a_limited_query_is_told_who_moves_up(firestore: EmbeddedFirestore, client: AsyncClient) -> None:
    shop = client.collection("shop")
    for price in (1, 2, 3):
        await shop.document(f"p{price}").set({"price": price})
    async with listening(firestore) as stream:
        await stream.add(1, query=cheap(limit=2))
        assert [each[1] for each in await stream.snapshot() if each[0] == "change"] == ["p1", "p2"]
        await shop.document("p1").delete()
        assert sorted(await stream.snapshot()) == [("change", "p3", (1,)), ("delete", "p1")]


async def test_documents_are_told_even_if_they_do_not_exist(firestore: EmbeddedFirestore, client: AsyncClient) -> None:
    await client.document("c/here").set({})
    async with listening(firestore) as stream:
        await stream.add(7, documents={"documents": [f"{ROOT}/c/here", f"{ROOT}/c/gone"]})
        assert await stream.snapshot() == [
            ("ADD", (7,)),
            ("change", "here", (7,)),
            ("delete", "gone"),
            ("CURRENT", (7,)),
        ]
        await client.document("c/gone").set({})
        assert await stream.snapshot() == [("change", "gone", (7,))]


async def test_one_stream_carries_several_targets_until_they_are_removed(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    async with listening(firestore) as stream:
        await stream.add(1, query=cheap())
        await stream.snapshot()
        await stream.add(2, documents={"documents": [f"{ROOT}/shop/a"]})
        await stream.snapshot()
        await client.document("shop/a").set({"price": 1})
        assert await stream.snapshot() == [("change", "a", (1,)), ("change", "a", (2,))]
        await stream.remove(1)
        assert await stream.next() == ("REMOVE", (1,))
        await client.document("shop/a").update({"price": 2})
        assert await stream.snapshot() == [("change", "a", (2,))]


async def test_a_resumed_target_is_told_only_what_happened_since(
    firestore: EmbeddedFirestore, client: AsyncClient
) -> None:
    shop = client.collection("shop")
    for name in "abc":
        await shop.document(name).set({"price": 1})
    async with listening(firestore) as stream:
        await stream.add(1, query=cheap())
        await stream.snapshot()
    await shop.document("b").delete()
    await shop.document("d").set({"price": 2})
    async with listening(firestore) as again:
        await again.add(1, query=cheap(), resume_token=stream.token)
        assert await again.snapshot() == [("ADD", (1,)), ("change", "d", (1,)), ("delete", "b"), ("CURRENT", (1,))]


async def test_a_token_that_is_too_old_starts_anew(firestore: EmbeddedFirestore, client: AsyncClient) -> None:
    await client.document("shop/a").set({"price": 1})
    async with listening(firestore) as stream:
        await stream.add(1, query=cheap(), resume_token=(1).to_bytes(8))
        told = await stream.snapshot()
        assert told == [("ADD", (1,)), ("RESET", (1,)), ("change", "a", (1,)), ("CURRENT", (1,))]


async def test_a_query_that_cannot_be_answered_removes_its_target_and_says_why(firestore: EmbeddedFirestore) -> None:
    async with listening(firestore) as stream:
        await stream.add(1, query={"parent": ROOT, "structured_query": {"offset": -1}})
        kind, targets, reason = await stream.next()
        assert (kind, targets) == ("REMOVE", (1,))
        assert reason


async def test_a_target_for_once_ends_by_itself(firestore: EmbeddedFirestore) -> None:
    async with listening(firestore) as stream:
        await stream.add(1, query=cheap(), once=True)
        assert await stream.snapshot() == [("ADD", (1,)), ("CURRENT", (1,))]
        assert await stream.next() == ("REMOVE", (1,))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_on_snapshot_of_the_synchronous_client_sees_every_state(sync_client: Client, client: AsyncClient) -> None:
    loop, states = asyncio.get_running_loop(), asyncio.Queue[list[str]]()

    def told(documents: Any, _changes: Any, _at: Any) -> None:
        loop.call_soon_threadsafe(states.put_nowait, [document.id for document in documents])

    watch = await asyncio.to_thread(sync_client.collection("shop").order_by("price").on_snapshot, told)
    assert await asyncio.wait_for(states.get(), 5) == []
    await client.document("shop/b").set({"price": 2})
    assert await asyncio.wait_for(states.get(), 5) == ["b"]
    await client.document("shop/a").set({"price": 1})
    assert await asyncio.wait_for(states.get(), 5) == ["a", "b"]
    await client.document("shop/b").delete()
    assert await asyncio.wait_for(states.get(), 5) == ["a"]
    await asyncio.to_thread(watch.unsubscribe)
