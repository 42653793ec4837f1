"""The server's time, in microseconds since 1970 UTC."""

import time


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


def _now() -> int:
    return time.time_ns() // 1000
