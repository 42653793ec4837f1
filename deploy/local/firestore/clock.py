"""The server's time, in microseconds since 1970 UTC."""

import time
from typing import Final

from deploy.local.firestore.errors import FailedPrecondition

KEPT_MICROS: Final = 65 * 60 * 1_000_000
"""How far back reads can go: an hour as promised, and a little for the client that computed the hour."""


class Clock:
    """Commit times rise strictly; every read time lies before all commits that it does not include."""

    def __init__(self, last_commit: int) -> None:
        self._last = last_commit
        self._durable = last_commit
        self.in_flight = False

    def tick(self) -> int:
        """The time of the next commit."""
        self._last = max(_now(), self._last + 1)
        return self._last

    def start(self) -> None:
        """Commits from here on are not visible before ``finish``."""
        self._durable = self._last
        self.in_flight = True

    def finish(self) -> None:
        self.in_flight = False

    def read_time(self) -> int:
        """A time at which exactly that had been committed which is durable now."""
        if not self.in_flight:
            self._durable = self._last = max(_now(), self._last)
        return self._durable

    def check_kept(self, read_time: int) -> None:
        """Raises FailedPrecondition for a time so long ago that its state may have been forgotten."""
        if read_time < self.read_time() - KEPT_MICROS:
            raise FailedPrecondition("The requested snapshot version is too old: an hour is kept.")


def _now() -> int:
    return time.time_ns() // 1000
