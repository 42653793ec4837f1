"""A ``View`` over a handful of documents in memory: what the planner does not read, it counts as not read."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from deploy.local.firestore.conditions import in_span
from deploy.local.firestore.entries import IndexKind, index_entries
from deploy.local.firestore.query import Scope, Span
from deploy.local.firestore.values import Fields, path_key


@dataclass(frozen=True, slots=True)
class PlainDocument:
    path: str
    fields: Fields


@dataclass(slots=True)
class MemoryView:
    """``touched`` counts the documents that were handed out."""

    documents: dict[str, Fields]
    touched: int = field(default=0)

    def scan(self, scope: Scope, names: Span, *, reverse: bool) -> Iterator[PlainDocument]:
        keyed = [(path_key(path), path) for path in self.documents if in_scope(path, scope)]
        return self._hand_out([path for key, path in sorted(keyed, reverse=reverse) if in_span(key, names)])

    def scan_index(
        self, scope: Scope, field: str, kind: IndexKind, keys: Span, names: Span, *, reverse: bool
    ) -> Iterator[PlainDocument]:
        keyed = [
            (entry.key, path_key(path), path)
            for path, fields in self.documents.items()
            if in_scope(path, scope)
            for entry in index_entries(fields)
            if entry.field == field and entry.kind == kind and in_span(entry.key, keys)
        ]
        return self._hand_out([path for _, name, path in sorted(keyed, reverse=reverse) if in_span(name, names)])

    def _hand_out(self, paths: list[str]) -> Iterator[PlainDocument]:
        for path in paths:
            self.touched += 1
            yield PlainDocument(path, self.documents[path])


def in_scope(path: str, scope: Scope) -> bool:
    segments = path.split("/")
    above = scope.parent.split("/") if scope.parent else []
    below = segments[len(above) :]
    if segments[: len(above)] != above or not below:
        return False
    depth = scope.all_descendants or len(below) == 2
    return depth and scope.collection_id in (None, segments[-2])
