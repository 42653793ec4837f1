"""Tickets as a sale leaves them, written straight into the database, and what must hold of them at any quiet moment."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from shared.documents import Event, Rager, Scan, Summary, TicketToken
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Delete, Merge, Put, Write
from shared.records import Record
from tests.support.shop import write

SOLD = datetime(2026, 3, 1, 12, tzinfo=UTC)
_AT_ONCE = 400


async def store(database: Database, *writes: Write) -> None:
    """Writes as another program would, whatever was there."""
    for start in range(0, len(writes), _AT_ONCE):
        await write(database, *writes[start : start + _AT_ONCE])


def put(record: Record) -> Put:
    return Put(record.path, record.fields())


@dataclass(frozen=True, slots=True)
class Tickets:
    """The tickets of one event."""

    database: Database
    event_id: str = "e1"

    async def sell(self, uid: str | None, quantity: int, rager_id: str, **changes: Any) -> Rager:
        """A batch with its token (``<rager>-token``) and its part of the summary; ``changes`` are the batch's."""
        rager = replace(
            Rager(paths.rager(self.event_id, rager_id)),
            user_id=uid,
            ticket_quantity=quantity,
            ticket_token=f"{rager_id}-token",
            purchase_date=SOLD,
            **changes,
        )
        await store(self.database, put(rager), put(self.mapping(rager)))
        if uid is not None:
            await self.summarise(uid)
        return rager

    def mapping(self, rager: Rager) -> TicketToken:
        return TicketToken(paths.ticket_token(rager.ticket_token or ""), self.event_id, rager.id, SOLD, rager.user_id)

    async def summarise(self, uid: str) -> None:
        ragers = [rager for rager in await self.ragers() if rager.user_id == uid and rager.counts]
        path = paths.summary(self.event_id, uid)
        total, used = sum(r.ticket_quantity for r in ragers), sum(r.used_count for r in ragers)
        await store(self.database, put(Summary(path, total, used)))

    async def change(self, rager_id: str, **changes: Any) -> None:
        await store(self.database, Merge(paths.rager(self.event_id, rager_id), Rager.patch(**changes)))

    async def forget_mapping(self, token: str) -> None:
        await store(self.database, Delete(paths.ticket_token(token)))

    async def rager(self, rager_id: str) -> Rager:
        rager = Rager.of(await self.database.get(paths.rager(self.event_id, rager_id)))
        assert rager is not None
        return rager

    async def ragers(self) -> list[Rager]:
        return [r async for page in self._all(paths.ragers(self.event_id)) for d in page if (r := Rager.of(d))]

    async def summary(self, uid: str) -> Summary | None:
        return Summary.of(await self.database.get(paths.summary(self.event_id, uid)))

    async def summaries(self) -> list[Summary]:
        return [s async for page in self._all(paths.summaries(self.event_id)) for d in page if (s := Summary.of(d))]

    async def scan(self, scan_id: str) -> Scan | None:
        return Scan.of(await self.database.get(paths.scan(self.event_id, scan_id)))

    async def scans(self) -> list[Scan]:
        return [s async for page in self._all(f"events/{self.event_id}/scans") for d in page if (s := Scan.of(d))]

    async def event(self) -> Event | None:
        return Event.of(await self.database.get(paths.event(self.event_id)))

    def _all(self, collection: str) -> Any:
        return self.database.pages(Query(collection), 300)

    async def check(self) -> int:
        """The invariants of the door; returns how many tickets are admitted."""
        ragers, scans = await self.ragers(), await self.scans()
        admitted = sum(scan.count for scan in scans if scan.result == "admitted" and scan.undone_at is None)
        assert admitted == sum(rager.used_count for rager in ragers), "live scan records are the used tickets"
        for rager in ragers:
            assert 0 <= rager.used_count <= rager.ticket_quantity
            assert rager.active == (rager.counts and rager.left > 0) or not rager.active
        check_summaries(ragers, await self.summaries())
        return admitted


def check_summaries(ragers: Iterable[Rager], summaries: Iterable[Summary]) -> None:
    expected: dict[str, tuple[int, int]] = {}
    for rager in ragers:
        if rager.user_id is not None and rager.counts:
            total, used = expected.get(rager.user_id, (0, 0))
            expected[rager.user_id] = total + rager.ticket_quantity, used + rager.used_count
    found = {summary.id: (summary.total_tickets, summary.used_count) for summary in summaries}
    assert {uid: sums for uid, sums in found.items() if sums != (0, 0)} == expected, "summaries are the sums of ragers"
