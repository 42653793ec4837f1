"""What is left to be done, by workers or by people."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shared.documents.reading import mapping, texts
from shared.operations import Value
from shared.records import Record, moment, stored, text, whole


@dataclass(frozen=True, slots=True)
class AdminAlert(Record):
    """What a person must look at."""

    kind: str = stored("kind", text, "")
    message: str = stored("message", text, "")
    subject: str = stored("subject", text, "")
    """The path of the document it is about."""
    details: tuple[str, ...] = stored("details", texts, ())
    created_at: datetime | None = stored("createdAt", moment, None)
    resolved_at: datetime | None = stored("resolvedAt", moment, None)

    @property
    def order_id(self) -> str:
        """The payment whose order, or whose refund, it is about."""
        _, _, below = self.subject.partition("/")
        return below.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Job(Record):
    """Durable background work. ``nextAt`` is when a worker should look next: when it is due, when a lease ends, or
    null once there is nothing left to do.
    """

    kind: str = stored("kind", text, "")
    payload: Mapping[str, Value] | None = stored("payload", mapping, None)
    shard: int = stored("shard", whole, 0)
    state: str = stored("state", text, "ready")
    """ready, running, done or dead."""
    next_at: datetime | None = stored("nextAt", moment, None)
    attempts: int = stored("attempts", whole, 0)
    cursor: str | None = stored("cursor", text, None)
    lease_owner: str | None = stored("leaseOwner", text, None)
    lease_until: datetime | None = stored("leaseUntil", moment, None)
    epoch: int = stored("epoch", whole, 0)
    last_error: str | None = stored("lastError", text, None)
    created_at: datetime | None = stored("createdAt", moment, None)
    expires_at: datetime | None = stored("expiresAt", moment, None)
    """When a finished job may be deleted (a Firestore TTL field)."""
