"""ListDocuments: a collection page by page, with the documents that only exist as parents of others."""

import base64
import binascii
import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias, cast

from google.cloud.firestore_v1.types import query as query_types
from google.protobuf.message import DecodeError

from deploy.local.firestore.document_wire import encode_document
from deploy.local.firestore.documents import Document, resource_name
from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import FieldPath, Missing, get_field, parse_field_path
from deploy.local.firestore.ordering import complete_orders
from deploy.local.firestore.query import NAME_FIELD, Cursor, Order, Query, Scope
from deploy.local.firestore.run import run_query
from deploy.local.firestore.values import Reference, Value, path_key
from deploy.local.firestore.view import StoredView
from deploy.local.firestore.wire import Message, decode_value, encode_value
from deploy.local.firestore.write_wire import decode_mask

DEFAULT_PAGE: Final = 300
_CursorMessage: Final = query_types.Cursor.pb()
_ORDER: Final = re.compile(r"\s*(\S+?)(?:\s+(asc|desc))?\s*", re.IGNORECASE)

Item: TypeAlias = Document | str
"""A document, or the path of a missing one."""


@dataclass(frozen=True, slots=True)
class Listing:
    database: str
    query: Query
    page_size: int
    show_missing: bool
    select: tuple[FieldPath, ...] | None


@dataclass(frozen=True, slots=True)
class Page:
    """``token`` is empty on the last page."""

    items: list[Item]
    token: str


def decode_listing(request: Message, database: str, parent: str) -> Listing:
    """From a ListDocumentsRequest."""
    explicit = [_decode_order(part) for part in request.order_by.split(",")] if request.order_by else []
    if request.show_missing and explicit:
        raise InvalidArgument("show_missing cannot be combined with order_by: a missing document has no fields.")
    if request.page_size < 0:
        raise InvalidArgument(f"page_size is {request.page_size}; it must not be negative.")
    query = Query(
        scope=Scope(parent, request.collection_id or None),
        where=None,
        orders=complete_orders(None, explicit),
        explicit_orders=len(explicit),
        start=_decode_token(request.page_token) if request.page_token else None,
        end=None,
        offset=0,
        limit=None,
        select=None,
    )
    select = decode_mask(request.mask) if request.HasField("mask") else None
    return Listing(database, query, request.page_size or DEFAULT_PAGE, request.show_missing, select)


def list_page(listing: Listing, view: StoredView) -> Page:
    found: Iterator[Item] = cast("Iterator[Document]", run_query(listing.query, view))  # a StoredView's own
    if listing.show_missing:
        found = heapq.merge(found, _missing(listing, view), key=_name_key)
    items = list(islice(found, listing.page_size + 1))
    if len(items) <= listing.page_size:
        return Page(items, "")
    items.pop()
    return Page(items, _encode_token(listing, items[-1]))


def encode_item(item: Item, listing: Listing, into: Message) -> None:
    """Fill a ``Document``; a missing one has a name and nothing else."""
    if isinstance(item, Document):
        encode_document(item, listing.select, into)
    else:
        into.name = resource_name(listing.database, item)


def _missing(listing: Listing, view: StoredView) -> Iterator[str]:
    scope, start = listing.query.scope, listing.query.start
    if scope.collection_id is None:
        raise InvalidArgument("show_missing needs a collection_id.")
    collection = f"{scope.parent}/{scope.collection_id}".lstrip("/")
    last = start.values[-1] if start else None
    after = path_key(last.name.partition("/documents/")[2]) if isinstance(last, Reference) else b""
    return (path for path in view.missing_documents(collection) if path_key(path) > after)


def _name_key(item: Item) -> bytes:
    return path_key(item.path if isinstance(item, Document) else item)


def _decode_order(text: str) -> Order:
    match = _ORDER.fullmatch(text)
    if match is None:
        raise InvalidArgument(f'order_by "{text}" is not a field path, optionally followed by asc or desc.')
    return Order(parse_field_path(match[1]), (match[2] or "").lower() == "desc")


def _encode_token(listing: Listing, item: Item) -> str:
    """The item's place in the order, as a cursor: it holds even if the item goes."""
    message = _CursorMessage()
    for order in listing.query.orders:
        encode_value(_place(listing.database, item, order), message.values.add())
    return base64.urlsafe_b64encode(message.SerializeToString()).decode()


def _place(database: str, item: Item, order: Order) -> Value:
    if not isinstance(item, Document):
        return Reference(resource_name(database, item))
    if order.field == NAME_FIELD:
        return Reference(item.name)
    value = get_field(item.fields, order.field)
    return None if isinstance(value, Missing) else value  # an ordered listing only has documents with the field


def _decode_token(token: str) -> Cursor:
    try:
        message = _CursorMessage.FromString(base64.urlsafe_b64decode(token))
    except (binascii.Error, DecodeError) as unreadable:
        raise InvalidArgument("The page_token is not one that this server gave.") from unreadable
    return Cursor(tuple(map(decode_value, message.values)), before=False)
