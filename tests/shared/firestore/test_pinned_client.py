"""The parts of google-cloud-firestore that it keeps private and we rely on. Read this when its version is raised."""

import re
from importlib.metadata import version

import grpc
import grpc.aio
import pytest
from google.cloud.firestore_v1 import AsyncClient
from google.cloud.firestore_v1.types import document, firestore, query, write
from google.protobuf.message import Message

from deploy.local.firestore.server import EmbeddedFirestore
from shared.firestore.client import Database
from tests.conftest import PROJECT
from tests.support.shop import put

MESSAGES = (
    firestore.BatchGetDocumentsRequest,
    firestore.BatchGetDocumentsResponse,
    firestore.CommitRequest,
    firestore.CommitResponse,
    firestore.RollbackRequest,
    firestore.RunQueryRequest,
    firestore.RunQueryResponse,
    firestore.RunAggregationQueryRequest,
    firestore.RunAggregationQueryResponse,
    query.StructuredQuery,
    document.Document,
    document.Value,
    write.Write,
)


def test_it_is_the_version_that_was_looked_at() -> None:
    assert re.match(r"2\.34\.", version("google-cloud-firestore"))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.__name__)
def test_a_message_has_a_plain_protobuf_class_under_it(message: type) -> None:
    plain = message.pb()  # type: ignore[attr-defined]  # proto-plus adds it in its metaclass
    assert issubclass(plain, Message)
    assert plain.FromString(plain().SerializeToString()) == plain()


async def test_a_client_says_the_name_of_its_database(database: Database) -> None:
    assert database.client.project == PROJECT
    assert database.client._database == "(default)"
    assert database.client._database_string == f"projects/{PROJECT}/databases/(default)"
    named = AsyncClient(project=PROJECT, database="other")
    assert named._database_string == f"projects/{PROJECT}/databases/other"


async def test_its_metadata_names_the_database_to_the_backend(database: Database) -> None:
    assert ("google-cloud-resource-prefix", database.client._database_string) in database.client._rpc_metadata


async def test_calls_on_its_channel_reach_the_database_that_the_environment_names(
    firestore: EmbeddedFirestore, database: Database
) -> None:
    channel = database.client._firestore_api.transport.grpc_channel
    assert isinstance(channel, grpc.aio.Channel)
    firestore.faults.calls.clear()
    await put(database, "things/t", {"a": 1})
    assert dict(firestore.faults.calls) == {"BatchGetDocuments": 1, "Commit": 1}
    assert (await database.client.document("things/t").get()).to_dict() == {"a": 1}


async def test_closing_the_transport_closes_the_channel(firestore: EmbeddedFirestore) -> None:
    database = Database.connect(PROJECT)
    channel = database.client._firestore_api.transport.grpc_channel
    assert not (await database.get("things/t")).exists
    await database.close()
    assert channel.get_state() is grpc.ChannelConnectivity.SHUTDOWN


async def test_two_clients_do_not_share_a_channel(database: Database) -> None:
    other = Database.connect(PROJECT)
    await other.close()
    assert not (await database.get("things/t")).exists
