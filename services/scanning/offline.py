"""Offline scans, uploaded when the network is back: each with its own scan id and time, and a verdict each."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from services.scanning import door
from services.scanning.asking import Ask, Method, Ticket
from services.scanning.lookup import by_tokens, holders, named
from services.scanning.verdict import Answer
from shared.errors import Refusal
from shared.firestore.client import Database
from shared.firestore.committer import Committer

_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Party:
    """One item of an upload with the ticket it names; a user's tickets are looked up when it is its turn."""

    ask: Ask
    ticket: Ticket | None

    @property
    def holder(self) -> str:
        """Whose tickets it may consume: items with different ones do not touch each other's documents."""
        if self.ask.method == "user":
            return f"user:{self.ask.key}"
        if self.ticket is None:
            return f"unknown:{self.ask.key}"
        return f"user:{self.ticket.user_id}" if self.ticket.user_id else f"rager:{self.ticket.named}"


Measure = Callable[[Method], AbstractContextManager[object]]


async def upload(
    database: Database, committer: Committer, asks: Sequence[Ask], measure: Measure
) -> Sequence[Answer | Refusal]:
    """The answers in the order of the asks. Each holder's scans run one after the other, in the order of their times;
    the holders side by side, so that they share commits.
    """
    parties = await _parties(database, asks)
    answers: dict[int, Answer | Refusal] = {}
    free = asyncio.Semaphore(_AT_ONCE)

    async def work(queue: Sequence[int]) -> None:
        async with free:
            for place in queue:
                with measure(asks[place].method):
                    answers[place] = await _answer(database, committer, parties[place])

    async with asyncio.TaskGroup() as group:
        for queue in _queues(parties):
            group.create_task(work(queue))
    return [answers[place] for place in range(len(asks))]


def _queues(parties: Sequence[Party]) -> Collection[Sequence[int]]:
    """Places by holder, in the order of their times and else as sent.

    A scan id that was used before waits for its first use, which is to have it: for another ticket it is refused.
    """
    queues: dict[str, list[int]] = defaultdict(list)
    first_use: dict[str, str] = {}
    for place in sorted(range(len(parties)), key=lambda place: parties[place].ask.at):
        party = parties[place]
        queues[first_use.setdefault(party.ask.scan_id, party.holder)].append(place)
    return queues.values()


async def _answer(database: Database, committer: Committer, party: Party) -> Answer | Refusal:
    try:
        if party.ask.method == "user":
            return await door.scan(database, committer, party.ask)
        return await door.admit(database, committer, party.ask, party.ticket)
    except Refusal as refusal:  # this item's alone: the others have been scanned at the door all the same
        return refusal


async def _parties(database: Database, asks: Sequence[Ask]) -> Sequence[Party]:
    """Three reads for all of them, whatever their number."""
    tokens = await by_tokens(database, {ask.key for ask in asks if ask.method == "token"})
    batches = {ask.key: named(ask.event_id or "", ask.key, None) for ask in asks if ask.method == "rager"}
    held = dict(zip(batches, await holders(database, list(batches.values())), strict=True))
    tickets: Mapping[Method, Mapping[str, Ticket | None]] = {"token": tokens, "rager": held, "user": {}}
    return [Party(ask, tickets[ask.method].get(ask.key)) for ask in asks]
