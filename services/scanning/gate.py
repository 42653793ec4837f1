"""Where a request scans, and as whom: the gate it names, or the one that its door key opens."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from services.scanning import door_keys
from services.scanning.asking import Method
from services.scanning.door_keys import OtherEventsDoorKey
from shared import auth
from shared.documents import DoorKey
from shared.errors import Forbidden
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.http import InvalidRequest

HEADER: Final = "x-door-key"
FRESH_SECONDS: Final = 5.0
"""For so long a key that was revoked by another replica is still taken here."""

_KEPT: Final = 1000
_UNKNOWN: Final = datetime.min.replace(tzinfo=UTC)
_OPENED: Final = frozenset({"/scan-ticket", "/scan-ticket/preview", "/scan-ticket/batch", "/events/{eventId}/manifest"})


class DoorKeyNotEnough(Forbidden):
    """A door key opens the door, nothing else, even where the proxy alone is trusted."""

    code = "door_key_not_enough"


@dataclass(frozen=True, slots=True)
class Gate:
    """The event that is scanned for, if the request names one, and who scans."""

    event_id: str | None
    scanner_id: str | None


class DoorKeys:
    """The door keys of the database, remembered for a few seconds: a busy door asks for the same one all the time."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: OrderedDict[str, tuple[float, DoorKey | None]] = OrderedDict()

    async def verified(self, key: str) -> DoorKey:
        """The record of a key that opens a door; InvalidDoorKey or DoorKeyExpired."""
        return door_keys.check(await self._record(door_keys.id_of(key)), key, datetime.now(UTC))

    async def of_event(self, event_id: str) -> Sequence[DoorKey]:
        """The newest first."""
        query = Query("doorKeys", where=[(DoorKey.stored_name("event_id"), "==", event_id)], limit=_KEPT)
        keys = [key for document in await self._database.query(query) if (key := DoorKey.of(document))]
        return sorted(keys, key=lambda key: (key.created_at or _UNKNOWN, key.id), reverse=True)

    def forget(self, key_id: str) -> None:
        self._known.pop(key_id, None)

    async def _record(self, key_id: str) -> DoorKey | None:
        at, record = self._known.get(key_id, (-FRESH_SECONDS, None))
        if time.monotonic() - at < FRESH_SECONDS:
            return record
        since = time.monotonic()
        record = DoorKey.of(await self._database.get(paths.door_key(key_id)))
        self._known[key_id] = since, record
        self._known.move_to_end(key_id)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return record


DOOR_KEYS: Final = web.AppKey("door_keys", DoorKeys)


async def gate(request: web.Request, event_id: str | None, scanner_id: str | None) -> Gate:
    """A request with a door key is at that key's event, under its label; the others are where they say they are."""
    key = request.headers.get(HEADER)
    if key is None:
        return Gate(event_id, scanner_id)
    record = await request.app[DOOR_KEYS].verified(key)
    if event_id not in {None, record.event_id}:
        raise OtherEventsDoorKey("This scanner's key is for another event.")
    return Gate(record.event_id, record.label)


async def gate_for(request: web.Request, event_id: str | None, scanner_id: str | None, method: Method) -> Gate:
    """As ``gate``, for one ticket: only a token says by itself which event it is for."""
    at = await gate(request, event_id, scanner_id)
    if at.event_id is None and method != "token":
        raise InvalidRequest("eventId is missing: a user or a rager is looked up at an event.")
    return at


async def require_admin_or_key(request: web.Request, event_id: str) -> None:
    """Admits a scanner of this event, or an admin."""
    if HEADER in request.headers:
        await gate(request, event_id, None)
    else:
        await auth.require_admin(request)


@web.middleware
async def doors_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuses a door key where it opens nothing."""
    resource = request.match_info.route.resource
    if HEADER in request.headers and (resource is None or resource.canonical not in _OPENED):
        raise DoorKeyNotEnough("A scanner's key only scans and previews. Please sign in as an admin.")
    return await handler(request)
