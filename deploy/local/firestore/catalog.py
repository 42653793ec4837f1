"""Small integers for collections and indexed fields, so that index rows stay short."""

import sqlite3
from collections import OrderedDict
from typing import Final

from deploy.local.firestore.entries import IndexKind

_CACHED: Final = 50_000
_LAST_CHARACTER: Final = "\U0010ffff"
_BELOW: Final = "SELECT collection, path FROM collections WHERE database = ? AND path >= ? AND path < ?"
_NEXT: Final = _BELOW + " ORDER BY path LIMIT 1"
_BELOW_WITH_ID: Final = _BELOW + " AND id = ?"


class Catalog:
    """The numbers as one connection sees them. Numbers never change once they are committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._collections: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._fields: OrderedDict[tuple[str, str], int] = OrderedDict()

    def collection(self, database: str, path: str) -> int | None:
        """None where nothing was ever stored."""
        return _find(
            self._connection,
            self._collections,
            "SELECT collection FROM collections WHERE database = ? AND path = ?",
            (database, path),
        )

    def field(self, path: str, kind: IndexKind) -> int | None:
        return _find(
            self._connection, self._fields, "SELECT field FROM fields WHERE path = ? AND kind = ?", (path, kind)
        )

    def collections(
        self, database: str, parent: str, collection_id: str | None, *, deep: bool
    ) -> list[tuple[int, str]]:
        """Number and path of the collections under a parent document ("" is the root), at every depth if ``deep``."""
        prefix = f"{parent}/" if parent else ""
        if collection_id is not None and not deep:
            number = self.collection(database, prefix + collection_id)
            return [] if number is None else [(number, prefix + collection_id)]
        below = (database, prefix, prefix + _LAST_CHARACTER)
        if collection_id is None:
            rows = self._connection.execute(_BELOW, below).fetchall()
        else:
            rows = self._connection.execute(_BELOW_WITH_ID, (*below, collection_id)).fetchall()
        return [(number, path) for number, path in rows if deep or "/" not in path[len(prefix) :]]

    def next_collection(self, database: str, prefix: str, position: str) -> tuple[int, str] | None:
        """Number and path of the first collection from ``position`` on whose path starts with the prefix."""
        below = (database, position, prefix + _LAST_CHARACTER)
        row: tuple[int, str] | None = self._connection.execute(_NEXT, below).fetchone()
        return row

    def add_collection(self, database: str, path: str) -> int:
        known = self.collection(database, path)
        if known is not None:
            return known
        return _number(
            self._connection.execute(
                "INSERT INTO collections (database, path, id) VALUES (?, ?, ?) RETURNING collection",
                (database, path, path.rpartition("/")[2]),
            )
        )

    def add_field(self, path: str, kind: IndexKind) -> int:
        known = self.field(path, kind)
        if known is not None:
            return known
        return _number(
            self._connection.execute("INSERT INTO fields (path, kind) VALUES (?, ?) RETURNING field", (path, kind))
        )

    def forget(self) -> None:
        """After a rollback, whose numbers may be given to others."""
        self._collections.clear()
        self._fields.clear()


def _find(
    connection: sqlite3.Connection,
    cache: OrderedDict[tuple[str, str], int],
    statement: str,
    key: tuple[str, str],
) -> int | None:
    number = cache.get(key)
    if number is not None:
        return number
    row = connection.execute(statement, key).fetchone()
    if row is None:
        return None
    cache[key] = number = int(row[0])
    if len(cache) > _CACHED:
        cache.popitem(last=False)
    return number


def _number(cursor: sqlite3.Cursor) -> int:
    (number,) = cursor.fetchone()
    return int(number)
