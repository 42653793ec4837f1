"""What a scanner asks, and where the documents of it are. Pure."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Method = Literal["token", "user", "rager"]


@dataclass(frozen=True, slots=True)
class Ask:
    """Admit ``count`` tickets of what ``key`` names: a ticket token, a uid or a rager id, by ``method``.

    ``event_id`` is the gate's event; only a token does without one. ``repeatable`` means that the scanner chose the
    scan id and may ask again, so that a denial is recorded too. ``at`` is when the ticket was scanned, which for
    offline scans is earlier than ``now``.
    """

    method: Method
    key: str
    event_id: str | None
    scan_id: str
    repeatable: bool
    scanner_id: str | None
    count: int
    at: datetime
    now: datetime

    @property
    def subject(self) -> str:
        """Of the record of a scan: what it was asked for, without telling it."""
        return hashlib.sha256(f"{self.method}:{self.key}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Ticket:
    """Where the ragers are that an ask may consume.

    ``named`` is the one that a token or a rager id names, None where the user has the choice. ``user_id`` is whom the
    lookup takes for the holder, None for a guest or where it does not know. ``complete``: ``rager_ids`` are all that
    the holder has for the event.
    """

    event_id: str
    named: str | None
    user_id: str | None
    rager_ids: tuple[str, ...]
    complete: bool
