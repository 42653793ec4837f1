"""Everything as JSON lines, out and in: one document a line, in the JSON form of the Firestore REST API.

``{"createTime": ..., "fields": {"n": {"integerValue": "1"}}, "name": "projects/p/databases/d/documents/events/e1",
"updateTime": ...}``. Names and times survive; the history for reads in the past does not.
"""

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from google.cloud.firestore_v1.types import document as document_types
from google.protobuf import json_format

from deploy.local.firestore.document_wire import encode_document
from deploy.local.firestore.documents import Document
from deploy.local.firestore.entries import bounded_index_entries
from deploy.local.firestore.errors import FirestoreError
from deploy.local.firestore.names import parse_document
from deploy.local.firestore.storage import Storage
from deploy.local.firestore.tables import Tables
from deploy.local.firestore.wire import decode_fields, decode_timestamp, pack_fields

_Message: Final = document_types.Document.pb()
_PER_COMMIT: Final = 1000
_ALL: Final = (
    "SELECT c.database, c.path || '/' || d.id, d.blob, d.created, d.updated "
    "FROM documents AS d JOIN collections AS c USING (collection) ORDER BY c.database, c.path, d.name"
)


class UnreadableLine(Exception):  # noqa: N818  a fact for the person who imports
    """Which line, and what is wrong with it."""


def export_lines(storage: Storage) -> Iterator[str]:
    for database, path, blob, created, updated in storage.writer.execute(_ALL):
        message = _Message()
        encode_document(Document(database, path, blob, created, updated), None, message)
        yield json.dumps(json_format.MessageToDict(message), ensure_ascii=False, sort_keys=True)


def import_lines(storage: Storage, lines: Iterable[str]) -> int:
    """How many documents; those that exist are replaced. A bad line ends it, with what came before it stored."""
    tables = Tables(storage.writer)
    numbered = enumerate(lines, start=1)
    count = 0
    while chunk := list(islice(numbered, _PER_COMMIT)):
        documents = [_parse(number, line) for number, line in chunk if line.strip()]
        _store(tables, documents)
        count += len(documents)
    return count


def _store(tables: Tables, documents: list[Document]) -> None:
    latest = max((document.update_time for document in documents), default=0)
    tables.begin()
    for document in documents:
        row = tables.row(document.database, document.path)
        tables.replace(row, document, set(bounded_index_entries(document.fields)), document.update_time)
    tables.note_last_commit(max(latest, tables.last_commit()))
    tables.commit()


def _parse(number: int, line: str) -> Document:
    try:
        message = json_format.Parse(line, _Message())
        database, path = parse_document(message.name)
        created, updated = decode_timestamp(message.create_time), decode_timestamp(message.update_time)
        return Document(database, path, pack_fields(decode_fields(message.fields)), created.micros, updated.micros)
    except (json_format.ParseError, FirestoreError) as mistake:
        raise UnreadableLine(f"Line {number} is not an exported document: {mistake}") from mistake
