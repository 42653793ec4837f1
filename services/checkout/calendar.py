"""A calendar entry for an event, as RFC 5545 has it."""

from datetime import datetime, timedelta
from typing import Final

from shared.documents import Event

_LENGTH: Final = timedelta(hours=4)
"""Events say when they start, not when they end."""
_FOLD: Final = 73
"""Octets of a line before it is folded (RFC 5545, section 3.1, allows 75 with the fold's space)."""


def invitation(event: Event) -> str:
    """The event as an .ics file; it must have a start."""
    start = event.starts_at
    if start is None:
        raise ValueError(f"event {event.id} has no date")
    lines = (
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//ticketing//receipts//EN",
        "METHOD:PUBLISH",
        "BEGIN:VEVENT",
        f"UID:{_escaped(event.id)}@tickets",
        f"DTSTAMP:{_stamp(start)}",
        f"DTSTART:{_stamp(start)}",
        f"DTEND:{_stamp(start + _LENGTH)}",
        f"SUMMARY:{_escaped(event.name)}",
        "END:VEVENT",
        "END:VCALENDAR",
    )
    return "".join(_folded(line) + "\r\n" for line in lines)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%dT%H%M%SZ")


def _escaped(text: str) -> str:
    for special in ("\\", ";", ","):
        text = text.replace(special, "\\" + special)
    return " ".join(text.splitlines())


def _folded(line: str) -> str:
    """Long lines continue on the next, never inside a character."""
    pieces, piece = [], ""
    for character in line:
        if len((piece + character).encode()) > _FOLD:
            pieces.append(piece)
            piece = ""
        piece += character
    return "\r\n ".join([*pieces, piece])
