"""The server: a port, the protocol on it, the engine behind it."""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc
import grpc.aio
from google.cloud.firestore_v1.types import firestore

from deploy.local.firestore import fault_control, rpc
from deploy.local.firestore.engine import Engine
from deploy.local.firestore.faults import Faults
from deploy.local.firestore.index_file import load_indexes
from deploy.local.firestore.listen import Listeners
from deploy.local.firestore.query_servicer import QueryServicer
from deploy.local.firestore.servicer import Servicer
from deploy.local.firestore.transactions import Patience
from deploy.local.firestore.wire import Message

SERVICE: Final = "google.firestore.v1.Firestore"
_GRACE_SECONDS: Final = 1.0
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),  # larger requests are refused by us, with a sentence
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),  # a second server on the port is an error, not a lottery
)


class EmbeddedFirestore:
    """``async with EmbeddedFirestore(data_dir) as server: server.host``; without a directory it forgets everything.

    ``indexes`` is a ``firestore.indexes.json``: queries that production would refuse without an index fail.
    ``host`` is what FIRESTORE_EMULATOR_HOST wants, ``127.0.0.1:8085``; port 0 takes a free one.
    """

    host: str

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        port: int = 0,
        interface: str = "127.0.0.1",
        indexes: Path | None = None,
        patience: Patience = Patience(),  # noqa: B008  it is frozen
    ) -> None:
        self._patience = patience
        self._data_dir = data_dir
        self._address = f"{interface}:{port}"
        self._indexes = load_indexes(indexes) if indexes else None
        self.faults = Faults()

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=_OPTIONS)
        self.host = self._bind()  # first: it fails where the port is taken
        self._engine = Engine(self._data_dir, self._patience, self.faults.throttle)
        servicer, queries = Servicer(self._engine), QueryServicer(self._engine, self._indexes)
        listeners = Listeners(self._engine, self._indexes)
        lose = self._engine.transactions.lose
        handlers = {
            **{n: rpc.unary(n, r, call, self.faults, lose) for n, r, call in _unary(servicer, queries)},
            **{n: rpc.stream(n, r, call, self.faults, lose) for n, r, call in _streams(servicer, queries)},
            "Listen": rpc.duplex("Listen", firestore.ListenRequest.pb(), listeners.listen, self.faults),
        }
        self._serve(SERVICE, handlers)
        self._serve(fault_control.SERVICE, fault_control.handlers(self.faults))
        self._server.add_generic_rpc_handlers([rpc.Unimplemented()])
        await self._server.start()
        return self

    def _bind(self) -> str:
        interface, _, wanted = self._address.rpartition(":")
        try:
            return f"{interface}:{self._server.add_insecure_port(self._address)}"
        except RuntimeError as refused:
            raise OSError(
                f"Cannot listen on {interface}, port {wanted}: stop what uses it, or choose another --port."
            ) from refused

    def _serve(self, service: str, handlers: dict[str, rpc.Handler]) -> None:
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(_GRACE_SECONDS)
        await self._engine.stop()


def _unary(servicer: Servicer, queries: QueryServicer) -> list[tuple[str, Message, rpc.Unary]]:
    """Name, request message, method."""
    return [
        ("GetDocument", firestore.GetDocumentRequest.pb(), servicer.get_document),
        ("CreateDocument", firestore.CreateDocumentRequest.pb(), servicer.create_document),
        ("UpdateDocument", firestore.UpdateDocumentRequest.pb(), servicer.update_document),
        ("DeleteDocument", firestore.DeleteDocumentRequest.pb(), servicer.delete_document),
        ("BeginTransaction", firestore.BeginTransactionRequest.pb(), servicer.begin_transaction),
        ("Commit", firestore.CommitRequest.pb(), servicer.commit),
        ("Rollback", firestore.RollbackRequest.pb(), servicer.rollback),
        ("BatchWrite", firestore.BatchWriteRequest.pb(), servicer.batch_write),
        ("ListDocuments", firestore.ListDocumentsRequest.pb(), queries.list_documents),
        ("ListCollectionIds", firestore.ListCollectionIdsRequest.pb(), queries.list_collection_ids),
        ("PartitionQuery", firestore.PartitionQueryRequest.pb(), queries.partition_query),
    ]


def _streams(servicer: Servicer, queries: QueryServicer) -> list[tuple[str, Message, rpc.Stream]]:
    """Name, request message, method."""
    return [
        ("BatchGetDocuments", firestore.BatchGetDocumentsRequest.pb(), servicer.batch_get_documents),
        ("RunQuery", firestore.RunQueryRequest.pb(), queries.run_query),
        ("RunAggregationQuery", firestore.RunAggregationQueryRequest.pb(), queries.run_aggregation_query),
    ]
