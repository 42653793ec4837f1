"""One consistent state of a database, as queries read it: the latest, or the one at a time in the past."""

import heapq
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from deploy.local.firestore.catalog import Catalog
from deploy.local.firestore.documents import Document
from deploy.local.firestore.entries import IndexKind, index_entries
from deploy.local.firestore.query import Scope, Span
from deploy.local.firestore.values import path_key

_AFTER_SLASH: Final = chr(ord("/") + 1)
_ABOVE_ALL: Final = b"\xff"  # every key starts with a tag below it

_ONE: Final = "SELECT blob, created, updated FROM documents WHERE collection = ? AND name = ?"
_ONE_PAST: Final = (
    "SELECT blob, created, updated FROM versions WHERE collection = ? AND name = ? AND superseded > ? AND updated <= ?"
)
_ALL_PAST: Final = (
    "SELECT name, id, blob, created, updated FROM versions WHERE superseded > ? AND updated <= ? AND collection = ?"
)
_BY_NAME: Final = (
    "SELECT X'', name, id, blob, created, updated FROM documents "
    "WHERE collection = ? AND name >= ? AND name < ? ORDER BY name "
)
_BY_KEY: Final = (  # CROSS JOIN: SQLite must not turn the join around, its order is the index's
    "SELECT e.key, e.name, d.id, d.blob, d.created, d.updated "
    "FROM index_entries AS e CROSS JOIN documents AS d ON d.doc = e.doc WHERE e.collection = ? AND e.field = ? "
)
_ONE_KEY: Final = _BY_KEY + "AND e.key = ? AND e.name >= ? AND e.name < ? ORDER BY e.name "
_KEYS: Final = _BY_KEY + "AND e.key >= ? AND e.key < ? ORDER BY e.key {order}, e.name "
_DIRECTION: Final = {False: "ASC", True: "DESC"}


class OverBudget(Exception):  # noqa: N818  a signal to go on elsewhere, not a fault
    """The view has read as many rows as it was allowed to."""


class _Found(NamedTuple):
    """Sorts by key, then by name; within a plain scan all keys are empty."""

    key: bytes
    name: bytes
    document: Document


_Run: TypeAlias = Iterator[_Found]
_order: Final = itemgetter(0, 1)


@dataclass(frozen=True, slots=True)
class _Part:
    """A collection and the span of names in it; ``prefix`` is what all its names start with."""

    collection: int
    path: str
    prefix: bytes
    names: Span

    @property
    def lower(self) -> bytes:
        return self.names.lower[len(self.prefix) :] if self.names.lower.startswith(self.prefix) else b""

    @property
    def upper(self) -> bytes:
        upper = self.names.upper
        return upper[len(self.prefix) :] if upper and upper.startswith(self.prefix) else _ABOVE_ALL

    @property
    def empty(self) -> bool:
        beyond = self.names.lower > self.prefix and not self.names.lower.startswith(self.prefix)
        return beyond or (self.names.upper is not None and self.names.upper <= self.prefix)

    def holds(self, name: bytes) -> bool:
        return self.lower <= name < self.upper


