"""The methods of ``google.firestore.v1.Firestore``: messages in, messages out; the engine in between."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from google.cloud.firestore_v1.types import document as document_types
from google.cloud.firestore_v1.types import firestore
from google.protobuf.empty_pb2 import Empty

from deploy.local.firestore.commits import Committed
from deploy.local.firestore.document_wire import encode_document
from deploy.local.firestore.documents import Document, resource_name
from deploy.local.firestore.engine import Engine
from deploy.local.firestore.errors import FirestoreError, InvalidArgument, NotFound
from deploy.local.firestore.field_paths import FieldPath
from deploy.local.firestore.names import document_in, parse_database, parse_document, parse_parent
from deploy.local.firestore.reading import Sight, begin, seeing
from deploy.local.firestore.values import Timestamp
from deploy.local.firestore.wire import Message, decode_fields, encode_timestamp
from deploy.local.firestore.write_wire import (
    decode_mask,
    decode_precondition,
    decode_write,
    decode_writes,
    encode_written,
)
from deploy.local.firestore.writes import Precondition, Write

DocumentMessage: Final = document_types.Document.pb()
BatchGetReply: Final = firestore.BatchGetDocumentsResponse.pb()
BatchWriteReply: Final = firestore.BatchWriteResponse.pb()
BeginReply: Final = firestore.BeginTransactionResponse.pb()
CommitReply: Final = firestore.CommitResponse.pb()
QueryReply: Final = firestore.RunQueryResponse.pb()
AggregationReply: Final = firestore.RunAggregationQueryResponse.pb()

MAX_BATCH: Final = 500
_ID_BYTES: Final = 15  # 20 characters, as production's own ids


class Servicer:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    # Documents by name

    async def get_document(self, request: Message) -> Message:
        database, path = parse_document(request.name)
        with seeing(self._engine, request, database) as sight:
            (document,), _ = await self._documents(database, [path], sight)
        if document is None:
            raise NotFound(f'Document "{request.name}" not found.')
        reply = DocumentMessage()
        encode_document(document, _selected(request), reply)
        return reply

    async def batch_get_documents(self, request: Message) -> AsyncGenerator[Message, None]:
        database = parse_database(request.database)
        paths = list(dict.fromkeys(document_in(database, name) for name in request.documents))
        select = _selected(request)
        with seeing(self._engine, request, database) as sight:
            documents, read_time = await self._documents(database, paths, sight)
            reply = BatchGetReply(transaction=sight.started)
            for path, document in zip(paths, documents, strict=True):
                if document is None:
                    reply.missing = resource_name(database, path)
                else:
                    encode_document(document, select, reply.found)
                encode_timestamp(Timestamp(read_time), reply.read_time)
                yield reply
                reply = BatchGetReply()
            if sight.started and not paths:
                yield reply

    async def _documents(self, database: str, paths: Sequence[str], sight: Sight) -> tuple[list[Document | None], int]:
        if sight.locking:
            await self._engine.lock_documents(sight.locking, paths)
        moment = self._engine.moment(sight.read_time)
        documents = await self._engine.readers.read(database, moment, lambda view: [view.get(path) for path in paths])
        return documents, moment.read_time

    async def create_document(self, request: Message) -> Message:
        database, _ = parse_parent(request.parent)
        doc_id = request.document_id or secrets.token_urlsafe(_ID_BYTES)
        path = document_in(database, f"{request.parent}/{request.collection_id}/{doc_id}")
        write = Write(database, path, decode_fields(request.document.fields), precondition=Precondition(exists=False))
        return await self._write(write, _selected(request))

    async def update_document(self, request: Message) -> Message:
        database, path = parse_document(request.document.name)
        write = Write(
            database,
            path,
            decode_fields(request.document.fields),
            decode_mask(request.update_mask) if request.HasField("update_mask") else None,
            precondition=decode_precondition(request.current_document),
        )
        return await self._write(write, _selected(request))

    async def delete_document(self, request: Message) -> Message:
        database, path = parse_document(request.name)
        precondition = decode_precondition(request.current_document)
        await self._engine.commit(database, [Write(database, path, None, precondition=precondition)])
        return Empty()

    async def _write(self, write: Write, select: tuple[FieldPath, ...] | None) -> Message:
        committed = await self._engine.commit(write.database, [write])
        reply = DocumentMessage()
        if document := committed.results[0].document:
            encode_document(document, select, reply)
        return reply

    # Transactions and writes

    async def begin_transaction(self, request: Message) -> Message:
        transaction = begin(self._engine, parse_database(request.database), request.options)
        return BeginReply(transaction=transaction.id)

    async def rollback(self, request: Message) -> Message:
        self._engine.rollback(parse_database(request.database), request.transaction)
        return Empty()

    async def commit(self, request: Message) -> Message:
        database = parse_database(request.database)
        writes = decode_writes(request.writes, database)
        committed = await self._engine.commit(database, writes, request.transaction)
        reply = CommitReply()
        encode_timestamp(Timestamp(committed.time), reply.commit_time)
        for written in committed.results:
            encode_written(written, reply.write_results.add())
        return reply

    async def batch_write(self, request: Message) -> Message:
        database = parse_database(request.database)
        if len(request.writes) > MAX_BATCH:
            raise InvalidArgument(f"A batch holds at most {MAX_BATCH} writes.")
        _check_distinct([decode_write(message, database).path for message in request.writes])
        outcomes = await asyncio.gather(*(self._write_alone(database, message) for message in request.writes))
        reply = BatchWriteReply()
        for outcome in outcomes:
            _add_outcome(outcome, reply)
        return reply

    async def _write_alone(self, database: str, message: Message) -> Committed | FirestoreError:
        try:
            return await self._engine.commit(database, [decode_write(message, database)])
        except FirestoreError as refusal:
            return refusal


def _selected(request: Message) -> tuple[FieldPath, ...] | None:
    return decode_mask(request.mask) if request.HasField("mask") else None


def _check_distinct(paths: list[str]) -> None:
    if len(set(paths)) < len(paths):
        raise InvalidArgument("A batch writes each document at most once. Use Commit for several writes to one.")


def _add_outcome(outcome: Committed | FirestoreError, reply: Message) -> None:
    result, status = reply.write_results.add(), reply.status.add()
    if isinstance(outcome, FirestoreError):
        status.code, status.message = outcome.code.value[0], str(outcome)
    else:
        encode_written(outcome.results[0], result)
