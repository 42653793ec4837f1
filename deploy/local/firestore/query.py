"""A query as plain values, and what it is run over.

``query_wire`` makes a ``Query`` from a StructuredQuery, ``query_rules`` refuses what production refuses, ``plan``
chooses how to find the documents, and ``run`` finds them in a ``View``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol, TypeAlias

from deploy.local.firestore.entries import IndexKind
from deploy.local.firestore.field_paths import FieldPath
from deploy.local.firestore.values import Fields, Value

NAME_FIELD: Final[FieldPath] = ("__name__",)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which documents are meant: those of a collection, or of all collections, under a parent.

    ``parent`` is a relative document path or "" for the root; ``collection_id`` None means any collection;
    ``all_descendants`` reaches into subcollections at every depth below the parent.
    """

    parent: str
    collection_id: str | None
    all_descendants: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """The keys with ``lower <= key < upper``; ``upper`` None is unbounded. ``key + b"\\0"`` is the key after it."""

    lower: bytes = b""
    upper: bytes | None = None


class Document(Protocol):
    """``path`` is relative, ``events/e1``."""

    @property
    def path(self) -> str: ...
    @property
    def fields(self) -> Fields: ...


class View(Protocol):
    """One consistent state of a database. Iterators are lazy: what is not taken is not read."""

    def scan(self, scope: Scope, names: Span, *, reverse: bool) -> Iterator[Document]:
        """The documents in the order of ``path_key(path)``, which lies in ``names``."""

    def scan_index(
        self, scope: Scope, field: str, kind: IndexKind, keys: Span, names: Span, *, reverse: bool
    ) -> Iterator[Document]:
        """The documents with an index entry whose key lies in ``keys``, in the order of (key, ``path_key(path)``).

        ``field`` is a rendered field path. A document with several entries in ``keys`` comes several times.
        Seeking to ``names`` is only expected where ``keys`` holds a single key, elsewhere it filters.
        """


class Op(Enum):
    EQUAL = "=="
    NOT_EQUAL = "!="
    LESS_THAN = "<"
    LESS_THAN_OR_EQUAL = "<="
    GREATER_THAN = ">"
    GREATER_THAN_OR_EQUAL = ">="
    ARRAY_CONTAINS = "array-contains"
    ARRAY_CONTAINS_ANY = "array-contains-any"
    IN = "in"
    NOT_IN = "not-in"


INEQUALITIES: Final = frozenset(
    {
        Op.NOT_EQUAL,
        Op.LESS_THAN,
        Op.LESS_THAN_OR_EQUAL,
        Op.GREATER_THAN,
        Op.GREATER_THAN_OR_EQUAL,
        Op.NOT_IN,
    }
)
"""The operators that imply an order by their field."""


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """For IN, NOT_IN and ARRAY_CONTAINS_ANY the value is a list. Filters on the name hold References."""

    field: FieldPath
    op: Op
    value: Value


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Filter", ...]


Filter: TypeAlias = FieldFilter | AllOf | AnyOf


@dataclass(frozen=True, slots=True)
class Order:
    field: FieldPath
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in the order: values for its first fields. ``before`` is just before it, otherwise just after."""

    values: tuple[Value, ...]
    before: bool


@dataclass(frozen=True, slots=True)
class Query:
    """``orders`` is complete: explicit, then implied by inequalities, then the name.

    ``explicit_orders`` says how many of them the client asked for. ``select`` None is the whole document.
    """

    scope: Scope
    where: Filter | None
    orders: tuple[Order, ...]
    explicit_orders: int
    start: Cursor | None
    end: Cursor | None
    offset: int
    limit: int | None
    select: tuple[FieldPath, ...] | None
