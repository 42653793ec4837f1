"""Putting one user's summary right. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.scanning.holding import sums
from shared.documents import Rager, RepairedSummary, Summary, UserSums
from shared.firestore import paths
from shared.operations import Decision, Document, Documents, Merge


@dataclass(frozen=True, slots=True)
class Observed:
    """A user's summary as it was before their ragers were looked for: while it stays so, no other rager was added."""

    user_id: str
    summary: Document
    rager_ids: Sequence[str]


@dataclass(frozen=True, slots=True)
class Moved:
    """A sale, scan or transfer came in between: observe again."""


@dataclass(frozen=True, slots=True)
class Repair:
    """Sets the summary to the sums of the ragers. Answers what was repaired, or None if nothing was wrong.

    It absorbs the loss of its reply by its own time on the summary, ``now``.
    """

    event_id: str
    observed: Observed
    now: datetime

    @property
    def lane(self) -> str:
        return self.event_id

    @property
    def summary_path(self) -> str:
        return paths.summary(self.event_id, self.observed.user_id)

    def reads(self) -> Sequence[str]:
        return (self.summary_path, *(paths.rager(self.event_id, rager_id) for rager_id in self.observed.rager_ids))

    def decide(self, docs: Documents) -> Decision[RepairedSummary | Moved | None]:
        found = docs[self.summary_path]
        summary = Summary.of(found)
        if summary is not None and summary.updated_at == self.now:
            return Decision(self._repaired(UserSums(summary.total_tickets, summary.used_count)))
        repaired = self._repaired(expected(self.observed.user_id, self._ragers(docs)))
        if agree(repaired):
            return Decision(None)
        if found.fields != self.observed.summary.fields or found.update_time != self.observed.summary.update_time:
            return Decision(Moved())
        right = Summary.patch(
            total_tickets=repaired.next.total_tickets,
            used_count=repaired.next.used_count,
            last_updated=self.now,
            updated_at=self.now,
        )
        return Decision(repaired, (Merge(self.summary_path, right),))

    def _ragers(self, docs: Documents) -> Sequence[Rager]:
        read = (Rager.of(docs[paths.rager(self.event_id, rager_id)]) for rager_id in self.observed.rager_ids)
        return [rager for rager in read if rager is not None]

    def _repaired(self, right: UserSums) -> RepairedSummary:
        return RepairedSummary(self.observed.user_id, said(Summary.of(self.observed.summary)), right)


def expected(user_id: str, ragers: Sequence[Rager]) -> UserSums:
    return UserSums(*sums(rager for rager in ragers if rager.user_id == user_id))


def said(summary: Summary | None) -> UserSums | None:
    return UserSums(summary.total_tickets, summary.used_count) if summary else None


def agree(compared: RepairedSummary) -> bool:
    """Whether the summary is right; a missing one is, for a user without tickets."""
    return (compared.prev or UserSums()) == compared.next
