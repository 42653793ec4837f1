"""A denial as the refusal that the scanner is answered with. The README says what staff should do about each."""

from collections.abc import Mapping
from typing import Final

from services.scanning.admission import ScanIdReused
from services.scanning.verdict import Answer, Verdict
from shared.errors import Conflict, NotFound, Refusal


class TicketNotFound(NotFound):
    code = "ticket_not_found"


class AlreadyUsed(Conflict):
    code = "already_used"


class WrongEvent(Conflict):
    code = "wrong_event"


class Transferred(Conflict):
    code = "transferred"


class Refunded(Conflict):
    code = "refunded"


class Inactive(Conflict):
    code = "inactive"


DENIALS: Final = (TicketNotFound, AlreadyUsed, WrongEvent, Transferred, Refunded, Inactive, ScanIdReused)
"""What a scan may be answered with instead of an admission."""

_REFUSALS: Final[Mapping[str, tuple[type[Refusal], str]]] = {
    TicketNotFound.code: (TicketNotFound, "There is no such ticket."),
    AlreadyUsed.code: (AlreadyUsed, "This ticket has already been used."),
    WrongEvent.code: (WrongEvent, "This ticket is for another event."),
    Transferred.code: (Transferred, "This ticket was transferred to somebody else, who has a new code for it."),
    Refunded.code: (Refunded, "This ticket was refunded."),
    Inactive.code: (Inactive, "This ticket is switched off."),
}


def refusal(verdict: Verdict, answer: Answer | None = None) -> Refusal:
    """Of a denial; with the answer that a scan got, if it was one."""
    kind, sentence = _REFUSALS[verdict.status]
    fields = {**_fields(verdict), **({"scanId": answer.scan_id} if answer else {})}
    if answer and answer.replayed:
        fields["replayed"] = True
    return kind(_too_few(verdict) or sentence, fields=fields)


def _too_few(verdict: Verdict) -> str | None:
    """A party that is too large for what is left hears how many are."""
    left = verdict.remaining_total
    if verdict.status == AlreadyUsed.code and verdict.remaining:
        return f"Only {left} {'ticket is' if left == 1 else 'tickets are'} left, which is too few for this party."
    return None


def _fields(verdict: Verdict) -> Mapping[str, object]:
    known = {"eventId": verdict.event_id, "ragerId": verdict.rager_id}
    fields: dict[str, object] = {name: value for name, value in known.items() if value is not None}
    if verdict.status == AlreadyUsed.code:
        by, at = verdict.last_scanned_by, verdict.last_scan_at
        fields |= {"remaining": verdict.remaining, "lastScanAt": at, "lastScannedBy": by}
    return {**fields, "remainingTotal": verdict.remaining_total}
