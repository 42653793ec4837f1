"""Documents over the wire, with both unchanged clients."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud import firestore_v1
from google.cloud.firestore_v1 import AsyncClient
from google.cloud.firestore_v1.types import document, firestore

from deploy.local.firestore.server import EmbeddedFirestore

EVERY_TYPE: dict[str, Any] = {
    "null": None,
    "bool": True,
    "int": 2**62,
    "double": -0.5,
    "time": datetime(2024, 2, 29, 12, 30, 0, 123456, tzinfo=UTC),
    "text": "Zoë \N{PARTY POPPER}",
    "bytes": b"\x00\xff",
    "geo": firestore_v1.GeoPoint(0, 0),
    "list": [1, "a", None, {"b": [1]}],
    "map": {"a.b": 1, "`": 2, "empty": {}, "none": []},
}
ROOT = "projects/demo-test/databases/(default)/documents"


async def test_every_type_comes_back_as_it_was_written(client: AsyncClient) -> None:
    reference = client.document("c/every")
    await reference.set(EVERY_TYPE | {"ref": client.document("c/other")})
    found = (await reference.get()).to_dict() or {}
    assert found.pop("ref").path == "c/other"
    assert found == EVERY_TYPE


async def test_transforms_and_deletes_are_applied(client: AsyncClient) -> None:
    reference = client.document("c/changing")
    await reference.set({"n": 1, "list": [1], "gone": True})
    changes = {"n": firestore_v1.Increment(2), "list": firestore_v1.ArrayUnion([1, 2])}
    await reference.update({**changes, "gone": firestore_v1.DELETE_FIELD})
    assert (await reference.get()).to_dict() == {"n": 3, "list": [1, 2]}
    await reference.delete()
    assert not (await reference.get()).exists


async def test_a_refused_write_says_which_document(client: AsyncClient) -> None:
    with pytest.raises(exceptions.NotFound, match=r"No document to update: .*c/none"):
        await client.document("c/none").update({"a": 1})
    await client.document("c/there").set({})
    with pytest.raises(exceptions.AlreadyExists, match="c/there"):
        await client.document("c/there").create({})


async def test_a_refusal_may_quote_the_longest_name(client: AsyncClient) -> None:
    name = "/".join(["\N{PARTY POPPER}" * 375] * 4)
    with pytest.raises(exceptions.NotFound, match="No document to update"):
        await client.document(name).update({"a": 1})


async def test_a_write_can_demand_the_version_it_read(client: AsyncClient) -> None:
    reference = client.document("c/versioned")
    first = await reference.set({"n": 1})
    await reference.update({"n": 2}, option=client.write_option(last_update_time=first.update_time))
    with pytest.raises(exceptions.FailedPrecondition):
        await reference.delete(option=client.write_option(last_update_time=first.update_time))


async def test_a_commit_does_all_or_nothing(client: AsyncClient) -> None:
    batch = client.batch()
    batch.set(client.document("c/one"), {})
    batch.update(client.document("c/none"), {"a": 1})
    with pytest.raises(exceptions.NotFound):
        await batch.commit()
    assert not (await client.document("c/one").get()).exists


async def test_writes_of_one_commit_build_on_each_other(client: AsyncClient) -> None:
    reference = client.document("c/steps")
    batch = client.batch()
    batch.create(reference, {"n": 1})
    batch.update(reference, {"n": firestore_v1.Increment(1)})
    batch.delete(reference)
    batch.create(reference, {"n": 5})
    batch.update(reference, {"n": firestore_v1.Increment(1)})
    await batch.commit()
    assert (await reference.get()).to_dict() == {"n": 6}


async def test_server_timestamps_are_equal_within_a_commit_and_rise_between_commits(client: AsyncClient) -> None:
    times: list[Any] = []
    for _ in range(20):
        batch = client.batch()
        batch.set(client.document("c/a"), {"at": firestore_v1.SERVER_TIMESTAMP})
        batch.set(client.document("c/b"), {"at": firestore_v1.SERVER_TIMESTAMP})
        await batch.commit()
        a, b = await client.document("c/a").get(), await client.document("c/b").get()
        assert a.get("at") == b.get("at") == a.update_time
        times.append(a.get("at"))
    assert times == sorted(set(times))


async def test_a_write_that_changes_nothing_keeps_the_update_time(client: AsyncClient) -> None:
    reference = client.document("c/same")
    first = await reference.set({"n": 1, "m": {"b": 1, "a": 2}})
    again = await reference.set({"m": {"a": 2, "b": 1}, "n": 1})
    assert again.update_time == first.update_time
    changed = await reference.set({"n": 1.0, "m": {"a": 2, "b": 1}})
    assert changed.update_time != first.update_time


async def test_a_masked_read_answers_only_the_fields_it_names(client: AsyncClient) -> None:
    await client.document("c/wide").set({"a": 1, "m": {"x": 1, "y": 2}, "z": 3})
    found = await client.document("c/wide").get(field_paths=["a", "m.x", "nothing"])
    assert found.to_dict() == {"a": 1, "m": {"x": 1}}


async def test_get_all_tells_found_from_missing(client: AsyncClient) -> None:
    await client.document("c/a").set({"n": 1})
    names = ["c/a", "c/missing", "c/a"]
    found = {each.reference.path: each.exists async for each in client.get_all([client.document(n) for n in names])}
    assert found == {"c/a": True, "c/missing": False}


async def test_projects_and_databases_are_separate(client: AsyncClient) -> None:
    elsewhere = [AsyncClient(project="other"), AsyncClient(project="demo-test", database="second")]
    await client.document("c/a").set({"here": True})
    for other in elsewhere:
        assert not (await other.document("c/a").get()).exists
        await other._firestore_api.transport.close()


async def test_a_batch_write_reports_each_write(client: AsyncClient) -> None:
    await client.document("c/there").set({})
    reply = await client._firestore_api.batch_write(
        firestore.BatchWriteRequest(
            database="projects/demo-test/databases/(default)",
            writes=[
                {"update": {"name": f"{ROOT}/c/new"}, "current_document": {"exists": False}},
                {"update": {"name": f"{ROOT}/c/there"}, "current_document": {"exists": False}},
                {"delete": f"{ROOT}/c/gone"},
            ],
        )
    )
    assert [status.code for status in reply.status] == [0, grpc.StatusCode.ALREADY_EXISTS.value[0], 0]
    assert (await client.document("c/new").get()).exists


async def test_the_single_document_methods_work_too(client: AsyncClient) -> None:
    api = client._firestore_api
    made = await api.create_document(
        firestore.CreateDocumentRequest(
            parent=ROOT, collection_id="c", document=document.Document(fields={"n": {"integer_value": 1}})
        )
    )
    assert len(made.name.rpartition("/")[2]) == 20
    changed = await api.update_document(
        firestore.UpdateDocumentRequest(
            document=document.Document(name=made.name, fields={"m": {"integer_value": 2}}),
            update_mask={"field_paths": ["m"]},
        )
    )
    assert dict(changed.fields).keys() == {"n", "m"}
    assert (await api.get_document(firestore.GetDocumentRequest(name=made.name))).update_time == changed.update_time
    await api.delete_document(firestore.DeleteDocumentRequest(name=made.name))
    with pytest.raises(exceptions.NotFound):
        await api.get_document(firestore.GetDocumentRequest(name=made.name))


async def test_the_past_can_be_read(client: AsyncClient) -> None:
    reference = client.document("c/history")
    times = [(await reference.set({"n": n})).update_time for n in range(3)]
    await reference.delete()
    for n, time in enumerate(times):
        at = _moment(time)
        assert (await reference.get(read_time=at)).to_dict() == {"n": n}
        query = client.collection("c").where(filter=firestore_v1.FieldFilter("n", ">=", 0))
        assert [found.get("n") for found in await query.get(read_time=at)] == [n]
    assert not (await reference.get()).exists


async def test_neither_the_future_nor_the_distant_past_can_be_read(client: AsyncClient) -> None:
    now = datetime.now(UTC)
    with pytest.raises(exceptions.InvalidArgument):
        await client.document("c/a").get(read_time=now + timedelta(minutes=1))
    with pytest.raises(exceptions.FailedPrecondition):
        await client.document("c/a").get(read_time=now - timedelta(hours=2))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"a": "x" * 1_100_000}, "longer than"),
        ({"a": "x" * 600_000, "b": "x" * 600_000}, "exceeds the maximum allowed size"),
        ({"__a__": 1}, "reserved"),
    ],
)
async def test_a_document_that_production_refuses_is_refused(
    client: AsyncClient, fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=sentence):
        await client.document("c/a").set(fields)
    assert not (await client.document("c/a").get()).exists


METHODS = [
    *("GetDocument", "BatchGetDocuments", "ListDocuments", "ListCollectionIds"),
    *("CreateDocument", "UpdateDocument", "DeleteDocument", "Commit", "BatchWrite", "BeginTransaction", "Rollback"),
    *("RunQuery", "RunAggregationQuery", "PartitionQuery", "Listen"),
]


@pytest.mark.parametrize("method", METHODS)
async def test_a_request_of_more_than_ten_mebibytes_is_refused_whatever_it_asks(
    firestore: EmbeddedFirestore, method: str
) -> None:
    """The request is one field that no message knows, 10 MiB long."""
    request = b"\xc2\x3e\x80\x80\x80\x05" + bytes(10 * 1024 * 1024)
    async with grpc.aio.insecure_channel(firestore.host) as channel:
        call: Any = channel.stream_stream(f"/google.firestore.v1.Firestore/{method}")
        with pytest.raises(grpc.aio.AioRpcError, match="payload size exceeds") as refused:
            [_ async for _ in call(iter([request]))]
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_the_server_does_not_know_is_refused_by_name(firestore: EmbeddedFirestore) -> None:
    async with grpc.aio.insecure_channel(firestore.host) as channel:
        call: Any = channel.unary_unary("/google.firestore.v1.Firestore/ExecutePipeline")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "ExecutePipeline" in (refused.value.details() or "")


def _moment(timestamp: Any) -> datetime:
    moment: datetime = timestamp.replace(tzinfo=UTC) if isinstance(timestamp, datetime) else timestamp.ToDatetime(UTC)
    return moment
