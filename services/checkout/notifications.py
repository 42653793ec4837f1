"""News in the app, written in the commit that makes it: ``users/{uid}/notifications/{id}`` and the unread counter.

A commit happens once, so each piece of news is there once and counted once; no job is needed for it. Pure.
"""

from collections.abc import Iterator
from datetime import datetime

from shared.documents import Notification, TicketTransfer, User
from shared.firestore import paths
from shared.operations import Increment, Merge, Put, Write


def told(user_id: str | None, transfer: TicketTransfer, news: str, body: str, now: datetime) -> Iterator[Write]:
    """What happened to a transfer, for one user; nothing where nobody is to be told. ``news`` is one of TITLES."""
    if user_id is None:
        return
    notification = Notification(
        path=paths.notification(user_id, f"{transfer.id}-{news}"),
        kind=f"transfer_{news}",
        title=TITLES[news],
        body=body,
        event_id=transfer.event_id,
        transfer_id=transfer.id,
        created_at=now,
    )
    yield Put(notification.path, notification.fields())
    yield Merge(paths.user(user_id), User.patch(unread_notifications=Increment(1)))


TITLES = {
    "offered": "You have been sent tickets",
    "claimed": "Your tickets were claimed",
    "cancelled": "A transfer was cancelled",
    "expired": "Your transfer has expired",
}
