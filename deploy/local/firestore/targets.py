"""What a listener listens to, and how what it knows differs from what there is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, cast

from deploy.local.firestore.documents import Document
from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import FieldPath
from deploy.local.firestore.index_file import IndexDefinitions
from deploy.local.firestore.indexes import check_indexes
from deploy.local.firestore.names import document_in, parse_parent
from deploy.local.firestore.query import Query, Scope
from deploy.local.firestore.query_wire import decode_query
from deploy.local.firestore.run import run_query
from deploy.local.firestore.view import StoredView
from deploy.local.firestore.wire import Message

_UNKNOWN: Final = 0

Known = dict[str, int]
"""The update times (microseconds) of the documents that a listener has, by path."""


class Subject(Protocol):
    @property
    def select(self) -> tuple[FieldPath, ...] | None: ...
    def covers(self, path: str) -> bool:
        """Whether a change of the document can matter."""

    def results(self, view: StoredView) -> list[Document]: ...
    def unheard(self) -> Known:
        """What a new listener has to be told about, even if it is not there."""


@dataclass(frozen=True, slots=True)
class QuerySubject:
    query: Query

    @property
    def select(self) -> tuple[FieldPath, ...] | None:
        return self.query.select

    def covers(self, path: str) -> bool:
        return _in_scope(self.query.scope, path)

    def results(self, view: StoredView) -> list[Document]:
        return cast("list[Document]", list(run_query(self.query, view)))  # what a StoredView yields

    def unheard(self) -> Known:
        return {}


@dataclass(frozen=True, slots=True)
class DocumentsSubject:
    paths: frozenset[str]
    select: None = None

    def covers(self, path: str) -> bool:
        return path in self.paths

    def results(self, view: StoredView) -> list[Document]:
        return [document for path in sorted(self.paths) if (document := view.get(path))]

    def unheard(self) -> Known:
        return dict.fromkeys(self.paths, _UNKNOWN)


@dataclass(frozen=True, slots=True)
class Difference:
    """``left`` no longer match, ``deleted`` no longer exist; ``known`` is what the listener has afterwards."""

    changed: list[Document]
    left: list[str]
    deleted: list[str]
    known: Known


def decode_subject(message: Message, database: str, indexes: IndexDefinitions | None) -> Subject:
    """From a ``Target``."""
    match message.WhichOneof("target_type"):
        case "query":
            _, parent = parse_parent(message.query.parent)
            query = decode_query(message.query.structured_query, database, parent)
            if indexes:
                check_indexes(query, indexes)
            return QuerySubject(query)
        case "documents":
            return DocumentsSubject(frozenset(document_in(database, name) for name in message.documents.documents))
    raise InvalidArgument("A target is empty: set a query or documents.")


def difference(subject: Subject, known: Known) -> Callable[[StoredView], Difference]:
    def compare(view: StoredView) -> Difference:
        results = subject.results(view)
        now = {document.path: document.update_time for document in results}
        gone = [path for path in known if path not in now]
        deleted = [path for path in gone if view.get(path) is None]
        changed = [document for document in results if known.get(document.path) != document.update_time]
        return Difference(changed, [path for path in gone if path not in set(deleted)], deleted, now)

    return compare


def known_then(subject: Subject) -> Callable[[StoredView], Known]:
    return lambda view: {document.path: document.update_time for document in subject.results(view)}


def _in_scope(scope: Scope, path: str) -> bool:
    collection = path.rpartition("/")[0]
    parent, _, collection_id = collection.rpartition("/")
    if scope.collection_id not in (None, collection_id):
        return False
    if scope.all_descendants:
        return not scope.parent or parent == scope.parent or parent.startswith(f"{scope.parent}/")
    return parent == scope.parent
