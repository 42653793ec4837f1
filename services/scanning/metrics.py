"""What the door's dashboards show."""

from collections import OrderedDict
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.scanning.asking import Method
from services.scanning.verdict import Answer
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
        self.seconds = Histogram(
            "scan_seconds", "Time to decide a scan", ["method"], buckets=SECONDS, registry=registry
        )
        self.previews = Counter("scan_previews", "Previews, by what a scan would answer", ["status"], registry=registry)
        self.undone = Counter("scans_undone", "Scans taken back", registry=registry)
        self.conflicts = Counter(
            "scan_batch_conflicts", "Offline scans whose ticket had been admitted elsewhere", registry=registry
        )
        self.drifted_users = Counter(
            "reconcile_drifted_users",
            "Summaries that were not the sum of their ragers",
            ["repaired"],
            registry=registry,
        )
        self.reconciled_users = Counter("reconcile_users", "Summaries compared with their ragers", registry=registry)
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

    def refused(self, method: Method, code: str) -> None:
        """A scan that was refused without a verdict."""
        self._scans.labels(method, "refused", code).inc()

    def inventory(self, event_id: str, drift: int) -> None:
        self._drifting.of(event_id).set(drift)


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
