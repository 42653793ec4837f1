"""What the door's dashboards show."""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.scanning.asking import Method
from services.scanning.drift import Inventory
from services.scanning.verdict import Answer
from shared.documents import ReconcileRun
from shared.errors import Refusal
from shared.metrics import SECONDS

REMAINING: Final = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 50)
_EVENTS: Final = 20


class ScanningMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self._scans = Counter(
            "scans", "Scans answered, by how and with which refusal", ["method", "outcome", "code"], registry=registry
        )
        self._remaining = Histogram(
            "scan_remaining_at_entry",
            "Tickets that the holder had left when one was admitted, that one included",
            buckets=REMAINING,
            registry=registry,
        )
        self._seconds = Histogram(
            "scan_seconds", "Time to decide a scan", ["method"], buckets=SECONDS, registry=registry
        )
        self.previews = Counter("scan_previews", "Previews, by what a scan would answer", ["status"], registry=registry)
        self.undone = Counter("scans_undone", "Scans taken back", registry=registry)
        self._conflicts = Counter(
            "scan_batch_conflicts", "Offline scans whose ticket had been admitted elsewhere", registry=registry
        )
        self._drifted_users = Counter(
            "reconcile_drifted_users",
            "Summaries that were not the sum of their ragers",
            ["repaired"],
            registry=registry,
        )
        self._reconciled_users = Counter("reconcile_users", "Summaries compared with their ragers", registry=registry)
        self._admitted = Gauge(
            "event_admitted_tickets",
            "Tickets admitted by this process, for the events scanned most recently",
            ["event"],
            registry=registry,
        )
        self._drift = Gauge(
            "event_inventory_drift_tickets",
            "Tickets left and sold beyond those the event started with, for the events looked at most recently",
            ["event"],
            registry=registry,
        )
        self._admitting = _Recent(self._admitted)
        self._drifting = _Recent(self._drift)

    def scanned(self, method: Method, answer: Answer) -> None:
        """An answered scan; replays are counted as such, whatever they repeat."""
        verdict = answer.verdict
        outcome = "replayed" if answer.replayed else "admitted" if verdict.admitted else "denied"
        self._scans.labels(method, outcome, "" if verdict.admitted else verdict.status).inc()
        if outcome == "admitted" and verdict.event_id:
            self._remaining.observe(answer.entered or 0)
            self._admitting.of(verdict.event_id).inc(verdict.count)

    def uploaded(self, method: Method, answer: Answer | Refusal, *, conflict: bool) -> None:
        """An item of an upload of offline scans."""
        if isinstance(answer, Refusal):
            self._scans.labels(method, "refused", answer.code).inc()
            return
        self.scanned(method, answer)
        if conflict and not answer.replayed:
            self._conflicts.inc()

    def timing(self, method: Method) -> contextlib.AbstractContextManager[object]:
        """Measures a scan."""
        return self._seconds.labels(method).time()

    @contextlib.contextmanager
    def scanning(self, method: Method) -> Iterator[None]:
        """Measures a scan, and counts the refusal that it may end in without a verdict."""
        with self.timing(method):
            try:
                yield
            except Refusal as refusal:
                self._scans.labels(method, "refused", refusal.code).inc()
                raise

    def reconciled(self, run: ReconcileRun, *, dry_run: bool) -> None:
        self._reconciled_users.inc(run.processed_users)
        self._drifted_users.labels("no" if dry_run else "yes").inc(run.updated_users)

    def counted(self, inventory: Inventory) -> None:
        if inventory.drift is not None:
            self._drifting.of(inventory.event_id).set(inventory.drift)


class _Recent:
    """A gauge by event that forgets the event it has not heard of for longest, so that its labels stay few."""

    def __init__(self, gauge: Gauge) -> None:
        self._gauge = gauge
        self._events: OrderedDict[str, None] = OrderedDict()

    def of(self, event_id: str) -> Gauge:
        self._events[event_id] = None
        self._events.move_to_end(event_id)
        if len(self._events) > _EVENTS:
            oldest, _ = self._events.popitem(last=False)
            self._gauge.remove(oldest)
        return self._gauge.labels(event_id)


METRICS: Final = web.AppKey("scanning_metrics", ScanningMetrics)
