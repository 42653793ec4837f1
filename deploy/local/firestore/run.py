"""Run a query over a view.

A walk whose documents come in the query's order streams, and what the caller does not take is not read. Where several
walks could answer, they take turns, a document each, and the first to have the whole answer wins: the cost is at most
the best walk's times their number, without statistics.
"""

import heapq
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import TypeAlias

from deploy.local.firestore.conditions import Conjunction, conjunctions, in_span
from deploy.local.firestore.ordering import sort_key, window
from deploy.local.firestore.plan import Walk, walks
from deploy.local.firestore.query import Document, Query, Span, View

Keyed: TypeAlias = tuple[bytes, Document]
"""A document behind its sort key, which is empty where nobody needs it."""


def run_query(query: Query, view: View) -> Iterator[Document]:
    """The documents that match, in order, lazily."""
    stop = None if query.limit is None else query.offset + query.limit
    return islice(_matching(query, view, stop), query.offset, stop)


def _matching(query: Query, view: View, wanted: int | None) -> Iterator[Document]:
    cut = window(query.orders, query.start, query.end)
    terms = conjunctions(query.where)
    if len(terms) == 1:
        return map(itemgetter(1), _answers(_Term(query, view, cut, keyed=False), terms[0], wanted))
    term = _Term(query, view, cut, keyed=True)
    return _distinct(heapq.merge(*(_answers(term, each, wanted) for each in terms), key=itemgetter(0)))


def _distinct(merged: Iterator[Keyed]) -> Iterator[Document]:
    """A document that satisfies several terms comes several times in a row: sort keys end in the name."""
    last = None
    for key, document in merged:
        if key != last:
            yield document
        last = key


class _Term:
    """What all terms of one run have in common."""

    __slots__ = ("cut", "keyed", "query", "view")

    def __init__(self, query: Query, view: View, cut: Span | None, *, keyed: bool) -> None:
        self.query, self.view, self.cut, self.keyed = query, view, cut, keyed

    def examined(self, walk: Walk) -> Iterator[Keyed | None]:
        """One item for every document the walk touches: None where it does not match."""
        with_key = self.keyed or self.cut is not None or not walk.ordered
        for document in walk.documents(self.view, self.query.scope):
            if not all(condition.holds(document) for condition in walk.residual):
                yield None
                continue
            key = sort_key(document, self.query.orders) if with_key else b""
            inside = key is not None and (self.cut is None or in_span(key, self.cut))
            yield (key, document) if inside and key is not None else None


def _answers(term: _Term, conditions: Conjunction, wanted: int | None) -> Iterator[Keyed]:
    """The documents of one conjunction, in order; at least the first ``wanted`` of them."""
    candidates = walks(term.query, conditions)
    if len(candidates) > 1:
        return iter(_race([_Runner(walk.ordered, term.examined(walk), wanted) for walk in candidates]))
    found = (item for item in term.examined(candidates[0]) if item is not None)
    return found if candidates[0].ordered else iter(_sorted(found, wanted))


class _Runner:
    """One walk in a race."""

    __slots__ = ("_examined", "_found", "_ordered", "_wanted")

    def __init__(self, ordered: bool, examined: Iterator[Keyed | None], wanted: int | None) -> None:
        self._ordered, self._examined, self._wanted = ordered, examined, wanted
        self._found: list[Keyed] = []

    def step(self) -> list[Keyed] | None:
        """Examine one more document; the answer once it is complete."""
        if self._ordered and self._wanted is not None and len(self._found) >= self._wanted:
            return self._found
        try:
            item = next(self._examined)
        except StopIteration:
            return self._found if self._ordered else _sorted(iter(self._found), self._wanted)
        if item is not None:
            self._found.append(item)
        return None


def _race(runners: list[_Runner]) -> list[Keyed]:
    while True:
        for runner in runners:
            answer = runner.step()
            if answer is not None:
                return answer


def _sorted(found: Iterator[Keyed], wanted: int | None) -> list[Keyed]:
    if wanted is None:
        return sorted(found, key=itemgetter(0))
    return heapq.nsmallest(wanted, found, key=itemgetter(0))
