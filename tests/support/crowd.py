"""An event with very many tickets, in a Firestore that runs as a process of its own."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from shared.documents import Rager, Summary
from shared.firestore import paths
from shared.operations import Value
from shared.records import Record

_MODULE: Final = ("-m", "deploy.local.firestore")
_MADE: Final = "2026-03-01T12:00:00Z"


def crowd(ragers: int, users: int) -> Iterator[Record]:
    """Every user with as many batches of two, of which one is used; their summaries are right."""
    for n in range(ragers):
        yield Rager(paths.rager("e1", f"r{n:06}"), user_id=f"u{n % users:05}", ticket_quantity=2, used_count=1)
    for n in range(users):
        yield Summary(paths.summary("e1", f"u{n:05}"), 2 * (ragers // users), ragers // users)


async def import_records(data_dir: Path, project: str, records: Iterator[Record]) -> None:
    """Into a data directory that no server uses, much faster than by commits."""
    process = await _start("import", "--data-dir", str(data_dir), stdin=PIPE)
    assert process.stdin is not None
    for record in records:
        process.stdin.write(_line(project, record))
        await process.stdin.drain()
    process.stdin.close()
    assert await process.wait() == 0


@asynccontextmanager
async def served(data_dir: Path) -> AsyncIterator[str]:
    """What FIRESTORE_EMULATOR_HOST should be, while the server runs."""
    process = await _start("serve", "--data-dir", str(data_dir), "--port", "0", stdout=PIPE)
    assert process.stdout is not None
    ready = (await process.stdout.readline()).decode()
    try:
        yield ready.strip().partition("=")[2]
    finally:
        process.terminate()
        await process.wait()


async def _start(*arguments: str, stdin: int | None = None, stdout: int | None = None) -> Process:
    return await asyncio.create_subprocess_exec(sys.executable, *_MODULE, *arguments, stdin=stdin, stdout=stdout)


def _line(project: str, record: Record) -> bytes:
    """In the form of the Firestore REST API; only what these records hold, nulls left out."""
    fields = {name: _value(value) for name, value in record.fields().items() if value is not None}
    name = f"projects/{project}/databases/(default)/documents/{record.path}"
    document = {"name": name, "fields": fields, "createTime": _MADE, "updateTime": _MADE}
    return json.dumps(document).encode() + b"\n"


def _value(value: Value) -> dict[str, object]:
    match value:
        case bool():
            return {"booleanValue": value}
        case int():
            return {"integerValue": str(value)}
        case str():
            return {"stringValue": value}
    raise TypeError(value)
