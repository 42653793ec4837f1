"""Everything as JSON lines, out and in: one document a line, in the JSON form of the Firestore REST API, in UTF-8.

``{"createTime": ..., "fields": {"n": {"integerValue": "1"}}, "name": "projects/p/databases/d/documents/events/e1",
"updateTime": ...}``. Names and times survive; the history for reads in the past does not.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from google.cloud.firestore_v1.types import document as document_types
from google.protobuf import json_format

from deploy.local.firestore.document_wire import encode_document
from deploy.local.firestore.documents import Document
from deploy.local.firestore.entries import IndexEntry, bounded_index_entries
from deploy.local.firestore.errors import FirestoreError, InvalidArgument
from deploy.local.firestore.limits import validate_document
from deploy.local.firestore.names import parse_document
from deploy.local.firestore.storage import Storage
from deploy.local.firestore.tables import Tables
from deploy.local.firestore.wire import Message, decode_fields, decode_timestamp, pack_fields

_Message: Final = document_types.Document.pb()
_PER_COMMIT: Final = 1000
_AHEAD_MICROS: Final = 60 * 60 * 1_000_000
"""By so much the clock of the machine that exported may be ahead; commit times rise from the latest one."""
_ALL: Final = (
    "SELECT c.database, c.path || '/' || d.id, d.blob, d.created, d.updated "
    "FROM documents AS d JOIN collections AS c USING (collection) ORDER BY c.database, c.path, d.name"
)


@dataclass(frozen=True, slots=True)
class _Line:
    document: Document
    entries: set[IndexEntry]


class UnreadableLine(Exception):  # noqa: N818  a fact for the person who imports
    """Which line, and what is wrong with it."""


def export_lines(storage: Storage) -> Iterator[bytes]:
    for database, path, blob, created, updated in storage.writer.execute(_ALL):
        message = _Message()
        encode_document(Document(database, path, blob, created, updated), None, message)
        yield json.dumps(json_format.MessageToDict(message), ensure_ascii=False, sort_keys=True).encode() + b"\n"


def import_lines(storage: Storage, lines: Iterable[bytes]) -> int:
    """How many documents; those that exist are replaced. A bad line ends it; the whole thousands before it are stored.

    What a client could not have written is refused, and what lies in the future.
    """
    tables = Tables(storage.writer)
    numbered = enumerate(lines, start=1)
    count = 0
    while chunk := list(islice(numbered, _PER_COMMIT)):
        parsed = [_parse(number, line) for number, line in chunk if line.strip()]
        _store(tables, parsed)
        count += len(parsed)
    return count


def _store(tables: Tables, lines: list[_Line]) -> None:
    latest = max((line.document.update_time for line in lines), default=0)
    tables.begin()
    for line in lines:
        document = line.document
        tables.replace(tables.row(document.database, document.path), document, line.entries, document.update_time)
    tables.note_last_commit(max(latest, tables.last_commit()))
    tables.commit()


def _parse(number: int, line: bytes) -> _Line:
    try:
        return _decode(json_format.Parse(line, _Message()))
    except (json_format.ParseError, UnicodeDecodeError, FirestoreError) as mistake:
        raise UnreadableLine(f"Line {number} is not an exported document: {mistake}") from mistake


def _decode(message: Message) -> _Line:
    database, path = parse_document(message.name)
    created, updated = decode_timestamp(message.create_time), decode_timestamp(message.update_time)
    if max(created.micros, updated.micros) > time.time_ns() // 1000 + _AHEAD_MICROS:
        raise InvalidArgument("its createTime or updateTime lies in the future.")
    fields = decode_fields(message.fields)
    validate_document(message.name, fields)
    document = Document(database, path, pack_fields(fields), created.micros, updated.micros)
    return _Line(document, set(bounded_index_entries(path, fields)))
