"""The mails, in SQLite.

Calls stay on the event loop on purpose: each is one small statement or transaction, cheaper than a hop to a thread.
WAL with ``synchronous=NORMAL`` survives ``kill -9``; a power cut may lose the last mails, which nobody waits for.
"""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.mailbox.message import Message

SCHEMA = """
CREATE TABLE IF NOT EXISTS mails (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, created_at TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS attachments (
    mail TEXT, position INTEGER, filename TEXT, content_type TEXT, content_id TEXT, content BLOB,
    PRIMARY KEY (mail, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS replies (
    account TEXT, key TEXT, request TEXT, body TEXT, at REAL, PRIMARY KEY (account, key)) WITHOUT ROWID;
"""
KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True, slots=True)
class StoredAttachment:
    filename: str
    content_type: str
    content_id: str | None
    content: bytes


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail as the API shows it; attachments without their content."""

    id: str
    created_at: str
    fields: dict[str, Any]

    def render(self) -> dict[str, Any]:
        return {"object": "email", "id": self.id, "created_at": self.created_at, **self.fields}


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request under an idempotency key; ``request`` is the digest of its route and payload."""

    account: str
    key: str
    request: str


class Store:
    def __init__(self, path: Path | None) -> None:
        """``path`` is the database's file; None keeps everything in memory."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)

    def close(self) -> None:
        self._db.close()

    def accept(self, mails: Sequence[tuple[str, Message]], at: str, reply: tuple[Keyed, str, float] | None) -> None:
        """Keep the mails under their ids and, with a key, the reply to replay; all or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for mail_id, message in mails:
                self._insert(mail_id, message, at)
            if reply is not None:
                keyed, body, now = reply
                values = (keyed.account, keyed.key, keyed.request, body, now)
                self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)", values)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def replay(self, account: str, key: str, now: float) -> tuple[str, str] | None:
        """The request's digest and the reply that are kept under a key for a day."""
        row = self._db.execute(
            "SELECT request, body FROM replies WHERE account = ? AND key = ? AND at > ?",
            (account, key, now - KEPT_SECONDS),
        ).fetchone()
        return None if row is None else (row[0], row[1])

    def mails(self, *, limit: int | None = None, after: str | None = None, to: str | None = None) -> Sequence[Mail]:
        """Newest first; ``after`` continues behind that mail; ``to`` is part of a recipient, case ignored."""
        rows = self._db.execute(
            "SELECT id, created_at, body FROM mails WHERE (? IS NULL OR seq < (SELECT seq FROM mails WHERE id = ?)) "
            "AND (? IS NULL OR instr(lower(json_extract(body, '$.to')), lower(?))) ORDER BY seq DESC LIMIT ?",
            (after, after, to, to, -1 if limit is None else limit),
        )
        return [Mail(mail_id, created_at, json.loads(body)) for mail_id, created_at, body in rows]

    def mail(self, mail_id: str) -> Mail | None:
        with closing(self._db.execute("SELECT id, created_at, body FROM mails WHERE id = ?", (mail_id,))) as found:
            row = found.fetchone()
        return None if row is None else Mail(row[0], row[1], json.loads(row[2]))

    def count(self, to: str | None = None) -> int:
        query = "SELECT count(*) FROM mails WHERE ? IS NULL OR instr(lower(json_extract(body, '$.to')), lower(?))"
        return int(self._db.execute(query, (to, to)).fetchone()[0])

    def attachments(self, mail_id: str) -> Sequence[StoredAttachment]:
        query = "SELECT filename, content_type, content_id, content FROM attachments WHERE mail = ? ORDER BY position"
        return [StoredAttachment(*row) for row in self._db.execute(query, (mail_id,))]

    def clear(self) -> None:
        """Throw the mails away; idempotency keys stay."""
        self._db.execute("DELETE FROM attachments")
        self._db.execute("DELETE FROM mails")

    def _insert(self, mail_id: str, message: Message, at: str) -> None:
        body = json.dumps(_fields(message))
        self._db.execute("INSERT INTO mails (id, created_at, body) VALUES (?, ?, ?)", (mail_id, at, body))
        rows = [(mail_id, n, a.filename, a.media_type, a.cid, a.content) for n, a in enumerate(message.attachments)]
        self._db.executemany("INSERT INTO attachments VALUES (?, ?, ?, ?, ?, ?)", rows)


def _fields(message: Message) -> dict[str, Any]:
    shown = message.model_dump(by_alias=True, exclude={"attachments"})
    attachments = [
        {
            "id": str(n),
            "filename": a.filename,
            "content_type": a.media_type,
            "content_id": a.cid,
            "size": len(a.content),
        }
        for n, a in enumerate(message.attachments)
    ]
    return {**shown, "attachments": attachments, "last_event": "delivered", "scheduled_at": None}
