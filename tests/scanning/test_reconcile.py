"""Summaries against ragers."""

import asyncio
import time
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest
from prometheus_client import CollectorRegistry

from deploy.local.firestore.server import EmbeddedFirestore
from services.scanning import reconcile
from shared.documents import Rager, ReconcileRun, Summary
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.metrics import CommitterMetrics
from shared.operations import Delete, Merge, Write
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


@pytest.fixture
async def committer(database: Database) -> AsyncIterator[Committer]:
    committer = Committer(database, CommitterMetrics(CollectorRegistry()))
    yield committer
    await committer.close()


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


def crowd(ragers: int, users: int) -> Iterator[Write]:
    """An event in which every user has as many batches, with right summaries but one."""
    for n in range(ragers):
        yield put(Rager(paths.rager("e1", f"r{n:06}"), user_id=f"u{n % users:05}", ticket_quantity=2, used_count=1))
    for n in range(users):
        each = ragers // users
        yield put(Summary(paths.summary("e1", f"u{n:05}"), 2 * each + (n == 77), each))


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_hundred_thousand_ragers_are_reconciled_in_bounded_memory(
    database: Database, committer: Committer
) -> None:
    await store(database, *crowd(ragers=100_000, users=20_000))
    started = time.perf_counter()
    dry = await reconcile.reconcile(database, committer, "e1", dry_run=True)
    seconds = time.perf_counter() - started
    assert (dry.processed_users, dry.updated_users, dry.samples[0].user_id) == (20_000, 1, "u00077")
    tracemalloc.start()
    real = await reconcile.reconcile(database, committer, "e1", dry_run=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"100,000 ragers, 20,000 users: {seconds:.1f} s, at most {peak / 2**20:.1f} MiB")
    assert real.updated_users == 1
    assert peak < 30 * 2**20
    assert (await reconcile.reconcile(database, committer, "e1", dry_run=True)).updated_users == 0
