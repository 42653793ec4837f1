"""What was read of a ticket and its holder, and what the door's rules say of it. Pure.

Scan and preview decide by the same functions.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.scanning.asking import Ticket
from services.scanning.selection import ALREADY_USED, NEVER, explaining, in_order, party, standing
from services.scanning.verdict import TICKET_NOT_FOUND, Verdict
from shared.documents import Rager, Summary
from shared.firestore import paths
from shared.operations import Documents


@dataclass(frozen=True, slots=True)
class Holding:
    """``asked`` is the rager that a token or an id names, or all of a user's; ``others`` what else was read of the
    holder's; ``complete`` whether that is all they have for the event.
    """

    event_id: str
    asked: Sequence[Rager]
    others: Sequence[Rager]
    summary: Summary | None
    complete: bool

    @property
    def ragers(self) -> Sequence[Rager]:
        return (*self.asked, *self.others)

    @property
    def user_id(self) -> str | None:
        return self.asked[0].user_id if self.asked else None

    @property
    def remaining_total(self) -> int:
        """Exact where all ragers were read; else by the summary, but never less than what was seen."""
        seen = sum(rager.remaining for rager in self.ragers)
        if self.complete or self.summary is None:
            return seen
        return max(seen, self.summary.total_tickets - self.summary.used_count)

    def chosen(self, count: int) -> Mapping[str, int] | None:
        """The tickets that a scan takes, by rager id, the first one first; None if it must be denied.

        A party may be larger than the batch that was shown, if that has a ticket left: the rest comes from its
        holder's other batches, in the order in which they would be consumed.
        """
        shown = in_order(self.asked)
        return party((*shown, *in_order(self.others)), count) if shown else None

    def denial(self) -> Verdict:
        """Why none, or not as many as were asked for, may be admitted."""
        if (first := next(iter(in_order(self.asked)), None)) is not None:
            latest = max(self.ragers, key=lambda rager: rager.last_scan_at or NEVER)
            return self._used(first, latest)  # some are left, but fewer than the party
        rager = explaining(self.asked)
        if rager is None:
            return Verdict(TICKET_NOT_FOUND, self.event_id)
        if (reason := standing(rager)) == ALREADY_USED:
            return self._used(rager, rager)
        return Verdict(reason, self.event_id, rager.id, remaining_total=self.remaining_total)

    def _used(self, rager: Rager, scanned: Rager) -> Verdict:
        return Verdict(
            ALREADY_USED,
            self.event_id,
            rager.id,
            remaining=rager.remaining,
            remaining_total=self.remaining_total,
            last_scan_at=scanned.last_scan_at,
            last_scanned_by=scanned.last_scanned_by,
        )


def bears(rager: Rager, token: str) -> bool:
    """Whether the token is the rager's, which knows better than a mapping unless it has none of its own."""
    return not rager.ticket_token or rager.ticket_token == token


def reads(ticket: Ticket) -> Sequence[str]:
    """The paths of what ``held`` looks at."""
    ragers = (paths.rager(ticket.event_id, rager_id) for rager_id in ticket.rager_ids)
    summary = (paths.summary(ticket.event_id, ticket.user_id),) if ticket.user_id else ()
    return (*ragers, *summary)


def held(ticket: Ticket, docs: Documents) -> Holding:
    read = (Rager.of(docs[paths.rager(ticket.event_id, rager_id)]) for rager_id in ticket.rager_ids)
    ragers = [rager for rager in read if rager is not None]
    if ticket.named is None:
        asked = [rager for rager in ragers if rager.user_id == ticket.user_id]
    else:
        asked = [rager for rager in ragers if rager.id == ticket.named]
    holder = asked[0].user_id if asked else None
    others = [rager for rager in ragers if rager not in asked and rager.user_id == holder is not None]
    return Holding(ticket.event_id, asked, others, _summary(ticket, holder, docs), ticket.complete)


def _summary(ticket: Ticket, holder: str | None, docs: Documents) -> Summary | None:
    if holder is None or holder != ticket.user_id:
        return None
    return Summary.of(docs[paths.summary(ticket.event_id, holder)])


def sums(ragers: Iterable[Rager]) -> tuple[int, int]:
    """What a summary says of these ragers: the tickets that are their holder's, and how many of them are used."""
    counted = [rager for rager in ragers if rager.counts]
    return sum(rager.ticket_quantity for rager in counted), sum(rager.used_count for rager in counted)
