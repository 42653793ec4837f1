"""Summaries against ragers."""

import asyncio
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from deploy.local.firestore.server import EmbeddedFirestore
from services.scanning import reconcile
from shared.documents import Rager, ReconcileRun, Summary, UserSums
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.metrics import CommitterMetrics
from shared.operations import Delete, Merge
from tests.support.crowd import crowd, import_records, served
from tests.support.interrupted import Interrupted
from tests.support.services import Service
from tests.support.tickets import SOLD, Tickets, put, store

RUN = {"eventId": "e1", "dryRun": False}
DRY = {"eventId": "e1", "dryRun": True}


async def planted(tickets: Tickets) -> None:
    """One right summary and every kind of wrong one."""
    await tickets.sell("anna", 2, "r1", used_count=1)
    await tickets.sell("ben", 3, "r2")
    await tickets.sell("ben", 1, "r3", used_count=1)
    await tickets.sell("cleo", 2, "r4")
    await tickets.sell("cleo", 2, "r5", refunded_at=SOLD)
    await tickets.sell("dora", 1, "r6")
    await tickets.sell(None, 5, "r7", guest_email="guest@example.com")
    wrong = (
        Merge(paths.summary("e1", "ben"), Summary.patch(total_tickets=9)),
        Merge(paths.summary("e1", "cleo"), Summary.patch(total_tickets=4)),
        Delete(paths.summary("e1", "dora")),
        put(Summary(paths.summary("e1", "gone"), 3, 1)),
        put(Summary(paths.summary("e1", "zero"), 0, 0)),
    )
    await store(tickets.database, *wrong)


async def test_a_dry_run_finds_the_drift_and_writes_nothing(
    door: Service, tickets: Tickets, firestore: EmbeddedFirestore
) -> None:
    await planted(tickets)
    before = firestore.faults.calls.copy()
    reply = await door.post("/reconcile-event-users", DRY)
    assert "Commit" not in firestore.faults.calls - before
    assert (reply.body["processedUsers"], reply.body["updatedUsers"], reply.body["runId"]) == (6, 4, None)
    assert reply.body["samples"] == [
        {"uid": "ben", "prev": {"totalTickets": 9, "usedCount": 1}, "next": {"totalTickets": 4, "usedCount": 1}},
        {"uid": "cleo", "prev": {"totalTickets": 4, "usedCount": 0}, "next": {"totalTickets": 2, "usedCount": 0}},
        {"uid": "dora", "prev": None, "next": {"totalTickets": 1, "usedCount": 0}},
        {"uid": "gone", "prev": {"totalTickets": 3, "usedCount": 1}, "next": {"totalTickets": 0, "usedCount": 0}},
    ]
    assert await tickets.summary("dora") is None


async def test_a_real_run_repairs_what_the_dry_run_found_and_is_recorded(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await planted(tickets)
    dry, real = await door.post("/reconcile-event-users", DRY), await door.post("/reconcile-event-users", RUN)
    assert real.body["samples"] == dry.body["samples"]
    for uid, total, used in (("anna", 2, 1), ("ben", 4, 1), ("cleo", 2, 0), ("dora", 1, 0), ("gone", 0, 0)):
        summary = await tickets.summary(uid)
        assert summary is not None
        assert (summary.total_tickets, summary.used_count) == (total, used)
    run = ReconcileRun.of(await database.get(paths.reconcile_run("e1", real.body["runId"])))
    assert run is not None
    assert (run.processed_users, run.updated_users, len(run.samples), run.scheduled) == (6, 4, 4, False)
    assert run.samples[0].next.total_tickets == 4
    again = await door.post("/reconcile-event-users", RUN)
    assert again.body["updatedUsers"] == 0
    assert await door.metric("reconcile_drifted_users_total", repaired="yes") == 4


async def test_users_spread_over_pages_are_summed_once(tickets: Tickets, committer: Committer) -> None:
    for n in range(20):
        await tickets.sell(f"u{n % 6}", 1, f"r{n:02}")
    run = await reconcile.reconcile(tickets.database, committer, "e1", dry_run=True, page_size=3)
    assert (run.processed_users, run.updated_users) == (6, 0)


async def test_scans_during_a_run_are_not_lost(door: Service, tickets: Tickets) -> None:
    for n in range(8):
        await tickets.sell(f"u{n}", 20, f"r{n}")
        await store(tickets.database, Merge(paths.summary("e1", f"u{n}"), Summary.patch(total_tickets=7, used_count=3)))
    scans = [door.post("/scan-ticket", {"token": f"r{n % 8}-token"}) for n in range(120)]
    runs = [door.post("/reconcile-event-users", RUN) for _ in range(6)]
    replies = await asyncio.gather(*scans, *runs)
    assert {reply.status for reply in replies} == {200}
    assert await tickets.check() == 120


async def test_a_scan_during_a_run_does_not_hide_a_difference(
    tickets: Tickets, database: Database, interrupted: Interrupted, committer: Committer
) -> None:
    await tickets.sell("anna", 5, "r1", used_count=1)
    await store(database, Merge(paths.summary("e1", "anna"), Summary.patch(used_count=0)))

    async def scan() -> None:
        seen = Merge(paths.summary("e1", "anna"), Summary.patch(used_count=1))
        await store(database, Merge(paths.rager("e1", "r1"), Rager.patch(used_count=2)), seen)

    interrupted.happens = scan
    run = await reconcile.reconcile(interrupted, committer, "e1", dry_run=False)
    assert [(sample.prev, sample.next) for sample in run.samples] == [(UserSums(5, 1), UserSums(5, 2))]
    assert interrupted.happens is None


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the process's memory is read as Linux tells it")
async def test_a_hundred_thousand_ragers_are_reconciled_in_bounded_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await import_records(tmp_path, "demo-test", crowd(ragers=100_000, users=10_000))
    async with served(tmp_path) as host, connected(host, monkeypatch) as (database, committer):
        await store(database, Merge(paths.summary("e1", "u00077"), Summary.patch(used_count=9)))
        memory: list[int] = []
        run = await reconcile.reconcile(
            database, committer, "e1", dry_run=False, progress=lambda _: memory.append(resident())
        )
        again = await reconcile.look(database, "e1", "u00077")
    grown = (max(memory) - memory[0]) / 2**20
    print(
        f"100,000 ragers of 10,000 users: {run.duration_ms / 1000:.1f} s, {grown:.1f} MiB more than at the first page"
    )
    assert (run.processed_users, [sample.user_id for sample in run.samples]) == (10_000, ["u00077"])
    assert again is None
    assert grown < 30, "all of the ragers would be 150 MiB"


def resident() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@asynccontextmanager
async def connected(host: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Database, Committer]]:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", host)
    database = Database.connect("demo-test")
    committer = Committer(database, CommitterMetrics(CollectorRegistry()))
    yield database, committer
    await committer.close()
    await database.close()
