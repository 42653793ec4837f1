"""The methods that look for documents: queries, aggregations, listings, partitions."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final, cast

from google.cloud.firestore_v1.types import firestore

from deploy.local.firestore.aggregation import decode_aggregation_query, run_aggregation
from deploy.local.firestore.document_wire import encode_document
from deploy.local.firestore.documents import Document, resource_name
from deploy.local.firestore.engine import Engine
from deploy.local.firestore.errors import InvalidArgument, Unimplemented
from deploy.local.firestore.index_file import IndexDefinitions
from deploy.local.firestore.indexes import check_indexes
from deploy.local.firestore.listing import decode_listing, encode_item, list_page
from deploy.local.firestore.names import parse_parent
from deploy.local.firestore.partition import partition_points
from deploy.local.firestore.query import Query, Scope
from deploy.local.firestore.query_wire import decode_query
from deploy.local.firestore.readers import Moment
from deploy.local.firestore.reading import Sight, seeing
from deploy.local.firestore.run import run_query
from deploy.local.firestore.values import Timestamp
from deploy.local.firestore.view import StoredView
from deploy.local.firestore.wire import Message, encode_fields, encode_timestamp

QueryReply: Final = firestore.RunQueryResponse.pb()
AggregationReply: Final = firestore.RunAggregationQueryResponse.pb()
ListReply: Final = firestore.ListDocumentsResponse.pb()
CollectionsReply: Final = firestore.ListCollectionIdsResponse.pb()
PartitionReply: Final = firestore.PartitionQueryResponse.pb()

_LARGEST_PAGE: Final = 1000


class QueryServicer:
    """``indexes`` None answers every query; otherwise those that production has no index for are refused."""

    def __init__(self, engine: Engine, indexes: IndexDefinitions | None) -> None:
        self._engine = engine
        self._indexes = indexes

    async def run_query(self, request: Message) -> AsyncGenerator[Message, None]:
        _check_unexplained(request)
        database, parent = parse_parent(request.parent)
        query = decode_query(request.structured_query, database, parent)
        if self._indexes:
            check_indexes(query, self._indexes)
        with seeing(self._engine, request, database) as sight:
            moment = await self._moment(sight, query.scope)
            reply, empty = _query_reply(moment, sight.started), True
            found = self._engine.readers.stream(database, moment, lambda view: _run(query, view))
            async with aclosing(found) as chunks:
                async for chunk in chunks:
                    for document in chunk:
                        encode_document(document, query.select, reply.document)
                        yield reply
                        reply, empty = _query_reply(moment), False
            if empty:
                yield reply

    async def run_aggregation_query(self, request: Message) -> AsyncGenerator[Message, None]:
        _check_unexplained(request)
        database, parent = parse_parent(request.parent)
        query = decode_aggregation_query(request.structured_aggregation_query, database, parent)
        if self._indexes:
            check_indexes(query.query, self._indexes, query.fields)
        with seeing(self._engine, request, database) as sight:
            moment = await self._moment(sight, query.query.scope)
            result = await self._engine.readers.read(database, moment, lambda view: run_aggregation(query, view))
            reply = AggregationReply(transaction=sight.started)
            encode_timestamp(Timestamp(moment.read_time), reply.read_time)
            reply.result.SetInParent()
            encode_fields(result, reply.result.aggregate_fields)
            yield reply

    async def list_documents(self, request: Message) -> Message:
        database, parent = parse_parent(request.parent)
        listing = decode_listing(request, database, parent)
        with seeing(self._engine, request, database) as sight:
            moment = await self._moment(sight, listing.query.scope)
            page = await self._engine.readers.read(database, moment, lambda view: list_page(listing, view))
        reply = ListReply(next_page_token=page.token)
        for item in page.items:
            encode_item(item, listing, reply.documents.add())
        return reply

    async def list_collection_ids(self, request: Message) -> Message:
        database, parent = parse_parent(request.parent)
        with seeing(self._engine, request, database) as sight:
            moment = self._engine.moment(sight.read_time)
            ids = await self._engine.readers.read(database, moment, lambda view: view.collection_ids(parent))
        page, token = _page(ids, request)
        return CollectionsReply(collection_ids=page, next_page_token=token)

    async def partition_query(self, request: Message) -> Message:
        database, parent = parse_parent(request.parent)
        query = decode_query(request.structured_query, database, parent)
        with seeing(self._engine, request, database) as sight:
            moment = self._engine.moment(sight.read_time)
            paths = await self._engine.readers.read(
                database, moment, lambda view: partition_points(query, view, request.partition_count)
            )
        page, token = _page([resource_name(database, path) for path in paths], request)
        reply = PartitionReply(next_page_token=token)
        for name in page:
            reply.partitions.add().values.add().reference_value = name
        return reply

    async def _moment(self, sight: Sight, scope: Scope) -> Moment:
        if sight.locking:
            await self._engine.lock_scope(sight.locking, scope)
        return self._engine.moment(sight.read_time)


def _run(query: Query, view: StoredView) -> Iterator[Document]:
    return cast("Iterator[Document]", run_query(query, view))  # what a StoredView yields


def _check_unexplained(request: Message) -> None:
    if request.HasField("explain_options"):
        raise Unimplemented("Query explanations (explain_options) are not supported by the embedded Firestore.")


def _page(items: list[str], request: Message) -> tuple[list[str], str]:
    """The page after the token, which is the last item of the page before; and the token for the next one."""
    if request.page_size < 0:
        raise InvalidArgument(f"page_size is {request.page_size}; it must not be negative.")
    if request.page_token and request.page_token not in items:
        raise InvalidArgument("The page_token is not one that this server gave, or what it names has gone.")
    start = items.index(request.page_token) + 1 if request.page_token else 0
    page = items[start : start + (request.page_size or _LARGEST_PAGE)]
    return page, page[-1] if start + len(page) < len(items) else ""


def _query_reply(moment: Moment, transaction: bytes = b"") -> Message:
    reply = QueryReply(transaction=transaction)
    encode_timestamp(Timestamp(moment.read_time), reply.read_time)
    return reply
