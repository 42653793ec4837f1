"""The naive reading of ``test_query`` again, now over the wire and SQLite, against a server process."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.cloud.firestore_v1.types import firestore
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.query import Query
from deploy.local.firestore.query_rules import check_query
from deploy.local.firestore.values import Fields
from deploy.local.firestore.wire import Message, encode_fields
from tests.support.naive_query import DATABASE, dense_documents, queries, run_naively
from tests.support.query_messages import encode_query

SERVICE = "/google.firestore.v1.Firestore/"
CommitRequest, CommitReply = firestore.CommitRequest.pb(), firestore.CommitResponse.pb()
QueryRequest, QueryReply = firestore.RunQueryRequest.pb(), firestore.RunQueryResponse.pb()
ROOT = Path(__file__).parents[3]
SEEDS = range(6)


@dataclass(frozen=True, slots=True)
class Protocol:
    """The two methods it takes, without a client that could get in between."""

    channel: grpc.Channel

    def write(self, database: str, documents: dict[str, Fields]) -> None:
        request = CommitRequest(database=database)
        for path, fields in documents.items():
            update = request.writes.add().update
            update.name = f"{database}/documents/{path}"
            encode_fields(fields, update.fields)
        commit = self.channel.unary_unary(f"{SERVICE}Commit", CommitRequest.SerializeToString, CommitReply.FromString)
        commit(request)

    def paths(self, database: str, parent: str, query: Message) -> list[str]:
        root = f"{database}/documents"
        request = QueryRequest(parent=f"{root}/{parent}" if parent else root, structured_query=query)
        run = self.channel.unary_stream(f"{SERVICE}RunQuery", QueryRequest.SerializeToString, QueryReply.FromString)
        return [reply.document.name.removeprefix(f"{root}/") for reply in run(request) if reply.HasField("document")]


@pytest.fixture(scope="module")
def protocol() -> Iterator[Protocol]:
    command = [sys.executable, "-m", "deploy.local.firestore", "--ephemeral", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        host = server.stdout.readline().strip().rpartition("=")[2]
        with grpc.insecure_channel(host) as channel:
            yield Protocol(channel)
        server.terminate()
        assert server.wait(10) == 0


@pytest.fixture(scope="module")
def stored(protocol: Protocol) -> dict[int, dict[str, Fields]]:
    """The documents of each seed, which lie in a database of their own: in a project named for it."""
    documents = {seed: dense_documents(seed) for seed in SEEDS}
    for seed, each in documents.items():
        protocol.write(database_of(seed), each)
    return documents


def database_of(seed: int) -> str:
    return DATABASE.replace("projects/p/", f"projects/p{seed}/")


@given(asked=queries(), seed=st.sampled_from(SEEDS))
@settings(max_examples=400, deadline=None)
def test_the_server_finds_what_a_naive_reading_finds(
    protocol: Protocol, stored: dict[int, dict[str, Fields]], asked: Query, seed: int
) -> None:
    try:
        check_query(asked, DATABASE)
    except InvalidArgument:
        assume(False)
    database = database_of(seed)
    found = protocol.paths(database, asked.scope.parent, encode_query(asked, database))
    assert found == run_naively(asked, stored[seed])
