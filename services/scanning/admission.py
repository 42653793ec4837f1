"""The scan as an operation: documents in, writes and answer out. Pure.

One commit changes ragers, summary and the scan record, which is also the operation's marker. A denial is a result and
no exception, so that it can be recorded and answered again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.scanning import holding
from services.scanning.asking import Ask, Ticket
from services.scanning.holding import Holding, bears, held, sums
from services.scanning.selection import in_order
from services.scanning.verdict import ADMITTED, TICKET_NOT_FOUND, WRONG_EVENT, Answer, Verdict
from shared.documents import Rager, Scan, ScanPlace, Summary
from shared.errors import Conflict
from shared.firestore import paths
from shared.operations import Decision, Documents, Increment, Merge, Put, Write


class ScanIdReused(Conflict):
    """The scan id already belongs to the scan of another ticket."""

    code = "scan_id_reused"


@dataclass(frozen=True, slots=True)
class LookAgain:
    """The operation needs more than it read: the holder's summary, and with ``all_ragers`` what else they have."""

    ticket: Ticket
    user_id: str
    all_ragers: bool


@dataclass(frozen=True, slots=True)
class OtherToken:
    """The ticket that the token's mapping led to has another token: look for the one that has this."""


@dataclass(frozen=True, slots=True)
class RecordedIn:
    """The scan named no event and has been recorded under this one."""

    event_id: str


Outcome = Answer | LookAgain | OtherToken | RecordedIn


