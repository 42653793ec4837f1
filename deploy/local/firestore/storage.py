"""The SQLite file: its schema, its lock against a second process, and its connections.

WAL with ``synchronous=FULL``: a COMMIT that returned survives ``kill -9`` and a power cut, and a torn end of the log is
dropped by SQLite's own recovery. Everything in memory is a cache; start-up reads a handful of pages.
"""

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SCHEMA_VERSION: Final = 1
_LOG_BYTES: Final = 64 * 1024 * 1024
_SCHEMA: Final = """
CREATE TABLE collections (
    collection INTEGER PRIMARY KEY,
    database TEXT NOT NULL,
    path TEXT NOT NULL,
    id TEXT NOT NULL,         -- the last segment, which a collection group shares
    UNIQUE (database, path)
);
CREATE INDEX collections_by_id ON collections (database, id, path);
CREATE TABLE fields (
    field INTEGER PRIMARY KEY,
    path TEXT NOT NULL,
    kind TEXT NOT NULL,
    UNIQUE (path, kind)
);
CREATE TABLE documents (
    doc INTEGER PRIMARY KEY,
    collection INTEGER NOT NULL,
    name BLOB NOT NULL,       -- path_key of the id: sorts as Firestore sorts names
    id TEXT NOT NULL,
    created INTEGER NOT NULL, -- microseconds
    updated INTEGER NOT NULL,
    blob BLOB NOT NULL,
    UNIQUE (collection, name)
);
CREATE TABLE index_entries (
    collection INTEGER NOT NULL,
    field INTEGER NOT NULL,
    key BLOB NOT NULL,
    name BLOB NOT NULL,
    doc INTEGER NOT NULL,
    PRIMARY KEY (collection, field, key, name)
) WITHOUT ROWID;
CREATE TABLE versions (       -- what documents were before, for reads in the past
    superseded INTEGER NOT NULL,
    collection INTEGER NOT NULL,
    name BLOB NOT NULL,
    id TEXT NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    blob BLOB NOT NULL
);
CREATE INDEX versions_by_time ON versions (superseded);
CREATE INDEX versions_by_name ON versions (collection, name, superseded);
CREATE TABLE clock (last_commit INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
"""


class DataDirectoryUnusable(Exception):  # noqa: N818  a fact for the person who starts the server
    """Another process holds it, or another version wrote it."""


class Storage:
    """A data directory, held exclusively; ``None`` is a temporary one that forgets everything and skips fsync."""

    def __init__(self, data_dir: Path | None) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="firestore-") if data_dir is None else None
        self._directory = Path(self._temporary.name) if self._temporary else Path(data_dir or "")
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = _hold(self._directory)
        self._file = self._directory / "firestore.sqlite3"
        self.writer = self._connect()
        self._create_schema()

    def connect_reader(self) -> sqlite3.Connection:
        """A connection for reading, usable from any one thread at a time."""
        reader = self._connect()
        reader.execute("PRAGMA query_only = ON")
        return reader

    def close(self) -> None:
        self.writer.close()
        os.close(self._lock)
        if self._temporary:
            self._temporary.cleanup()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False, cached_statements=256)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {'OFF' if self._temporary else 'FULL'}")
        connection.execute("PRAGMA cache_size = -32000")  # 32 MB
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")  # a log that grew larger shrinks again
        return connection

    def _create_schema(self) -> None:
        (version,) = self.writer.execute("PRAGMA user_version").fetchone()
        if version == SCHEMA_VERSION:
            return
        if version:
            raise DataDirectoryUnusable(
                f"{self._file} was written by another version of this server (schema {version}, this one reads "
                f"{SCHEMA_VERSION}). Export it with that version and import it here."
            )
        self.writer.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")


def _hold(directory: Path) -> int:
    """The descriptor of a locked file; the kernel frees the lock however the process ends."""
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DataDirectoryUnusable(
            f"Another process is using {directory}. Stop it, or choose another --data-dir."
        ) from None
    return descriptor


@contextmanager
def steady(connection: sqlite3.Connection) -> Iterator[None]:
    """All reads inside see one state of the database."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")
