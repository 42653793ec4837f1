"""Compares every user's summary with their ragers, and puts right what differs.

Two ordered streams, the ragers by holder and the summaries by id, are merged like a zip, so memory holds two pages
whatever the event's size. Both are read as of one time, which production keeps for an hour, so that no scan in between
makes or hides a difference. It may be outdated once it is found: it is looked at again before it is reported, and
repaired by an operation that reads that user's documents under its transaction.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Final

from services.scanning.repair import Moved, Observed, Repair, agree, expected, said
from shared.documents import Rager, ReconcileRun, RepairedSummary, Summary, UserSums
from shared.errors import Unavailable
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query
from shared.operations import Decision, Documents, Put

PAGE: Final = 1000
SAMPLES: Final = 20
_AT_ONCE: Final = 40
_LOOKS: Final = 10

_HOLDER: Final = Rager.stored_name("user_id")
_ATTRIBUTES: Final = ("user_id", "ticket_quantity", "used_count", "refunded_at", "transferred_to", "transferred_at")
_FIELDS: Final = tuple(Rager.stored_name(attribute) for attribute in _ATTRIBUTES)

Progress = Callable[[int], None]
"""Told of ragers that have been read."""


@dataclass(frozen=True, slots=True)
class RecordRun:
    run: ReconcileRun

    @property
    def lane(self) -> str:
        return self.run.path

    def reads(self) -> Sequence[str]:
        return (self.run.path,)

    def decide(self, docs: Documents) -> Decision[None]:
        return Decision(None, () if docs[self.run.path].exists else (Put(self.run.path, self.run.fields()),))


@dataclass(slots=True)
class _Tally:
    processed: int = 0
    updated: int = 0
    samples: list[RepairedSummary] = field(default_factory=list)

    def add(self, repaired: RepairedSummary | None) -> None:
        if repaired is not None:
            self.updated += 1
            if len(self.samples) < SAMPLES:
                self.samples.append(repaired)

    def run(self, event_id: str, started: datetime) -> ReconcileRun:
        return ReconcileRun(
            paths.reconcile_run(event_id, f"{started:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"),
            event_id=event_id,
            processed_users=self.processed,
            updated_users=self.updated,
            samples=tuple(self.samples),
            started_at=started,
            finished_at=datetime.now(UTC),
        )


async def reconcile(
    database: Database,
    committer: Committer,
    event_id: str,
    *,
    dry_run: bool,
    scheduled: bool = False,
    progress: Progress = lambda _: None,
    page_size: int = PAGE,
) -> ReconcileRun:
    """The run as it is recorded; a dry run is not, and writes nothing at all."""
    started, clock, tally = datetime.now(UTC), time.perf_counter(), _Tally()
    suspects: list[str] = []
    async for compared in _compared(database, event_id, progress, page_size):
        tally.processed += 1
        if not agree(compared):
            suspects.append(compared.user_id)
        if len(suspects) == _AT_ONCE:
            await _attend(database, committer, event_id, suspects, tally, dry_run=dry_run)
            suspects.clear()
    await _attend(database, committer, event_id, suspects, tally, dry_run=dry_run)
    run = replace(
        tally.run(event_id, started),
        scheduled=scheduled,
        duration_ms=round((time.perf_counter() - clock) * 1000),
    )
    if not dry_run:
        await committer.run(RecordRun(run))
    return run


async def _attend(
    database: Database, committer: Committer, event_id: str, suspects: Sequence[str], tally: _Tally, *, dry_run: bool
) -> None:
    looks = (
        look(database, event_id, user_id) if dry_run else repair(database, committer, event_id, user_id)
        for user_id in suspects
    )
    for repaired in await asyncio.gather(*looks):
        tally.add(repaired)


async def repair(database: Database, committer: Committer, event_id: str, user_id: str) -> RepairedSummary | None:
    for _ in range(_LOOKS):
        observed = await _observe(database, event_id, user_id)
        outcome = await committer.run(Repair(event_id, observed, datetime.now(UTC)))
        if not isinstance(outcome, Moved):
            return outcome
    raise Unavailable(f"The summary of one user of {event_id} changes all the time. Please reconcile again later.")


async def look(database: Database, event_id: str, user_id: str) -> RepairedSummary | None:
    """As ``repair``, without a write; None also where the summary keeps changing, which says that it is alive."""
    for _ in range(_LOOKS):
        observed = await _observe(database, event_id, user_id)
        read = Repair(event_id, observed, datetime.now(UTC))
        documents = await database.get_all(read.reads())
        outcome = read.decide(Documents(documents, documents)).result
        if not isinstance(outcome, Moved):
            return outcome
    return None


async def _observe(database: Database, event_id: str, user_id: str) -> Observed:
    summary = await database.get(paths.summary(event_id, user_id))
    query = Query(paths.ragers(event_id), where=[(_HOLDER, "==", user_id)], select=(_HOLDER,))
    return Observed(user_id, summary, [document.id for document in await database.query(query)])


async def _compared(database: Database, event_id: str, progress: Progress, size: int) -> AsyncIterator[RepairedSummary]:
    """Every user with ragers or a summary, with what the summary says and should say, in the order of their ids."""
    now = await database.now()
    sums, summaries = _sums(database, event_id, now, progress, size), _summaries(database, event_id, now, size)
    user, summary = await anext(sums, None), await anext(summaries, None)
    while user or summary:
        user_id = min(key for key in (user and user[0], summary and summary.id) if key)
        mine = user if user and user[0] == user_id else None
        theirs = summary if summary and summary.id == user_id else None
        yield RepairedSummary(user_id, said(theirs), mine[1] if mine else UserSums())
        user = await anext(sums, None) if mine else user
        summary = await anext(summaries, None) if theirs else summary


async def _sums(
    database: Database, event_id: str, now: datetime, progress: Progress, size: int
) -> AsyncIterator[tuple[str, UserSums]]:
    """What each user's summary should say. Guests, who have none, are passed over."""
    ragers = Query(paths.ragers(event_id), where=[(_HOLDER, ">", "")], order_by=(_HOLDER,), select=_FIELDS)
    user_id, right = "", UserSums()
    async for page in database.pages(ragers, size, read_time=now):
        progress(len(page))
        for rager in filter(None, map(Rager.of, page)):
            if rager.user_id != user_id:
                if paths.is_document_id(user_id):
                    yield user_id, right
                user_id, right = rager.user_id or "", UserSums()
            more = expected(user_id, [rager])
            right = UserSums(right.total_tickets + more.total_tickets, right.used_count + more.used_count)
    if paths.is_document_id(user_id):
        yield user_id, right


async def _summaries(database: Database, event_id: str, now: datetime, size: int) -> AsyncIterator[Summary]:
    async for page in database.pages(Query(paths.summaries(event_id)), size, read_time=now):
        for summary in filter(None, map(Summary.of, page)):
            yield summary