@dataclass(frozen=True, slots=True)
class Admission:
    """Admits or denies; ``ticket`` is None where the lookup found nothing."""

    ask: Ask
    ticket: Ticket | None

    @property
    def place(self) -> str | None:
        """The event under which the scan is recorded."""
        return self.ask.event_id or (self.ticket.event_id if self.ticket else None)

    @property
    def lane(self) -> str:
        return self.place or "unplaced"

    @property
    def records(self) -> Sequence[str]:
        """Where this scan may have been recorded before; the first is where it is to be recorded now.

        Without a gate's event the second tells under which event it was, or is itself the record of a ticket that was
        unknown at the time.
        """
        unplaced = paths.unplaced_scan(self.ask.scan_id)
        if self.place is None:
            return (unplaced,)
        placed = paths.scan(self.place, self.ask.scan_id)
        return (placed,) if self.ask.event_id else (placed, unplaced)

    def reads(self) -> Sequence[str]:
        if self.ticket is None or self.ticket.event_id != self.place:
            return self.records
        return (*self.records, *holding.reads(self.ticket))

    def decide(self, docs: Documents) -> Decision[Outcome]:
        recorded = self._recorded(docs)
        if isinstance(recorded, RecordedIn):
            return Decision(recorded)
        if recorded is not None:
            return Decision(self._replayed(recorded))
        if self.ticket is None:
            return self._denied(Verdict(TICKET_NOT_FOUND, self.ask.event_id))
        if self.ticket.event_id != self.place:
            return self._denied(Verdict(WRONG_EVENT, self.ticket.event_id, self.ticket.named))
        holding = held(self.ticket, docs)
        if self.ask.method == "token" and not any(bears(rager, self.ask.key) for rager in holding.asked):
            return Decision(OtherToken())
        return self._judged(self.ticket, holding)

    def _recorded(self, docs: Documents) -> Scan | RecordedIn | None:
        if self.ask.event_id:
            return Scan.of(docs[self.records[0]])
        unplaced = docs[paths.unplaced_scan(self.ask.scan_id)]
        known = ScanPlace.of(unplaced)
        if known is None or known.event_id == self.place:
            return Scan.of(docs[self.records[0]])
        return RecordedIn(known.event_id) if known.event_id else Scan.of(unplaced)

    def _judged(self, ticket: Ticket, holding: Holding) -> Decision[Outcome]:
        holder = holding.user_id
        if holder is not None and holder != ticket.user_id:
            return Decision(LookAgain(ticket, holder, all_ragers=ticket.complete))
        taken = holding.chosen(self.ask.count)
        if holder is not None and _needs_all(holding, taken, self.ask.count):
            return Decision(LookAgain(ticket, holder, all_ragers=True))
        return self._admitted(holding, taken) if taken else self._denied(holding.denial(), holder)

    def _replayed(self, scan: Scan) -> Answer:
        if scan.subject != self.ask.subject:
            raise ScanIdReused("This scan id was used for another ticket. Please scan again with a new one.")
        return Answer(Verdict.of_fields(scan.reply or {}), self.ask.scan_id, replayed=True, undone_at=scan.undone_at)

    def _denied(self, verdict: Verdict, user_id: str | None = None) -> Decision[Outcome]:
        writes = self._record(verdict, user_id, {}) if self.ask.repeatable else ()
        return Decision(Answer(verdict, self.ask.scan_id), writes)

    def _admitted(self, holding: Holding, taken: Mapping[str, int]) -> Decision[Outcome]:
        ragers = {rager.id: rager for rager in holding.ragers if rager.id in taken}
        first = next(iter(taken))
        verdict = Verdict(
            ADMITTED,
            holding.event_id,
            first,
            count=self.ask.count,
            remaining=ragers[first].remaining - taken[first],
            remaining_total=holding.remaining_total - self.ask.count,
            transfer_pending=any(rager.pending_transfer_id is not None for rager in ragers.values()),
        )
        writes: list[Write] = [self._consume(ragers[rager_id], count) for rager_id, count in taken.items()]
        if holding.user_id is not None:
            writes.append(self._summarise(holding, paths.summary(holding.event_id, holding.user_id)))
        writes.extend(self._record(verdict, holding.user_id, taken))
        return Decision(Answer(verdict, self.ask.scan_id, entered=holding.remaining_total), writes)

    def _consume(self, rager: Rager, count: int) -> Merge:
        """A batch stays active as long as it can be used; an older offline scan does not hide a newer one."""
        used = rager.used_count + count
        change = rager.changed(self.ask.now, used_count=used, active=used < rager.ticket_quantity)
        if rager.last_scan_at is not None and rager.last_scan_at > self.ask.at:
            return change
        seen = Rager.patch(last_scan_at=self.ask.at, last_scanned_by=self.ask.scanner_id)
        return Merge(rager.path, {**change.fields, **seen})

    def _summarise(self, holding: Holding, path: str) -> Write:
        now, known = self.ask.now, holding.summary
        if known is None:
            total, used = sums(holding.ragers)
            return Put(path, Summary(path, total, used + self.ask.count, self.ask.at, now, now).fields())
        at = max(self.ask.at, known.last_scan_at or self.ask.at)
        used_more = Increment(self.ask.count)
        return Merge(path, Summary.patch(used_count=used_more, last_scan_at=at, last_updated=now, updated_at=now))

    def _record(self, verdict: Verdict, user_id: str | None, taken: Mapping[str, int]) -> Sequence[Put]:
        scan = Scan(
            self.records[0],
            rager_id=verdict.rager_id,
            user_id=user_id,
            method=self.ask.method,
            scanner_id=self.ask.scanner_id,
            count=verdict.count,
            result=verdict.status,
            at=self.ask.at,
            recorded_at=self.ask.now,
            subject=self.ask.subject,
            reply=verdict.fields(),
            consumed=dict(taken),
        )
        recorded = Put(scan.path, scan.fields())
        if self.ask.event_id or self.place is None or not self.ask.repeatable:
            return (recorded,)
        place = ScanPlace(paths.unplaced_scan(self.ask.scan_id), self.place)
        return (recorded, Put(place.path, place.fields()))


def _needs_all(holding: Holding, taken: Mapping[str, int] | None, count: int) -> bool:
    """A summary that is missing is made from all ragers, and a party may need them all."""
    if holding.complete:
        return False
    return holding.summary is None if taken else count > 1 and bool(in_order(holding.asked))
