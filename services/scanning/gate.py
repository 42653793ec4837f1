"""Where a request scans, and as whom."""

from dataclasses import dataclass

from aiohttp import web

from services.scanning.asking import Method
from shared.http import InvalidRequest


@dataclass(frozen=True, slots=True)
class Gate:
    """The event that is scanned for, if the request names one, and who scans."""

    event_id: str | None
    scanner_id: str | None


async def gate(request: web.Request, event_id: str | None, scanner_id: str | None, method: Method) -> Gate:  # noqa: ARG001
    if event_id is None and method != "token":
        raise InvalidRequest("eventId is missing: only a token says by itself which event it is for.")
    return Gate(event_id, scanner_id)
