"""Writes and reads of an engine without a server around it."""

from deploy.local.firestore.engine import Engine
from deploy.local.firestore.query import Scope, Span
from deploy.local.firestore.values import Fields
from deploy.local.firestore.view import StoredView
from deploy.local.firestore.writes import Write

DATABASE = "projects/p/databases/(default)"
EVERYTHING = Span()


def put(path: str, fields: Fields | None = None) -> Write:
    return Write(DATABASE, path, fields or {})


def delete(path: str) -> Write:
    return Write(DATABASE, path, None)


async def scanned(
    engine: Engine, scope: Scope, names: Span = EVERYTHING, *, reverse: bool = False, at: int | None = None
) -> list[str]:
    def scan(view: StoredView) -> list[str]:
        return [document.path for document in view.scan(scope, names, reverse=reverse)]

    return await engine.readers.read(DATABASE, engine.moment(at), scan)


async def indexed(engine: Engine, field: str, keys: Span, *, reverse: bool = False, at: int | None = None) -> list[str]:
    def scan(view: StoredView) -> list[str]:
        found = view.scan_index(Scope("", "c"), field, "value", keys, EVERYTHING, reverse=reverse)
        return [document.path for document in found]

    return await engine.readers.read(DATABASE, engine.moment(at), scan)
