"""The database: the official client's connection, spoken to in plain protobuf messages.

The client library opens and authenticates the channel (so ``FIRESTORE_EMULATOR_HOST`` and credentials work as
everywhere); messages go over it directly, because proto-plus and a separate BeginTransaction would dominate the
cost of a request. ``tests/shared/firestore`` holds the pinned library to this.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self, TypeVar

import grpc.aio
from google.api_core.gapic_v1.routing_header import to_grpc_metadata
from google.cloud.firestore_v1 import AsyncClient
from google.cloud.firestore_v1.types import firestore as rpc_types
from google.protobuf.empty_pb2 import Empty

from shared.errors import Unavailable
from shared.firestore import codec
from shared.firestore.query import Query
from shared.firestore.retry import Backoff, Failure, classify
from shared.operations import Document, Write

T = TypeVar("T")

_SERVICE: Final = "/google.firestore.v1.Firestore/"
_BatchGet: Final = rpc_types.BatchGetDocumentsRequest.pb()
_BatchGot: Final = rpc_types.BatchGetDocumentsResponse.pb()
_Commit: Final = rpc_types.CommitRequest.pb()
_Committed: Final = rpc_types.CommitResponse.pb()
_Rollback: Final = rpc_types.RollbackRequest.pb()
_RunQuery: Final = rpc_types.RunQueryRequest.pb()
_QueryRow: Final = rpc_types.RunQueryResponse.pb()
_RunAggregation: Final = rpc_types.RunAggregationQueryRequest.pb()
_AggregationRow: Final = rpc_types.RunAggregationQueryResponse.pb()

READ_TIMEOUT: Final = 10.0
"""Seconds that reads outside a transaction may take, retries included."""


class Database:
    """One Firestore database. Errors of single calls are grpc's; ``get`` and ``query`` retry what may pass.

    With a ``read_time``, which must be the database's own (``now``) and no more than an hour ago, any number of reads
    see one state.
    """

    def __init__(self, client: AsyncClient, *, rng: random.Random | None = None) -> None:
        self.client = client
        self._random = rng or random.Random()  # noqa: S311  jitter, not a secret
        # the library keeps these private and tests/shared/firestore/test_pinned_client.py checks that they stay
        self._name: str = client._database_string  # noqa: SLF001
        self._root = f"{self._name}/documents/"
        channel: grpc.aio.Channel = client._firestore_api.transport.grpc_channel  # noqa: SLF001
        self._metadata = (
            *client._rpc_metadata,  # noqa: SLF001
            to_grpc_metadata((("project_id", client.project), ("database_id", client._database))),  # noqa: SLF001
        )
        self._batch_get = _stream(channel, "BatchGetDocuments", _BatchGet, _BatchGot)
        self._run_query = _stream(channel, "RunQuery", _RunQuery, _QueryRow)
        self._run_aggregation = _stream(channel, "RunAggregationQuery", _RunAggregation, _AggregationRow)
        self._commit = _unary(channel, "Commit", _Commit, _Committed)
        self._rollback = _unary(channel, "Rollback", _Rollback, Empty)

    @classmethod
    def connect(cls, project: str) -> Self:
        return cls(AsyncClient(project=project))

    async def close(self) -> None:
        await self.client._firestore_api.transport.close()  # noqa: SLF001  the client itself offers no close

    async def now(self) -> datetime:
        """The database's time, to read at: our own clock may be ahead of it, and it refuses to tell the future."""
        request = _BatchGet(database=self._name, documents=[f"{self._root}health/ready"])

        async def read(timeout: float) -> datetime:
            replies = self._batch_get(request, metadata=self._metadata, timeout=timeout)
            return max([codec.moment(reply.read_time) async for reply in replies if reply.HasField("read_time")])

        return await self._retried(read)

    async def get(self, path: str, *, read_time: datetime | None = None) -> Document:
        return (await self.get_all([path], read_time=read_time))[path]

    async def get_all(self, paths: Iterable[str], *, read_time: datetime | None = None) -> Mapping[str, Document]:
        """The documents by path, those that are missing with ``fields`` None."""
        wanted = list(dict.fromkeys(paths))
        if not wanted:
            return {}
        request = _BatchGet(database=self._name, documents=[self._root + path for path in wanted])
        _read_at(request, read_time)

        async def read(timeout: float) -> Mapping[str, Document]:
            return await self._documents(request, timeout)

        return await self._retried(read)

    async def query(self, query: Query, *, read_time: datetime | None = None) -> Sequence[Document]:
        """All results of a query; bound it with a limit or page through it with ``pages``."""
        request = _RunQuery(parent=self._parent(query), structured_query=query.to_pb(self._root))
        _read_at(request, read_time)

        async def read(timeout: float) -> Sequence[Document]:
            rows = self._run_query(request, metadata=self._metadata, timeout=timeout)
            return [codec.decode_document(row.document, self._root) async for row in rows if row.HasField("document")]

        return await self._retried(read)

    async def pages(
        self, query: Query, size: int, *, read_time: datetime | None = None
    ) -> AsyncIterator[Sequence[Document]]:
        """The results of a query in pages of ``size`` documents, each a request of its own."""
        page = await self.query(query.page(size), read_time=read_time)
        while page:
            yield page
            if len(page) < size:
                return
            page = await self.query(query.page(size).after(page[-1]), read_time=read_time)

    async def count(self, query: Query) -> int:
        request = _RunAggregation(parent=self._parent(query))
        request.structured_aggregation_query.structured_query.CopyFrom(query.to_pb(self._root))
        request.structured_aggregation_query.aggregations.add(alias="n").count.SetInParent()

        async def read(timeout: float) -> int:
            rows = self._run_aggregation(request, metadata=self._metadata, timeout=timeout)
            return sum([int(row.result.aggregate_fields["n"].integer_value) async for row in rows])

        return await self._retried(read)

    async def begin(
        self, paths: Sequence[str], *, retry_of: bytes = b"", timeout: float, opened: Callable[[bytes], None]
    ) -> Mapping[str, Document]:
        """Begin a read-write transaction and read the documents under it, in one round trip.

        ``opened`` hears the transaction's id as soon as it is known: if the rest of the reply is lost, somebody has to
        roll it back, or its locks stay until the server gives up on it.
        """
        request = _BatchGet(database=self._name, documents=[self._root + path for path in paths])
        request.new_transaction.read_write.retry_transaction = retry_of
        return await self._documents(request, timeout, opened)

    async def commit(self, writes: Iterable[Write], *, transaction: bytes, timeout: float) -> None:
        request = _Commit(database=self._name, transaction=transaction)
        request.writes.extend(codec.encode_write(write, self._root) for write in writes)
        await self._commit(request, metadata=self._metadata, timeout=timeout)

    async def rollback(self, transaction: bytes, *, timeout: float) -> None:
        request = _Rollback(database=self._name, transaction=transaction)
        await self._rollback(request, metadata=self._metadata, timeout=timeout)

    async def _documents(
        self, request: Any, timeout: float, opened: Callable[[bytes], None] | None = None
    ) -> Mapping[str, Document]:
        documents = {}
        async for reply in self._batch_get(request, metadata=self._metadata, timeout=timeout):
            if reply.transaction and opened is not None:
                opened(reply.transaction)
            kind = reply.WhichOneof("result")
            if kind == "found":
                found = codec.decode_document(reply.found, self._root)
                documents[found.path] = found
            elif kind == "missing":
                path = reply.missing.removeprefix(self._root)
                documents[path] = Document(path, None)
        return documents

    def _parent(self, query: Query) -> str:
        return f"{self._root}{query.parent}".rstrip("/")

    async def _retried(self, read: Callable[[float], Awaitable[T]]) -> T:
        """Try again what may pass; ``read`` takes the seconds that are left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + READ_TIMEOUT
        backoff = Backoff(self._random)
        while True:
            try:
                return await read(until - loop.time())
            except grpc.aio.AioRpcError as error:
                if classify(error) is Failure.PERMANENT:
                    raise
                if loop.time() >= until:
                    raise Unavailable("The database does not answer. Please try again.") from error
            await backoff.wait(until)


def _read_at(request: Any, read_time: datetime | None) -> None:
    if read_time is not None:
        request.read_time.FromDatetime(read_time)


def _unary(channel: Any, method: str, request: Any, reply: Any) -> Any:
    return channel.unary_unary(_SERVICE + method, request.SerializeToString, reply.FromString)


def _stream(channel: Any, method: str, request: Any, reply: Any) -> Any:
    return channel.unary_stream(_SERVICE + method, request.SerializeToString, reply.FromString)
