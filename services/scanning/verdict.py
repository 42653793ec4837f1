"""What the door answers: an admission or a denial, as it is recorded and answered again."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.records import Embedded, flag, moment, stored, text, whole

ADMITTED: Final = "admitted"
TICKET_NOT_FOUND: Final = "ticket_not_found"
WRONG_EVENT: Final = "wrong_event"


@dataclass(frozen=True, slots=True)
class Verdict(Embedded):
    """``remaining`` are the tickets left of the rager, ``remaining_total`` those of its holder, after this scan."""

    status: str = stored("status", text, ADMITTED)
    """``admitted`` or the refusal's code."""
    event_id: str | None = stored("eventId", text, None)
    """The event of the ticket, which with ``wrong_event`` is not the gate's."""
    rager_id: str | None = stored("ragerId", text, None)
    count: int = stored("count", whole, 0)
    """Tickets admitted."""
    remaining: int = stored("remaining", whole, 0)
    remaining_total: int = stored("remainingTotal", whole, 0)
    last_scan_at: datetime | None = stored("lastScanAt", moment, None)
    """Of a denial: when the ticket was last admitted, by whom below."""
    last_scanned_by: str | None = stored("lastScannedBy", text, None)
    transfer_pending: bool = stored("transferPending", flag, False)

    @property
    def admitted(self) -> bool:
        return self.status == ADMITTED


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict on its way out. ``entered`` is how many tickets the holder had left before, for measuring."""

    verdict: Verdict
    scan_id: str
    replayed: bool = False
    undone_at: datetime | None = None
    entered: int | None = None
