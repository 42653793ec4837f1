"""When an event is over: nothing is sold for it then, and nothing is sent to anybody. Pure."""

from datetime import datetime, timedelta
from typing import Final

from shared.documents import Event
from shared.errors import Conflict

OVER_AFTER: Final = timedelta(hours=24)
"""Events say when they start, some of them only the day, and none when it ends."""


class EventPast(Conflict):
    code = "event_past"


def check_not_over(event: Event | None, now: datetime) -> None:
    """Raises EventPast. An event that does not say when it is may be still to come."""
    starts_at = event.starts_at if event else None
    if starts_at is not None and starts_at + OVER_AFTER < now:
        raise EventPast("This event is over.", fields={"eventId": event.id} if event else {})
