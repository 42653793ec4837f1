"""The single-field index entries that Firestore keeps for every document without being asked."""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import render_name
from deploy.local.firestore.values import Fields, index_key

IndexKind: TypeAlias = Literal["value", "contains"]

MAX_ENTRIES: Final = 40_000
"""Index entries per document (quota page)."""


class IndexEntry(NamedTuple):  # made in tens per write, where a frozen dataclass costs three times as much
    """``field`` is a rendered field path; a ``contains`` entry holds one element of an array."""

    field: str
    kind: IndexKind
    key: bytes


def index_entries(fields: Fields, prefix: str = "") -> Iterator[IndexEntry]:
    """Every field and every field of its maps by value; every distinct element of its arrays."""
    for name, value in fields.items():
        field = prefix + render_name(name)
        yield IndexEntry(field, "value", index_key(value))
        if isinstance(value, list):
            for key in {index_key(element) for element in value}:
                yield IndexEntry(field, "contains", key)
        elif isinstance(value, dict):
            yield from index_entries(value, field + ".")


def bounded_index_entries(fields: Fields) -> list[IndexEntry]:
    """All entries of a document; refuses one that has more than production stores."""
    entries = list(index_entries(fields))
    if len(entries) > MAX_ENTRIES:
        raise InvalidArgument(
            f"too many index entries for entity: {len(entries):,} of at most {MAX_ENTRIES:,}. "
            "Shorten its arrays and maps."
        )
    return entries
