"""The single-field index entries that Firestore keeps for every document without being asked."""

from collections.abc import Iterator
from typing import Final, Literal, NamedTuple, TypeAlias

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import render_name
from deploy.local.firestore.limits import name_size
from deploy.local.firestore.values import Fields, index_key

IndexKind: TypeAlias = Literal["value", "contains"]

MAX_ENTRIES: Final = 40_000
"""Index entries per document (quota page)."""
MAX_ENTRY: Final = 7680
"""Bytes of one index entry, 7.5 KiB (quota page)."""
_ENTRY_OVERHEAD: Final = 32


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


def bounded_index_entries(path: str, fields: Fields) -> list[IndexEntry]:
    """All entries of a document, by its relative path; refuses one that has more, or larger ones, than production."""
    entries = list(index_entries(fields))
    if len(entries) > MAX_ENTRIES:
        raise InvalidArgument(
            f"too many index entries for entity: {len(entries):,} of at most {MAX_ENTRIES:,}. "
            "Shorten its arrays and maps."
        )
    _check_sizes(path, entries)
    return entries


def _check_sizes(path: str, entries: list[IndexEntry]) -> None:
    """The names of the document and its parent, the field's name, the value and 32 bytes are one entry.

    So says https://firebase.google.com/docs/firestore/storage-size of single-field indexes with collection scope; the
    value is taken to be as long as its key, which is some bytes longer.
    """
    parent = path.rpartition("/")[0].rpartition("/")[0]
    room = MAX_ENTRY - name_size(path) - (name_size(parent) if parent else 0) - _ENTRY_OVERHEAD
    for entry in entries:
        if len(entry.field.encode()) + len(entry.key) > room:
            raise InvalidArgument(
                f"index entry too large for property {entry.field[:40]}: the names of the document and the field, and "
                f"the value, make more than {MAX_ENTRY:,} bytes. Shorten them."
            )
