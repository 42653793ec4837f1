"""The audit: when it runs, that it runs once, and what it finds."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from deploy.local.firestore.server import EmbeddedFirestore
from services.scanning import audit
from services.scanning.app import create_app
from services.scanning.schedule import AskForAudit, next_run
from services.scanning.settings import ScanningSettings
from shared.documents import AdminAlert, Event, Job, ReconcileRun, Summary
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Merge
from shared.wiring import COMMITTER
from tests.support.services import Service, serving
from tests.support.tickets import Tickets, put, store

TIMES = [
    ("0 3 * * *", "UTC", "2026-03-01T02:59:00+00:00", "2026-03-01T03:00:00+00:00"),
    ("0 3 * * *", "UTC", "2026-03-01T03:00:00+00:00", "2026-03-02T03:00:00+00:00"),
    ("0 3 * * *", "Europe/Berlin", "2026-01-10T12:00:00+00:00", "2026-01-11T02:00:00+00:00"),
    ("0 3 * * *", "Europe/Berlin", "2026-07-10T12:00:00+00:00", "2026-07-11T01:00:00+00:00"),
    ("0 3 * * *", "America/New_York", "2026-07-10T12:00:00+00:00", "2026-07-11T07:00:00+00:00"),
    ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00+00:00", "2026-03-29T01:00:00+00:00"),  # 2:30 is left out
    ("*/15 * * * *", "UTC", "2026-03-01T10:01:00+00:00", "2026-03-01T10:15:00+00:00"),
]


@pytest.mark.parametrize(("schedule", "zone", "now", "then"), TIMES)
def test_the_next_run_is_by_the_zones_clocks(schedule: str, zone: str, now: str, then: str) -> None:
    assert next_run(schedule, zone, datetime.fromisoformat(now)) == datetime.fromisoformat(then)


@pytest.mark.parametrize(
    "wrong", [{"audit_schedule": "daily"}, {"audit_schedule": "0 0 31 2 *"}, {"audit_timezone": "Mars/Base"}]
)
def test_a_schedule_that_never_comes_does_not_start(wrong: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        ScanningSettings(allow_no_proxy_key=True, google_cloud_project="p", **wrong)  # type: ignore[arg-type]


async def event(database: Database, event_id: str, starts: timedelta, quantity: int = 5) -> None:
    at = datetime.now(UTC) + starts
    await store(database, put(Event(f"events/{event_id}", "Fest", at, quantity=quantity, seeded_quantity=10)))


async def jobs(database: Database) -> list[Job]:
    return [job for document in await database.query(Query("jobs")) if (job := Job.of(document))]


async def runs(database: Database, event_id: str) -> list[ReconcileRun]:
    documents = await database.query(Query(f"reconciliations/{event_id}/runs"))
    return [run for document in documents if (run := ReconcileRun.of(document))]


async def asked_for(database: Database) -> list[Job]:
    """The jobs, once there are any."""
    while True:
        if found := await jobs(database):
            return found
        await asyncio.sleep(0.02)


async def finished(database: Database, job_id: str) -> Job:
    """The job once it is done; the test's time-out is the limit."""
    while True:
        job = Job.of(await database.get(paths.job(job_id)))
        if job is not None and job.state == "done":
            return job
        assert job is None or job.last_error is None, job
        await asyncio.sleep(0.02)


@pytest.fixture
async def replicas(scanning_settings: ScanningSettings) -> AsyncIterator[list[Service]]:
    settings = scanning_settings.model_copy(update={"job_poll_seconds": 0.2})
    async with serving(create_app(settings)) as one, serving(create_app(settings)) as two:
        yield [one, two]


async def test_replicas_ask_for_one_audit(replicas: list[Service], database: Database) -> None:
    found = await asked_for(database)
    assert [(job.kind, job.state) for job in found] == [("scanning.audit", "ready")]
    assert found[0].next_at is not None
    assert (found[0].next_at.hour, found[0].next_at > datetime.now(UTC)) == (3, True)


async def test_an_audit_runs_once_repairs_and_raises_an_alert(
    replicas: list[Service], tickets: Tickets, database: Database
) -> None:
    await event(database, "e1", timedelta(days=1), quantity=5)
    await event(database, "e2", timedelta(hours=-30), quantity=10)
    await event(database, "e3", timedelta(days=-3), quantity=1)
    await tickets.sell("anna", 3, "r1")
    await store(database, Merge(paths.summary("e1", "anna"), Summary.patch(total_tickets=9)))
    now = datetime.now(UTC)
    due = AskForAudit(now - timedelta(minutes=1), now)
    assert await asyncio.gather(*(app.app[COMMITTER].run(due) for app in replicas)) in ([True, False], [False, True])
    await finished(database, due.job_id)
    [run] = await runs(database, "e1")
    assert (run.scheduled, run.updated_users) == (True, 1)
    assert [len(await runs(database, event_id)) for event_id in ("e2", "e3")] == [1, 0]
    summary = await tickets.summary("anna")
    assert summary is not None
    assert summary.total_tickets == 3
    alerts = [AdminAlert.of(document) for document in await database.query(Query("adminAlerts"))]
    assert [(alert.kind, alert.subject) for alert in alerts if alert] == [("inventory_drift", "events/e1")]


async def test_a_run_that_was_interrupted_goes_on_after_the_last_event(database: Database) -> None:
    for n in range(5):
        await event(database, f"e{n}", timedelta(days=1))
    rest = [event_id async for event_id in audit.current_events(database, datetime.now(UTC), "e2")]
    assert rest == ["e3", "e4"]


async def cli(firestore: EmbeddedFirestore, *arguments: str) -> str:
    known = {"FIRESTORE_EMULATOR_HOST": firestore.host, "GOOGLE_CLOUD_PROJECT": "demo-test", "ALLOW_NO_PROXY_KEY": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.scanning", "audit", *arguments),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **known},
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_the_command_audits_and_with_dry_run_only_tells(
    firestore: EmbeddedFirestore, tickets: Tickets, database: Database
) -> None:
    await event(database, "e1", timedelta(days=1), quantity=5)
    await event(database, "e2", timedelta(days=-9))
    await tickets.sell("anna", 3, "r1")
    await store(database, Merge(paths.summary("e1", "anna"), Summary.patch(total_tickets=9)))
    said = "e1: 1 summaries, 1 {}; 5 tickets left, 3 sold, 0 held, drift -2\n"
    assert await cli(firestore, "--event", "e1", "--dry-run") == said.format("to repair")
    assert await runs(database, "e1") == []
    assert await cli(firestore) == said.format("repaired")
    assert len(await runs(database, "e1")) == 1
