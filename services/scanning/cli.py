"""``python -m services.scanning audit``: the audit by hand, or from a Kubernetes CronJob."""

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from services.scanning.audit import Audited, Auditor, current_events
from services.scanning.metrics import ScanningMetrics
from services.scanning.settings import ScanningSettings
from shared import logs
from shared.config import google_credentials
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.metrics import CommitterMetrics
from shared.firestore.query import Query


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m services.scanning", description="Serves; or, with audit, audits.")
    commands = parser.add_subparsers(dest="command")
    audit = commands.add_parser("audit", help="compare summaries and inventory of current events with their tickets")
    audit.add_argument("--event", metavar="ID", type=_event_id, help="this event only, also if it is over")
    audit.add_argument("--dry-run", action="store_true", help="report, write nothing")
    return parser.parse_args(arguments)


def _event_id(text: str) -> str:
    if paths.is_document_id(text):
        return text
    raise argparse.ArgumentTypeError("must be an event's id, without a slash")


def audit(settings: ScanningSettings, event_id: str | None, *, dry_run: bool) -> None:
    """One line an event on stdout, the progress on stderr."""
    logs.configure(settings.log_level, settings.log_format)
    with google_credentials():
        asyncio.run(_audit(settings, event_id, dry_run=dry_run))


async def _audit(settings: ScanningSettings, event_id: str | None, *, dry_run: bool) -> None:
    async with _auditor(settings) as auditor:
        now = datetime.now(UTC)
        events = [event_id] if event_id else [found async for found in current_events(auditor.database, now)]
        with _progress() as progress:
            for event in events:
                audited = await _one(auditor, event, progress, dry_run=dry_run)
                sys.stdout.write(line(audited, dry_run=dry_run) + "\n")


async def _one(auditor: Auditor, event_id: str, progress: Progress, *, dry_run: bool) -> Audited:
    total = await auditor.database.count(Query(paths.ragers(event_id)))
    task: TaskID = progress.add_task(event_id, total=total)
    audited = await auditor.audit(
        event_id, dry_run=dry_run, scheduled=False, progress=lambda read: progress.advance(task, read)
    )
    progress.update(task, completed=total)  # guests have no summary and are not read
    return audited


def line(audited: Audited, *, dry_run: bool) -> str:
    run, counted = audited.run, audited.inventory
    repaired = "to repair" if dry_run else "repaired"
    summaries = f"{run.event_id}: {run.processed_users} summaries, {run.updated_users} {repaired}"
    if counted is None:
        return f"{summaries}; there is no such event, so no inventory"
    drift = "no baseline" if counted.drift is None else f"drift {counted.drift:+d}"
    return f"{summaries}; {counted.available} tickets left, {counted.sold} sold, {counted.held} held, {drift}"


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))


@asynccontextmanager
async def _auditor(settings: ScanningSettings) -> AsyncIterator[Auditor]:
    registry = CollectorRegistry()
    database = Database.connect(settings.google_cloud_project)
    committer = Committer(database, CommitterMetrics(registry))
    try:
        yield Auditor(database, committer, ScanningMetrics(registry))
    finally:
        await committer.close()
        await database.close()
