"""Writing documents, their index entries and their history into the open transaction of the writer connection."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local.firestore.catalog import Catalog
from deploy.local.firestore.documents import Document
from deploy.local.firestore.entries import IndexEntry, index_entries
from deploy.local.firestore.values import path_key


@dataclass(frozen=True, slots=True)
class Row:
    """Where a document is, or would be, stored; ``doc`` None means that it does not exist."""

    collection: int
    id: str
    name: bytes
    doc: int | None
    document: Document | None


class Tables:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._catalog = Catalog(connection)

    def row(self, database: str, path: str) -> Row:
        parent, _, doc_id = path.rpartition("/")
        collection = self._catalog.add_collection(database, parent)
        name = path_key(doc_id)
        found = self._connection.execute(
            "SELECT doc, blob, created, updated FROM documents WHERE collection = ? AND name = ?",
            (collection, name),
        ).fetchone()
        if found is None:
            return Row(collection, doc_id, name, None, None)
        return Row(collection, doc_id, name, found[0], Document(database, path, *found[1:]))

    def replace(self, row: Row, new: Document | None, entries: set[IndexEntry], at: int) -> None:
        """Make ``new``, with its index entries, the document's current version from time ``at`` on."""
        old_entries = set(index_entries(row.document.fields)) if row.document else set()
        if row.document:
            self._keep(row, row.document, at)
        doc = self._store(row, new)
        self._drop_entries(row, old_entries - entries)
        if doc is not None:
            self._add_entries(row, doc, entries - old_entries)

    def _keep(self, row: Row, old: Document, at: int) -> None:
        self._connection.execute(
            "INSERT INTO versions (superseded, collection, name, id, created, updated, blob) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (at, row.collection, row.name, row.id, old.create_time, old.update_time, old.blob),
        )

    def _store(self, row: Row, new: Document | None) -> int | None:
        if new is None:
            self._connection.execute("DELETE FROM documents WHERE doc = ?", (row.doc,))
            return None
        if row.doc is not None:
            self._connection.execute(
                "UPDATE documents SET blob = ?, created = ?, updated = ? WHERE doc = ?",
                (new.blob, new.create_time, new.update_time, row.doc),
            )
            return row.doc
        return self._connection.execute(
            "INSERT INTO documents (collection, name, id, created, updated, blob) VALUES (?, ?, ?, ?, ?, ?)",
            (row.collection, row.name, row.id, new.create_time, new.update_time, new.blob),
        ).lastrowid

    def _drop_entries(self, row: Row, entries: set[IndexEntry]) -> None:
        if entries:
            self._connection.executemany(
                "DELETE FROM index_entries WHERE collection = ? AND field = ? AND key = ? AND name = ?",
                [(row.collection, self._catalog.add_field(field, kind), key, row.name) for field, kind, key in entries],
            )

    def _add_entries(self, row: Row, doc: int, entries: set[IndexEntry]) -> None:
        if entries:
            self._connection.executemany(
                "INSERT INTO index_entries (collection, field, key, name, doc) VALUES (?, ?, ?, ?, ?)",
                [
                    (row.collection, self._catalog.add_field(field, kind), key, row.name, doc)
                    for field, kind, key in entries
                ],
            )

    def last_commit(self) -> int:
        (last,) = self._connection.execute("SELECT last_commit FROM clock").fetchone()
        return int(last)

    def begin(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    @property
    def is_open(self) -> bool:
        """Between ``begin`` and ``commit``; SQLite itself ends a transaction that the disk has no room for."""
        return self._connection.in_transaction

    @contextmanager
    def undone_on_failure(self) -> Iterator[None]:
        """What fails inside leaves nothing behind; what the transaction did before stays."""
        self._connection.execute("SAVEPOINT one")
        try:
            yield
        except BaseException:
            self._catalog.forget()
            if self.is_open:
                self._connection.execute("ROLLBACK TO one")
            raise
        finally:
            if self.is_open:
                self._connection.execute("RELEASE one")

    def note_last_commit(self, last_commit: int) -> None:
        self._connection.execute("UPDATE clock SET last_commit = ?", (last_commit,))

    def commit(self) -> None:
        """Waits for the disk: not on the event loop."""
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        self._catalog.forget()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def prune(self, before: int, limit: int) -> None:
        """Forget versions that were superseded before a time, some at a time."""
        self._connection.execute(
            "DELETE FROM versions WHERE rowid IN "
            "(SELECT rowid FROM versions WHERE superseded < ? ORDER BY superseded LIMIT ?)",
            (before, limit),
        )
