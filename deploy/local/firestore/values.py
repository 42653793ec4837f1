"""Firestore's values as plain Python values, and the one order that holds between all of them.

The order is that of https://firebase.google.com/docs/firestore/manage-data/data-types: null, booleans,
numbers (integers and doubles as one line, NaN first), timestamps, strings, bytes, references, geo points,
arrays, vectors, maps. It is expressed once, as bytes: the ``order_key`` of two values compares as the values
do, so an SQLite index, a sort and a filter cannot disagree about it.
"""

import math
import re
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment as whole microseconds since 1970-01-01 UTC, which is Firestore's precision."""

    micros: int


@dataclass(frozen=True, slots=True)
class Reference:
    """A document's full resource name, ``projects/p/databases/d/documents/events/e1``."""

    name: str


@dataclass(frozen=True, slots=True)
class GeoPoint:
    """Degrees; latitude -90 to 90, longitude -180 to 180."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Vector:
    values: tuple[float, ...]


Value: TypeAlias = (
    bool
    | int
    | float
    | Timestamp
    | str
    | bytes
    | Reference
    | GeoPoint
    | list["Value"]
    | Vector
    | dict[str, "Value"]
    | None
)
Fields: TypeAlias = dict[str, Value]

# A key starts with the tag of its type. A list ends with _END, below every tag, so that the shorter list
# sorts before its continuations.
_END: Final = b"\x01"
_MORE: Final = b"\x02"
_NUMERIC_ID: Final = b"\x02"
_STRING_ID: Final = b"\x03"
_NULL: Final = b"\x05"
_FALSE: Final = b"\x06"
_TRUE: Final = b"\x07"
_NAN: Final = b"\x0f"
_NUMBER: Final = b"\x10"
_TIMESTAMP: Final = b"\x18"
_STRING: Final = b"\x1c"
_BYTES: Final = b"\x20"
_REFERENCE: Final = b"\x24"
_GEO_POINT: Final = b"\x28"
_ARRAY: Final = b"\x2c"
_VECTOR: Final = b"\x30"
_MAP: Final = b"\x34"

_NUMERIC: Final = re.compile(r"__id(0|-?[1-9][0-9]{0,18})__")  # one spelling for each number, or two ids would be one

_SIGN: Final = 1 << 63
_ALL: Final = (1 << 64) - 1
_EXACT: Final = 1 << 53
_as_double = struct.Struct(">d").pack
_as_bits = struct.Struct(">Q")
_as_rest = struct.Struct(">H").pack
_as_length = struct.Struct(">I").pack

INDEXED_BYTES: Final = 1500
"""Queries consider the first 1,500 bytes of a value (quotas: "over 1500 bytes are truncated")."""


def order_key(value: Value) -> bytes:
    """Bytes that compare as the values do; no key is a prefix of another; equal for ``1`` and ``1.0``."""
    if isinstance(value, str):
        return _STRING + _escaped(value.encode())
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int | float):
        return _number_key(value)
    if isinstance(value, Timestamp):
        return _TIMESTAMP + _as_bits.pack(value.micros + _SIGN)
    return _structure_key(value)


def index_key(value: Value) -> bytes:
    """The part of ``order_key`` that indexes hold and queries compare; equal up to the cut is equal."""
    return order_key(value)[: INDEXED_BYTES + 1]


def type_bounds(key: bytes) -> tuple[bytes, bytes]:
    """The half-open range of the keys of all values of the same type; a range filter stays inside it."""
    tag = key[:1]
    if tag in (_FALSE, _TRUE):
        return _FALSE, _after(_TRUE)
    if tag in (_NAN, _NUMBER):
        return _NAN, _after(_NUMBER)
    return tag, _after(tag)


def path_key(path: str) -> bytes:
    """Bytes that sort names by their segments; the key of a parent is a prefix of its descendants' keys.

    Ids of the form ``__id7__`` are numbers of 64 bits and sort before all others.
    """
    return b"".join(map(_id_key, path.split("/"))) if path else b""


def _after(tag: bytes) -> bytes:
    return bytes((tag[0] + 1,))


def _structure_key(value: bytes | Reference | GeoPoint | list[Value] | Vector | Fields) -> bytes:
    if isinstance(value, dict):
        members = sorted((name.encode(), member) for name, member in value.items())
        return _MAP + b"".join(_MORE + _escaped(name) + order_key(member) for name, member in members) + _END
    if isinstance(value, list):
        return _ARRAY + b"".join(map(order_key, value)) + _END
    if isinstance(value, Reference):
        return _REFERENCE + path_key(value.name) + _END
    if isinstance(value, bytes):
        return _BYTES + _escaped(value)
    if isinstance(value, GeoPoint):
        return _GEO_POINT + _double_key(value.latitude) + _double_key(value.longitude)
    return _VECTOR + _as_length(len(value.values)) + b"".join(map(_double_key, value.values))


def _number_key(number: float) -> bytes:
    """The largest double not above the number, then how far above it: doubles thin out at 2**53."""
    if isinstance(number, float):
        if number != number:  # noqa: PLR0124  the test for NaN that needs no call
            return _NAN
        floor, above = number, 0
    else:
        floor = float(number)
        if floor > number:
            floor = math.nextafter(floor, -math.inf)
        above = number - int(floor)
    if -_EXACT < floor < _EXACT:
        return _NUMBER + _double_key(floor)
    return _NUMBER + _double_key(floor) + _as_rest(above)


def _double_key(double: float) -> bytes:
    bits: int = _as_bits.unpack(_as_double(double + 0.0))[0]  # adding zero turns -0.0 into 0.0
    return _as_bits.pack(~bits & _ALL if bits & _SIGN else bits | _SIGN)


def _escaped(raw: bytes) -> bytes:
    """Ends in 00 01; a zero byte inside becomes 00 ff, so that the end sorts before any continuation."""
    return raw.replace(b"\x00", b"\x00\xff") + b"\x00\x01"


def _id_key(segment: str) -> bytes:
    if segment.startswith("__id") and (numeric := _NUMERIC.fullmatch(segment)):
        number = int(numeric[1])
        if -_SIGN <= number < _SIGN:
            return _NUMERIC_ID + _as_bits.pack(number + _SIGN)
    return _STRING_ID + _escaped(segment.encode())
