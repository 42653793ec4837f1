"""The audit of current events: summaries against ragers, inventory against what was seeded."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from services.scanning.drift import EventNotFound, Inventory, inventory
from services.scanning.metrics import ScanningMetrics
from services.scanning.reconcile import Progress, reconcile
from services.scanning.schedule import AskForAudit, next_run
from services.scanning.settings import ScanningSettings
from shared.documents import AdminAlert, Event, ReconcileRun
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query
from shared.operations import Decision, Documents, Put, Write
from shared.worker import JobHandler, Run

_log: Final = structlog.get_logger()
_PAGE: Final = 300
PAST: Final = timedelta(hours=36)
"""So long after its start an event is still current: a festival's last day, a late undo, a late refund."""

_FIELDS: Final = tuple(Event.stored_name(name) for name in ("date", "date_time"))


@dataclass(frozen=True, slots=True)
class Audited:
    """``inventory`` is None where there is no such event."""

    run: ReconcileRun
    inventory: Inventory | None


@dataclass(frozen=True, slots=True)
class RaiseAlert:
    """Puts an alert where a person looks; one that is there and not resolved stays as it is."""

    alert: AdminAlert

    @property
    def lane(self) -> str:
        return self.alert.path

    def reads(self) -> Sequence[str]:
        return (self.alert.path,)

    def decide(self, docs: Documents) -> Decision[None]:
        known = AdminAlert.of(docs[self.alert.path])
        same = known is not None and known.resolved_at is None and known.message == self.alert.message
        return Decision(None, () if same else (Put(self.alert.path, self.alert.fields()),))


@dataclass(frozen=True, slots=True)
class Auditor:
    database: Database
    committer: Committer
    metrics: ScanningMetrics

    async def audit(
        self, event_id: str, *, dry_run: bool, scheduled: bool, progress: Progress = lambda _: None
    ) -> Audited:
        run = await reconcile(
            self.database, self.committer, event_id, dry_run=dry_run, scheduled=scheduled, progress=progress
        )
        self.metrics.reconciled(run, dry_run=dry_run)
        return Audited(run, await self._inventory(event_id, dry_run=dry_run))

    async def _inventory(self, event_id: str, *, dry_run: bool) -> Inventory | None:
        try:
            counted = await inventory(self.database, event_id)
        except EventNotFound:
            return None
        self.metrics.counted(counted)
        if counted.drift and not dry_run:
            await self.committer.run(RaiseAlert(alert(counted, datetime.now(UTC))))
        return counted


def alert(counted: Inventory, now: datetime) -> AdminAlert:
    tickets = f"{counted.available} left, {counted.sold} sold and {counted.held} held, {counted.seeded} to begin with"
    return AdminAlert(
        paths.admin_alert(f"inventory-drift-{counted.event_id}"),
        kind="inventory_drift",
        message=f"The tickets of this event do not add up: {tickets}. Compare orders and refunds of the last day.",
        subject=paths.event(counted.event_id),
        created_at=now,
    )


async def current_events(database: Database, now: datetime, after: str = "") -> AsyncIterator[str]:
    """The ids of the events that are not over, in order, those without a date too."""
    async for page in database.pages(Query("events", select=_FIELDS), _PAGE):
        for event in filter(None, map(Event.of, page)):
            is_current = event.starts_at is None or event.starts_at > now - PAST
            if is_current and event.id > after:
                yield event.id


def job(auditor: Auditor, settings: ScanningSettings) -> JobHandler:
    """Audits every current event, goes on after the last one that was finished, and asks for the next run."""

    async def run(job: Run) -> Sequence[Write]:
        await ask_for_next(auditor.committer, settings, datetime.now(UTC))
        async for event_id in current_events(auditor.database, datetime.now(UTC), job.job.cursor or ""):
            audited = await auditor.audit(event_id, dry_run=False, scheduled=True)
            _log.info("event_audited", event_id=event_id, repaired=audited.run.updated_users)
            await job.checkpoint(event_id)
        return ()

    return run


async def ask_for_next(committer: Committer, settings: ScanningSettings, now: datetime) -> datetime:
    due = next_run(settings.audit_schedule, settings.audit_timezone, now)
    await committer.run(AskForAudit(due, now))
    return due
