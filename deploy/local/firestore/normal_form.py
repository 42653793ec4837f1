"""A filter taken apart: its field filters, and the terms of its disjunctive normal form."""

from collections.abc import Iterator
from itertools import chain, product
from math import prod
from typing import Final

from deploy.local.firestore.query import AllOf, AnyOf, FieldFilter, Filter, Op

EXPANDED: Final = frozenset({Op.IN, Op.ARRAY_CONTAINS_ANY})
"""The operators that stand for one alternative per listed value."""


def field_filters(where: Filter | None) -> Iterator[FieldFilter]:
    match where:
        case FieldFilter():
            yield where
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from field_filters(part)


def disjuncts(where: Filter | None) -> list[tuple[FieldFilter, ...]]:
    """The terms of which one must hold, with lists of values left whole. Check ``count_disjunctions`` first."""
    match where:
        case None:
            return [()]
        case FieldFilter():
            return [(where,)]
        case AnyOf(parts):
            return [term for part in parts for term in disjuncts(part)]
        case AllOf(parts):
            return [tuple(chain(*terms)) for terms in product(*map(disjuncts, parts))]


def count_disjunctions(where: Filter) -> int:
    """How many terms there are once every listed value is a term of its own."""
    match where:
        case AnyOf(parts):
            return sum(map(count_disjunctions, parts))
        case AllOf(parts):
            return prod(map(count_disjunctions, parts))
        case FieldFilter(_, op, value):
            return len(value) if op in EXPANDED and isinstance(value, list) else 1
