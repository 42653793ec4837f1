"""Resource names of requests, taken apart and checked."""

import re
from typing import Final

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.limits import validate_path

# longer ids than production's, whose projects have 30 characters and databases 63; but not without end
_DATABASE: Final = re.compile(r"projects/[^/]{1,200}/databases/[^/]{1,200}")
_UNDER_DATABASE: Final = re.compile(rf"({_DATABASE.pattern})/documents(?:/(.+))?", re.DOTALL)


def parse_database(name: str) -> str:
    if not _DATABASE.fullmatch(name):
        raise InvalidArgument(f'"{name}" is not a database: projects/{{project}}/databases/{{database}}.')
    return name


def parse_parent(name: str) -> tuple[str, str]:
    """The database and the relative path of a document, or "" for the root."""
    match = _UNDER_DATABASE.fullmatch(name)
    path = match[2] or "" if match else ""
    if match is None or (path and path.count("/") % 2 == 0):
        raise InvalidArgument(
            f'"{name}" is not a parent: projects/{{project}}/databases/{{database}}/documents, or a document below it.'
        )
    if path:
        validate_path(path)
    return match[1], path


def parse_document(name: str) -> tuple[str, str]:
    """The database and the relative path of a document."""
    match = _UNDER_DATABASE.fullmatch(name)
    if match is None or not match[2] or match[2].count("/") % 2 == 0:
        raise InvalidArgument(
            f'"{name}" names no document: projects/{{project}}/databases/{{database}}/documents/{{path}}.'
        )
    validate_path(match[2])
    return match[1], match[2]


def document_in(database: str, name: str) -> str:
    """The relative path of a document that must belong to the database."""
    prefix = f"{database}/documents/"
    if name.startswith(prefix):
        path = name[len(prefix) :]
        if path.count("/") % 2:
            validate_path(path)
            return path
    parse_document(name)
    raise InvalidArgument(f'Document "{name}" does not belong to {database}.')
