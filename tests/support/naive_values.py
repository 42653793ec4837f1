"""Firestore's order of values, said a second time, without keys: what ``order_key`` is tested against."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from deploy.local.firestore.values import GeoPoint, Reference, Timestamp, Value, Vector

INT64 = st.integers(-(2**63), 2**63 - 1)
NEAR_THE_EDGE_OF_DOUBLES = st.builds(
    lambda exponent, offset, sign: max(-(2**63), min(2**63 - 1, sign * 2**exponent + offset)),
    st.integers(52, 63),
    st.integers(-3, 3),
    st.sampled_from((-1, 1)),
)
NUMBERS = st.one_of(
    st.integers(-3, 3), INT64, NEAR_THE_EDGE_OF_DOUBLES, NEAR_THE_EDGE_OF_DOUBLES.map(float), st.floats(width=64)
)
TEXTS = st.text(alphabet=st.sampled_from("ab\0\x01é\U0001f600"), max_size=3)
NAMES = st.lists(st.sampled_from(("a", "b", "__id-5__", "__id10__", "\x01", "é")), min_size=2, max_size=2).map(
    lambda ids: Reference("projects/p/databases/(default)/documents/" + "/".join(ids))
)
SCALARS: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.booleans(),
    NUMBERS,
    st.builds(Timestamp, st.integers(-(10**15), 10**15)),
    TEXTS,
    st.binary(max_size=3),
    NAMES,
    st.builds(GeoPoint, st.sampled_from((-90.0, -0.0, 0.0, 12.5)), st.sampled_from((-180.0, 0.0, 77.1))),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=3).map(lambda values: Vector(tuple(values))),
)
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS.filter(bool), inner, max_size=3)),
    max_leaves=6,
)

_RANKS: dict[type, int] = {
    type(None): 0,
    bool: 1,
    int: 2,
    float: 2,
    Timestamp: 3,
    str: 4,
    bytes: 5,
    Reference: 6,
    GeoPoint: 7,
    list: 8,
    Vector: 9,
    dict: 10,
}


def rank(value: Value) -> int:
    """The place of the value's type; types of the same rank compare with each other."""
    return _RANKS[type(value)]


def compare(one: Value, other: Value) -> int:
    """-1, 0 or 1."""
    if rank(one) != rank(other):
        return sign(rank(one), rank(other))
    for mine, theirs in zip(parts(one), parts(other), strict=False):
        found = compare(mine, theirs) if isinstance(mine, tuple(_RANKS)) else 0
        if found:
            return found
    return leaf(one, other)


def parts(value: Value) -> Iterator[Value]:
    match value:
        case list():
            yield from value
        case dict():
            for name in sorted(value, key=str.encode):
                yield name
                yield value[name]
        case Vector(values):
            yield len(values)
            yield from values
        case GeoPoint(latitude, longitude):
            yield latitude
            yield longitude


def leaf(one: Value, other: Value) -> int:
    """Two values whose parts are equal as far as both have any."""
    return sign(scalar(one), scalar(other))


def scalar(value: Value) -> Any:  # noqa: PLR0911  one return per type: this is a table
    """Something that Python compares as Firestore compares what is not made of parts, and lists by their length."""
    match value:
        case str():
            return value.encode()
        case bool():
            return value
        case int() | float():
            return number(value)
        case Timestamp(micros):
            return micros
        case Reference(name):
            return segments(name)
        case list() | dict():
            return len(value)
    return value if isinstance(value, bytes) else 0


def number(value: float) -> tuple[int, Fraction]:
    if math.isnan(value):
        return 0, Fraction(0)
    if math.isinf(value):
        return (1 if value < 0 else 3), Fraction(0)
    return 2, Fraction(value)


def segments(path: str) -> list[tuple[int, int, bytes]]:
    """Ids like ``__id7__`` are numbers and come first."""
    return [
        (0, int(segment[4:-2]), b"") if segment.startswith("__id") else (1, 0, segment.encode())
        for segment in path.split("/")
    ]


def sign(one: Any, other: Any) -> int:
    return int(one > other) - int(one < other)
