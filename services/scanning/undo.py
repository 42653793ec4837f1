"""Taking a scan back. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.scanning.verdict import ADMITTED
from shared.documents import Rager, Scan, Summary
from shared.errors import Conflict, NotFound, Unavailable
from shared.firestore import paths
from shared.operations import Decision, Documents, Increment, Merge, Write


class ScanNotFound(NotFound):
    code = "scan_not_found"


class NothingToUndo(Conflict):
    """The scan admitted nobody."""

    code = "nothing_to_undo"


class UndoWindowPassed(Conflict):
    code = "undo_window_passed"


@dataclass(frozen=True, slots=True)
class Undone:
    rager_id: str | None
    restored: int
    at: datetime
    replayed: bool


@dataclass(frozen=True, slots=True)
class Undo:
    """``rager_ids`` are those that the scan consumed and ``user_ids`` their holders, as they were looked up."""

    event_id: str
    scan_id: str
    rager_ids: Sequence[str]
    user_ids: Sequence[str]
    window: timedelta
    now: datetime

    @property
    def lane(self) -> str:
        return self.event_id

    def reads(self) -> Sequence[str]:
        ragers = (paths.rager(self.event_id, rager_id) for rager_id in self.rager_ids)
        summaries = (paths.summary(self.event_id, user_id) for user_id in self.user_ids)
        return (paths.scan(self.event_id, self.scan_id), *ragers, *summaries)

    def decide(self, docs: Documents) -> Decision[Undone]:
        scan = Scan.of(docs[paths.scan(self.event_id, self.scan_id)])
        if scan is None:
            raise ScanNotFound("There is no such scan.")
        if scan.undone_at is not None:
            return Decision(Undone(scan.rager_id, scan.count, scan.undone_at, replayed=scan.undone_at != self.now))
        self._check(scan)
        ragers = {rager_id: Rager.of(docs[paths.rager(self.event_id, rager_id)]) for rager_id in self.rager_ids}
        writes: list[Write] = [Merge(scan.path, Scan.patch(undone_at=self.now))]
        for rager_id, count in consumed(scan).items():
            if (rager := ragers.get(rager_id)) is not None:
                writes.extend(self._restored(rager, count, docs))
        return Decision(Undone(scan.rager_id, scan.count, self.now, replayed=False), writes)

    def _check(self, scan: Scan) -> None:
        if scan.result != ADMITTED:
            raise NothingToUndo("This scan admitted nobody, so there is nothing to undo.")
        known_since = scan.recorded_at or scan.at  # an offline scan may be uploaded hours after it was made
        if known_since is not None and known_since + self.window < self.now:
            minutes = int(self.window.total_seconds() // 60)
            raise UndoWindowPassed(f"A scan can be undone for {minutes} minutes, which have passed.")

    def _restored(self, rager: Rager, count: int, docs: Documents) -> Sequence[Write]:
        """A batch that was used up was switched off by the scan and is switched on again."""
        used = max(0, rager.used_count - count)
        active = rager.active or (rager.counts and not rager.left)
        change = rager.changed(self.now, used_count=used, active=active)
        if rager.user_id is None or not rager.counts:
            return (change,)
        if rager.user_id not in self.user_ids:
            raise Unavailable("This ticket is changing hands right now. Please try again.")
        path = paths.summary(self.event_id, rager.user_id)
        if not docs[path].exists:
            return (change,)
        restored = Increment(used - rager.used_count)
        return (change, Merge(path, Summary.patch(used_count=restored, last_updated=self.now, updated_at=self.now)))


def consumed(scan: Scan) -> Mapping[str, int]:
    """Tickets taken, by rager id; older records hold one rager and a count."""
    if scan.consumed is None:
        return {scan.rager_id: scan.count} if scan.rager_id else {}
    return {rager_id: count for rager_id, count in scan.consumed.items() if isinstance(count, int)}
