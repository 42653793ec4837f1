"""Pessimistic locks: shared for what a transaction read, exclusive for what a commit writes, granted in fair order.

A collection is locked like a document, so that a query's answer cannot change under its transaction: a query takes
its collection SHARED, whoever writes a document in it takes it WRITES_BELOW.

Two transactions that both read a document and then both want to write it can only deadlock; the younger is aborted at
once. Where that has just happened the document is contended: for the next moments a transaction's read of it is also
RESERVED, which admits one at a time, so that contenders queue instead of aborting each other.

One event loop, no threads. Keys are resource names.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from deploy.local.firestore.errors import Aborted

Mode: TypeAlias = int
"""A set of the bits below; plain integers, because every read and write goes through here."""

SHARED: Final = 1
RESERVED: Final = 2
WRITES_BELOW: Final = 4
EXCLUSIVE: Final = 8

_RIVALS: Final = {
    SHARED: WRITES_BELOW | EXCLUSIVE,
    RESERVED: RESERVED | EXCLUSIVE,
    WRITES_BELOW: SHARED | EXCLUSIVE,
    EXCLUSIVE: SHARED | RESERVED | WRITES_BELOW | EXCLUSIVE,
}


def _rivals(mode: Mode) -> Mode:
    found = 0
    for bit, rivals in _RIVALS.items():
        if mode & bit:
            found |= rivals
    return found


_CONFLICTS: Final = tuple(_rivals(mode) for mode in range(16))
_CONTENDED_SECONDS: Final = 2.0
_CONTENDED_KEYS: Final = 10_000

TOO_MUCH_CONTENTION: Final = "Too much contention on these documents. Please try again."  # production's own sentence


@dataclass(slots=True, eq=False)
class Owner:
    """Who holds locks: a transaction, or a single commit without one, which is never sacrificed to a deadlock.

    The lower ``age``, the older; the retry of a transaction keeps the age of the first attempt.
    """

    age: int
    transaction: bool = True
    aborted: bool = False
    held: dict[str, Mode] = field(default_factory=dict)
    waits: "set[_Wait]" = field(default_factory=set)


@dataclass(slots=True, eq=False)
class _Wait:
    owner: Owner
    key: str
    mode: Mode
    granted: asyncio.Future[None]


@dataclass(slots=True, eq=False)
class _Lock:
    holders: dict[Owner, Mode] = field(default_factory=dict)
    queue: list[_Wait] = field(default_factory=list)

    def rivals(self, owner: Owner, mode: Mode, ahead: Iterable[_Wait]) -> Iterator[Owner]:
        """Those who must let go, or be served, before the owner can have the mode."""
        conflicts = _CONFLICTS[mode]
        for holder, held in self.holders.items():
            if held & conflicts and holder is not owner:
                yield holder
        for wait in ahead:
            if wait.mode & conflicts and wait.owner is not owner:
                yield wait.owner


class Locks:
    """``patience`` is how long one wait may last, in seconds, before it is answered with ABORTED."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._locks: dict[str, _Lock] = {}
        self._contended: dict[str, float] = {}

    def mode_for_read(self, key: str) -> Mode:
        until = self._contended.get(key)
        if until is None:
            return SHARED
        if until < asyncio.get_running_loop().time():
            del self._contended[key]
            return SHARED
        return SHARED | RESERVED

    async def acquire(self, owner: Owner, wants: Iterable[tuple[str, Mode]]) -> None:
        """Take all, in the order of their keys; raises Aborted when the owner loses a deadlock or waits too long."""
        for key, mode in sorted(wants):
            if owner.aborted:
                raise Aborted(TOO_MUCH_CONTENTION)
            held = owner.held.get(key, 0)
            missing = mode & ~held
            if missing and not self._try(owner, key, held, missing):
                await self._wait(owner, key, missing)

    def release(self, owner: Owner) -> None:
        held, owner.held = owner.held, {}
        for key in held:
            lock = self._locks[key]
            del lock.holders[owner]
            self._serve(key, lock)

    def abort(self, owner: Owner) -> None:
        """Take everything from the owner and fail what it waits for."""
        owner.aborted = True
        for wait in list(owner.waits):
            self._leave(wait)
            if not wait.granted.done():
                wait.granted.set_exception(Aborted(TOO_MUCH_CONTENTION))
        self.release(owner)

    def _try(self, owner: Owner, key: str, held: Mode, mode: Mode) -> bool:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _Lock()
        elif any(lock.rivals(owner, mode, () if held else lock.queue)):
            return False
        lock.holders[owner] = owner.held[key] = held | mode
        return True

    async def _wait(self, owner: Owner, key: str, mode: Mode) -> None:
        loop = asyncio.get_running_loop()
        wait = _Wait(owner, key, mode, loop.create_future())
        self._enter(wait)
        timer = loop.call_later(self._patience, self._give_up, wait)
        try:
            self._break_deadlocks(wait)
            await wait.granted
        finally:
            timer.cancel()
            self._leave(wait)

    def _enter(self, wait: _Wait) -> None:
        """One who holds the key already goes before those who do not: they wait for it in any case."""
        queue = self._locks[wait.key].queue
        position = len(queue)
        if wait.key in wait.owner.held:
            position = sum(other.key in other.owner.held for other in queue)
        queue.insert(position, wait)
        wait.owner.waits.add(wait)
        if wait.mode & RESERVED:
            self._contend(wait.key)

    def _leave(self, wait: _Wait) -> None:
        wait.owner.waits.discard(wait)
        lock = self._locks.get(wait.key)
        if lock and wait in lock.queue:
            lock.queue.remove(wait)
            self._serve(wait.key, lock)

    def _serve(self, key: str, lock: _Lock) -> None:
        """Grant what can be granted, in order; nobody overtakes a rival who came first."""
        passed: list[_Wait] = []
        for wait in list(lock.queue):
            if wait.granted.done():
                continue
            if any(lock.rivals(wait.owner, wait.mode, passed)):
                passed.append(wait)
                continue
            lock.queue.remove(wait)
            lock.holders[wait.owner] = wait.owner.held[key] = lock.holders.get(wait.owner, 0) | wait.mode
            wait.granted.set_result(None)
        if not lock.holders and not lock.queue:
            del self._locks[key]

    def _give_up(self, wait: _Wait) -> None:
        if not wait.granted.done():
            wait.granted.set_exception(Aborted(f"{TOO_MUCH_CONTENTION} (waited {self._patience:g} s)"))

    def _break_deadlocks(self, wait: _Wait) -> None:
        while not wait.granted.done() and (cycle := self._cycle(wait.owner)):
            victims = [owner for owner in cycle if owner.transaction] or cycle
            self._contend(wait.key)
            self.abort(max(victims, key=lambda owner: owner.age))

    def _contend(self, key: str) -> None:
        if len(self._contended) >= _CONTENDED_KEYS:
            self._contended.clear()
        self._contended[key] = asyncio.get_running_loop().time() + _CONTENDED_SECONDS

    def _cycle(self, start: Owner) -> list[Owner]:
        """The owners of a circle of waits through ``start``; empty where there is none."""
        if not any(self._locks[key].queue for key in start.held):
            return []  # nobody waits for it
        trail: dict[Owner, Owner] = {}
        frontier = [start]
        while frontier:
            owner = frontier.pop()
            for rival in self._waits_for(owner):
                if rival is start:
                    return _trace(trail, owner, start)
                if rival not in trail:
                    trail[rival] = owner
                    frontier.append(rival)
        return []

    def _waits_for(self, owner: Owner) -> Iterator[Owner]:
        for wait in owner.waits:
            if not wait.granted.done():
                lock = self._locks[wait.key]
                yield from lock.rivals(owner, wait.mode, lock.queue[: lock.queue.index(wait)])


def _trace(trail: dict[Owner, Owner], owner: Owner, start: Owner) -> list[Owner]:
    cycle = [start]
    while owner is not start:
        cycle.append(owner)
        owner = trail[owner]
    return cycle
