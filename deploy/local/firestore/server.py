"""The server: a port, the protocol on it, the engine behind it."""

from pathlib import Path
from types import TracebackType
from typing import Final, Self

import grpc.aio
from google.cloud.firestore_v1.types import firestore

from deploy.local.firestore import rpc
from deploy.local.firestore.engine import Engine
from deploy.local.firestore.faults import Faults
from deploy.local.firestore.servicer import Servicer
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

    ``host`` is what FIRESTORE_EMULATOR_HOST wants, ``127.0.0.1:8085``; port 0 takes a free one.
    """

    host: str

    def __init__(self, data_dir: Path | None = None, *, port: int = 0, interface: str = "127.0.0.1") -> None:
        self._data_dir = data_dir
        self._address = f"{interface}:{port}"
        self.faults = Faults()

    async def __aenter__(self) -> Self:
        self._engine = Engine(self._data_dir)
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers([rpc.service(SERVICE, _handlers(Servicer(self._engine), self.faults))])
        port = self._server.add_insecure_port(self._address)
        self.host = f"{self._address.rpartition(':')[0]}:{port}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(_GRACE_SECONDS)
        await self._engine.stop()


def _handlers(servicer: Servicer, faults: Faults) -> dict[str, rpc.Handler]:
    unary: dict[str, tuple[Message, rpc.Unary]] = {
        "GetDocument": (firestore.GetDocumentRequest.pb(), servicer.get_document),
        "BeginTransaction": (firestore.BeginTransactionRequest.pb(), servicer.begin_transaction),
        "Commit": (firestore.CommitRequest.pb(), servicer.commit),
        "Rollback": (firestore.RollbackRequest.pb(), servicer.rollback),
        "BatchWrite": (firestore.BatchWriteRequest.pb(), servicer.batch_write),
    }
    stream: dict[str, tuple[Message, rpc.Stream]] = {
        "BatchGetDocuments": (firestore.BatchGetDocumentsRequest.pb(), servicer.batch_get_documents),
        "RunQuery": (firestore.RunQueryRequest.pb(), servicer.run_query),
        "RunAggregationQuery": (firestore.RunAggregationQueryRequest.pb(), servicer.run_aggregation_query),
    }
    return {
        **{name: rpc.unary(name, request, call, faults) for name, (request, call) in unary.items()},
        **{name: rpc.stream(name, request, call, faults) for name, (request, call) in stream.items()},
    }
