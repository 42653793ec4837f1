"""Whether concurrent transactions can have happened one after the other.

The judge knows only what clients saw. Every write leaves its transaction's name, so a read tells whose write it saw.
From that follow, as in Adya's "Weak Consistency", the pairs that any serial order must keep: a write before those who
read it, before the next write to the same document, and a read before the write that replaced what it saw. Firestore
promises more: what ended before another began comes first. A cycle among these pairs is a broken promise.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Final

INITIAL: Final = ""
"""The writer of what was there before all transactions; also of nothing at all."""


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction that committed: ``reads`` by key whose write was seen, ``at`` when its writes took effect.

    ``began`` and ``ended`` are by the clients' common clock, ``at`` by the server's: only differences within one of
    them count.
    """

    name: str
    began: float
    ended: float
    reads: Mapping[str, str]
    writes: frozenset[str] = frozenset()
    at: float = 0.0


class NotSerializable(Exception):  # noqa: N818  a finding
    """No serial order exists; says which transactions stand in each other's way."""


def serial_order(history: Sequence[Committed]) -> list[Committed]:
    """An order in which the transactions, one at a time, see what they saw; raises NotSerializable."""
    known = {each.name: each for each in history}
    sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(known, ()))
    for before, after in constraints(history):
        if before not in {INITIAL, after}:
            sorter.add(after, before)
    try:
        order = [known[name] for name in sorter.static_order()]
    except CycleError as error:
        raise NotSerializable(" before ".join(reversed(error.args[1]))) from None
    replay(order)
    return order


def constraints(history: Sequence[Committed]) -> Iterator[tuple[str, str]]:
    """Pairs of names: the first comes before the second."""
    for key in {key for each in history for key in each.writes | each.reads.keys()}:
        writers = sorted((each for each in history if key in each.writes), key=lambda each: each.at)
        versions = [INITIAL, *(writer.name for writer in writers)]
        replaced_by = dict(pairwise(versions))
        yield from pairwise(versions)
        for each in history:
            if key in each.reads:
                seen = each.reads[key]
                yield seen, each.name
                if seen in replaced_by:
                    yield each.name, replaced_by[seen]
    for one in history:
        for other in history:
            if one.ended < other.began:
                yield one.name, other.name


def replay(order: Sequence[Committed]) -> None:
    """The proof: run one after the other, each reads what it read."""
    state: dict[str, str] = {}
    for each in order:
        for key, seen in each.reads.items():
            if state.get(key, INITIAL) != seen:
                raise NotSerializable(f"{each.name} read {key} of {seen}, not of {state.get(key, INITIAL)}")
        state |= dict.fromkeys(each.writes, each.name)
