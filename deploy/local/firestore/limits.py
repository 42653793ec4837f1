"""What production refuses to store (https://firebase.google.com/docs/firestore/quotas), with its sentences.

Sizes are those of https://firebase.google.com/docs/firestore/storage-size.
"""

import re
from typing import Final

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.values import Fields, GeoPoint, Reference, Value, Vector

MAX_DOCUMENT: Final = 1_048_576
MAX_VALUE: Final = 1_048_487
MAX_NAME: Final = 6 * 1024
MAX_ID: Final = 1500
MAX_FIELD_NAME: Final = 1500
MAX_DEPTH: Final = 20
MAX_DIMENSIONS: Final = 2048
MAX_COLLECTION_DEPTH: Final = 100

_NAME_OVERHEAD: Final = 16
_DOCUMENT_OVERHEAD: Final = 32
_RESERVED: Final = re.compile(r"__.*__", re.DOTALL)
_NUMERIC_ID: Final = re.compile(r"__id-?[0-9]+__")


def validate_document(name: str, fields: Fields) -> None:
    """Refuse a document that is too large, too deep or uses reserved names; ``name`` is its full name."""
    path = name.split("/documents/", 1)[-1]
    size = name_size(path) + _fields_size(fields, 1) + _DOCUMENT_OVERHEAD
    if size > MAX_DOCUMENT:
        raise InvalidArgument(
            f"Document '{name}' cannot be written because its size ({size:,} bytes) exceeds the maximum "
            f"allowed size of {MAX_DOCUMENT:,} bytes."
        )


def validate_path(path: str) -> None:
    """Refuse a relative path (``events/e1``, also of a collection) with an id that no document can have."""
    segments = path.split("/")
    for segment in segments:
        validate_id(segment)
    if len(path.encode()) > MAX_NAME:
        raise InvalidArgument(f"The name of a document is longer than {MAX_NAME:,} bytes.")
    if len(segments) > 2 * MAX_COLLECTION_DEPTH:
        raise InvalidArgument(f"A document lies at most {MAX_COLLECTION_DEPTH} collections deep.")


def validate_id(segment: str) -> None:
    if not segment:
        raise InvalidArgument("A resource id is empty: a name has two slashes in a row, or one at its end.")
    if segment in {".", ".."}:
        raise InvalidArgument(f'Resource id "{segment}" is invalid.')
    if _RESERVED.fullmatch(segment) and not _NUMERIC_ID.fullmatch(segment):
        raise InvalidArgument(f'Resource id "{segment}" is invalid because it is reserved.')
    if len(segment) * 4 > MAX_ID and len(segment.encode()) > MAX_ID:
        raise InvalidArgument(f'Resource id "{segment[:40]}..." is longer than {MAX_ID:,} bytes.')


def name_size(path: str) -> int:
    return sum(_id_size(segment) for segment in path.split("/")) + _NAME_OVERHEAD


def _id_size(segment: str) -> int:
    return 8 if _NUMERIC_ID.fullmatch(segment) else len(segment.encode()) + 1


def _fields_size(fields: Fields, depth: int) -> int:
    size = 0
    for name, value in fields.items():
        size += _field_name_size(name) + _value_size(name, value, depth)
    return size


def _field_name_size(name: str) -> int:
    if not name:
        raise InvalidArgument("The property name is the empty string.")
    if _RESERVED.fullmatch(name):
        raise InvalidArgument(f'The property name "{name}" is reserved.')
    size = len(name.encode())
    if size > MAX_FIELD_NAME:
        raise InvalidArgument(f'The property name "{name[:40]}..." is longer than {MAX_FIELD_NAME:,} bytes.')
    return size + 1


def _value_size(field: str, value: Value, depth: int) -> int:
    if isinstance(value, str):
        return _bounded(field, len(value.encode())) + 1
    if value is None or isinstance(value, bool):
        return 1
    if isinstance(value, bytes):
        return _bounded(field, len(value))
    if isinstance(value, list | dict | Vector):
        return _structure_size(field, value, depth)
    if isinstance(value, Reference):
        return name_size(value.name.split("/documents/", 1)[-1])
    return 16 if isinstance(value, GeoPoint) else 8


def _structure_size(field: str, value: list[Value] | Fields | Vector, depth: int) -> int:
    if isinstance(value, Vector):
        return _vector_size(field, value)
    if depth > MAX_DEPTH:
        raise InvalidArgument(
            f"Property {field} contains an invalid nested entity: at most {MAX_DEPTH} maps and arrays deep."
        )
    if isinstance(value, dict):
        return _fields_size(value, depth + 1)
    if any(isinstance(element, list) for element in value):
        raise InvalidArgument(f"Cannot convert an array value in an array value (property {field}).")
    return sum(_value_size(field, element, depth + 1) for element in value)


def _vector_size(field: str, vector: Vector) -> int:
    if not 0 < len(vector.values) <= MAX_DIMENSIONS:
        raise InvalidArgument(f"The vector in property {field} must have 1 to {MAX_DIMENSIONS:,} dimensions.")
    return 8 * len(vector.values)


def _bounded(field: str, size: int) -> int:
    if size > MAX_VALUE:
        raise InvalidArgument(f'The value of property "{field}" is longer than {MAX_VALUE} bytes.')
    return size
