"""What happens at the door, and how it is looked after."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.documents.reading import mapping
from shared.operations import Value
from shared.records import Embedded, Record, flag, listed, moment, stored, text, whole


@dataclass(frozen=True, slots=True)
class Scan(Record):
    """Audit and idempotency of one admission, or of a denial that was given a scan id."""

    rager_id: str | None = stored("ragerId", text, None)
    user_id: str | None = stored("userId", text, None)
    method: str = stored("method", text, "")
    """How the ticket was named: token, user or rager."""
    scanner_id: str | None = stored("scannerId", text, None)
    count: int = stored("count", whole, 0)
    """Tickets admitted, 0 for a denial."""
    result: str = stored("result", text, "")
    """``admitted`` or the refusal's code."""
    at: datetime | None = stored("at", moment, None)
    """When the ticket was scanned, by the clock of the scanner if it was offline."""
    recorded_at: datetime | None = stored("recordedAt", moment, None)
    undone_at: datetime | None = stored("undoneAt", moment, None)
    subject: str | None = stored("subject", text, None)
    """What the scan was asked for, hashed, so that its id cannot be used for another ticket."""
    reply: Mapping[str, Value] | None = stored("reply", mapping, None)
    """What was answered, to answer it again."""
    consumed: Mapping[str, Value] | None = stored("consumed", mapping, None)
    """Tickets taken, by rager id."""


@dataclass(frozen=True, slots=True)
class ScanPlace(Record):
    """Where the record of a scan is that named no event: its ticket said which, and may say another one later."""

    event_id: str | None = stored("eventId", text, None)


@dataclass(frozen=True, slots=True)
class DoorKey(Record):
    """A scanner's credential for one event. The key itself is shown once and stored only as its hash."""

    event_id: str = stored("eventId", text, "")
    label: str = stored("label", text, "")
    key_hash: str = stored("keyHash", text, "")
    """SHA-256 of the whole key, hex."""
    created_at: datetime | None = stored("createdAt", moment, None)
    expires_at: datetime | None = stored("expiresAt", moment, None)
    revoked_at: datetime | None = stored("revokedAt", moment, None)


@dataclass(frozen=True, slots=True)
class UserSums(Embedded):
    """What a summary says, or should say."""

    total_tickets: int = stored("totalTickets", whole, 0)
    used_count: int = stored("usedCount", whole, 0)


@dataclass(frozen=True, slots=True)
class RepairedSummary(Embedded):
    user_id: str = stored("uid", text, "")
    prev: UserSums | None = stored("prev", lambda value: UserSums.of_fields(mapping(value)), None)
    """None where there was no summary."""
    next: UserSums = stored("next", lambda value: UserSums.of_fields(mapping(value)), UserSums())


@dataclass(frozen=True, slots=True)
class ReconcileRun(Record):
    """Audit of one comparison of an event's summaries with its ragers."""

    event_id: str = stored("eventId", text, "")
    processed_users: int = stored("processedUsers", whole, 0)
    updated_users: int = stored("updatedUsers", whole, 0)
    samples: tuple[RepairedSummary, ...] = stored("samples", listed(RepairedSummary.of_fields), ())
    """The first of the repaired ones."""
    scheduled: bool = stored("scheduled", flag, False)
    started_at: datetime | None = stored("startedAt", moment, None)
    finished_at: datetime | None = stored("finishedAt", moment, None)
    duration_ms: int = stored("durationMs", whole, 0)
