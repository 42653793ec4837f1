"""What the simulator keeps, in SQLite: records, saved replies of idempotency keys, webhook deliveries.

Calls are synchronous and stay on the event loop on purpose. Each is one small statement or transaction against the
page cache (tens of microseconds), less than a hop to a thread would cost, and a request that never awaits between its
read and its commit needs no lock. WAL with ``synchronous=NORMAL`` survives ``kill -9`` of the process; a power cut may
take the last commits, which is good enough for test payments.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

from deploy.local.stripe.records import KINDS, Record

R = TypeVar("R", bound=Record)

SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS records_by_kind ON records (kind, seq);
CREATE INDEX IF NOT EXISTS records_by_payment
    ON records (kind, json_extract(body, '$.payment_intent'), seq);
CREATE INDEX IF NOT EXISTS records_by_charge ON records (kind, json_extract(body, '$.charge'), seq);
CREATE INDEX IF NOT EXISTS records_by_email ON records (kind, json_extract(body, '$.email'), seq);
CREATE TABLE IF NOT EXISTS replies (
    account TEXT, key TEXT, path TEXT, parameters TEXT, status INTEGER, body TEXT, request TEXT, at REAL,
    PRIMARY KEY (account, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS endpoints (position INTEGER PRIMARY KEY, url TEXT, secrets TEXT, events TEXT);
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, endpoint INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending', attempts INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL,
    rank REAL NOT NULL, status INTEGER, error TEXT);
CREATE INDEX IF NOT EXISTS deliveries_by_rank ON deliveries (state, rank, id, due);
CREATE INDEX IF NOT EXISTS deliveries_by_due ON deliveries (state, due, id);
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which records a list shows: those whose fields equal ``where``, newest first, around a cursor."""

    where: Mapping[str, str]
    limit: int
    after: str | None = None
    """Older than this record."""
    before: str | None = None
    """Newer than this record."""
    created: tuple[tuple[str, int], ...] = ()
    """Comparisons with ``created``: (operator, Unix seconds)."""


class Store:
    def __init__(self, path: Path | None) -> None:
        """``path`` is the database's file; None keeps everything in memory."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA)

    def close(self) -> None:
        self.db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; the body must not await."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def last(self) -> int:
        """The newest record's number, 0 for an empty store."""
        return int(self.db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()[0])

    def put(self, record: Record) -> None:
        self.db.execute(
            "INSERT INTO records (id, kind, body) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body",
            (record.id, record.KIND, json.dumps(record.stored())),
        )

    def get(self, cls: type[R], record_id: str) -> R | None:
        row = self.db.execute("SELECT body FROM records WHERE id = ? AND kind = ?", (record_id, cls.KIND)).fetchone()
        return None if row is None else cls(**json.loads(row[0]))

    def find(self, kind: str, record_id: str) -> Record | None:
        return self.get(KINDS[kind], record_id)

    def select(self, cls: type[R], selection: Selection) -> Sequence[R]:
        """Newest first. ``where``'s names come from the endpoints' own models, never from a request."""
        terms, values = ["kind = ?"], cast("list[str | int]", [cls.KIND])
        for name, value in selection.where.items():
            terms.append(f"json_extract(body, '$.{name}') = ?")
            values.append(value)
        for operator, moment in selection.created:
            terms.append(f"json_extract(body, '$.created') {operator} ?")
            values.append(moment)
        for cursor, operator in ((selection.after, "<"), (selection.before, ">")):
            if cursor is not None:
                terms.append(f"seq {operator} (SELECT seq FROM records WHERE id = ?)")  # noqa: S608  one of two signs
                values.append(cursor)
        backwards = selection.before is not None
        order = "ASC" if backwards else "DESC"
        query = f"SELECT body FROM records WHERE {' AND '.join(terms)} ORDER BY seq {order} LIMIT ?"  # noqa: S608
        rows = self.db.execute(query, (*values, selection.limit)).fetchall()
        found = [cls(**json.loads(row[0])) for row in rows]
        return found[::-1] if backwards else found