class StoredView:
    """Reads through one connection, inside ``storage.steady``; ``at`` None is the latest state.

    ``budget`` bounds the rows that are read; ``OverBudget`` is raised beyond.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        catalog: Catalog,
        database: str,
        *,
        at: int | None = None,
        budget: int | None = None,
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._database = database
        self._at = at
        self._left = -1 if budget is None else budget

    def get(self, path: str) -> Document | None:
        parent, _, doc_id = path.rpartition("/")
        collection = self._catalog.collection(self._database, parent)
        if collection is None:
            return None
        key = (collection, path_key(doc_id))
        row = self._connection.execute(_ONE, key).fetchone()
        if self._at is not None and (row is None or row[2] > self._at):
            row = self._connection.execute(_ONE_PAST, (*key, self._at, self._at)).fetchone()
        return Document(self._database, path, *row) if row else None

    def scan(self, scope: Scope, names: Span, *, reverse: bool) -> Iterator[Document]:
        parts = self._parts(scope, names)
        runs = [self._scan_part(part, reverse=reverse) for part in parts]
        return _documents(_joined(runs, parts, chained=True, reverse=reverse))

    def scan_index(
        self, scope: Scope, field: str, kind: IndexKind, keys: Span, names: Span, *, reverse: bool
    ) -> Iterator[Document]:
        number = self._catalog.field(field, kind)
        if number is None:
            return iter(())
        parts = self._parts(scope, names)
        runs = [self._scan_entries(part, number, (field, kind), keys, reverse=reverse) for part in parts]
        return _documents(_joined(runs, parts, chained=_is_one(keys), reverse=reverse))

    def collection_ids(self, parent: str) -> list[str]:
        """Of the collections directly under a document ("" is the root) that hold something, at whatever depth."""
        return self._inhabited(f"{parent}/" if parent else "")

    def missing_documents(self, collection: str) -> list[str]:
        """Paths of documents that do not exist, but have something below them; in the order of names."""
        ids = self._inhabited(f"{collection}/")
        return sorted((path for i in ids if not self.get(path := f"{collection}/{i}")), key=path_key)

    def _inhabited(self, prefix: str) -> list[str]:
        """The ids that follow the prefix in the paths of collections with documents; seeks past what it knows."""
        found: dict[str, None] = {}
        position = prefix
        while collection := self._catalog.next_collection(self._database, prefix, position):
            number, path = collection
            segment = path[len(prefix) :].partition("/")[0]
            position = f"{path}\0"
            if segment in found:
                position = f"{prefix}{segment}{_AFTER_SLASH}"
            elif self._has_documents(number, path):
                found[segment] = None
        return sorted(found)

    def _has_documents(self, number: int, path: str) -> bool:
        part = _Part(number, path, path_key(path), Span())
        return next(self._scan_part(part, reverse=False), None) is not None

    def _scan_part(self, part: _Part, *, reverse: bool) -> _Run:
        arguments = (part.collection, part.lower, part.upper)
        current = self._read(part, _BY_NAME + _DIRECTION[reverse], arguments)
        if self._at is None:
            return current
        past = (_Found(b"", name, document) for name, document in self._past(part) if part.holds(name))
        return _merged([self._not_after(current), iter(sorted(past, key=_order, reverse=reverse))], reverse=reverse)

    def _scan_entries(
        self, part: _Part, number: int, entry: tuple[str, IndexKind], keys: Span, *, reverse: bool
    ) -> _Run:
        current = self._read_entries(part, number, keys, reverse=reverse)
        if self._at is None:
            return current
        past = (
            _Found(found.key, name, document)
            for name, document in self._past(part)
            if part.holds(name)
            for found in index_entries(document.fields)
            if (found.field, found.kind) == entry and keys.lower <= found.key < (keys.upper or _ABOVE_ALL)
        )
        return _merged([self._not_after(current), iter(sorted(past, key=_order, reverse=reverse))], reverse=reverse)

    def _read_entries(self, part: _Part, field: int, keys: Span, *, reverse: bool) -> _Run:
        direction = _DIRECTION[reverse]
        if _is_one(keys):
            one = (part.collection, field, keys.lower, part.lower, part.upper)
            return self._read(part, _ONE_KEY + direction, one)
        several = (part.collection, field, keys.lower, keys.upper or _ABOVE_ALL)
        run = self._read(part, _KEYS.format(order=direction) + direction, several)
        return (found for found in run if part.holds(found.name))

    def _read(self, part: _Part, statement: str, arguments: tuple[int | bytes, ...]) -> _Run:
        for key, name, doc_id, *stored in self._connection.execute(statement, arguments):
            if self._left == 0:
                raise OverBudget
            self._left -= 1
            yield _Found(key, name, Document(self._database, f"{part.path}/{doc_id}", *stored))

    def _not_after(self, run: _Run) -> _Run:
        return (found for found in run if found.document.update_time <= (self._at or 0))

    def _past(self, part: _Part) -> Iterator[tuple[bytes, Document]]:
        """What was current then and no longer is."""
        rows = self._connection.execute(_ALL_PAST, (self._at, self._at, part.collection))
        for name, doc_id, *stored in rows:
            yield name, Document(self._database, f"{part.path}/{doc_id}", *stored)

    def _parts(self, scope: Scope, names: Span) -> list[_Part]:
        found = self._catalog.collections(self._database, scope.parent, scope.collection_id, deep=scope.all_descendants)
        parts = (_Part(number, path, path_key(path), names) for number, path in found)
        return sorted((part for part in parts if not part.empty), key=lambda part: part.prefix)


def _is_one(keys: Span) -> bool:
    return keys.upper == keys.lower + b"\0"


def _joined(runs: list[_Run], parts: list[_Part], *, chained: bool, reverse: bool) -> _Run:
    """One run of all, opening the next only when the last is used up, where their order allows it."""
    full = [_named(run, part.prefix) for run, part in zip(runs, parts, strict=True)]
    nested = any(after.prefix.startswith(before.prefix) for before, after in pairwise(parts))
    if nested or not chained:
        return _merged(full, reverse=reverse)
    return chain.from_iterable(reversed(full) if reverse else full)


def _named(run: _Run, prefix: bytes) -> _Run:
    """With names that sort across collections."""
    return (_Found(key, prefix + name, document) for key, name, document in run)


def _merged(runs: Iterable[_Run], *, reverse: bool) -> _Run:
    return iter(heapq.merge(*runs, key=_order, reverse=reverse))


def _documents(run: _Run) -> Iterator[Document]:
    return (found.document for found in run)
