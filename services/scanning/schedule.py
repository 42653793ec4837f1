"""When the audit runs: a job that, once run, asks for the next one.

The job's id is its time, so that however many replicas ask for it there is one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from shared import jobs
from shared.firestore import paths
from shared.operations import Decision, Documents

KIND: Final = "scanning.audit"


def next_run(schedule: str, zone: str, now: datetime) -> datetime:
    """The first time after ``now`` that the schedule names on the zone's clocks, in UTC."""
    return next(CronSim(schedule, now.astimezone(ZoneInfo(zone)))).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class AskForAudit:
    """Enqueues the audit that is due then, unless it is known already."""

    due: datetime
    now: datetime

    @property
    def job_id(self) -> str:
        return f"audit-{self.due:%Y%m%dT%H%M}"

    @property
    def lane(self) -> str:
        return "audit"

    def reads(self) -> Sequence[str]:
        return (paths.job(self.job_id),)

    def decide(self, docs: Documents) -> Decision[bool]:
        """Whether it was new."""
        if docs[paths.job(self.job_id)].exists:
            return Decision(False)
        payload = {"due": self.due.isoformat()}
        return Decision(True, (jobs.enqueue(self.job_id, KIND, payload, now=self.now, due=self.due),))
