"""Counting in this process, for rate limits."""

import time
from collections.abc import Callable
from typing import Final

from limits.aio.storage import Storage

_FEW: Final = 1024


class Counters(Storage):
    """A storage of ``limits``: counters that expire.

    Its own memory storage looks at every counter on every hit, which costs milliseconds once there are thousands.
    This one looks around when the number of counters has doubled, so that a hit costs the same however many there are.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._counts: dict[str, tuple[int, float]] = {}
        self._sweep_at = _FEW

    def __len__(self) -> int:
        return len(self._counts)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """``expiry`` is in seconds from the first count."""
        count, until = self._live(key) or (0, self._clock() + expiry)
        self._counts[key] = (count + amount, until)
        if len(self._counts) > self._sweep_at:
            self._sweep()
        return count + amount

    async def get(self, key: str) -> int:
        live = self._live(key)
        return live[0] if live else 0

    async def get_expiry(self, key: str) -> float:
        """Seconds since the epoch."""
        live = self._live(key)
        return live[1] if live else self._clock()

    async def check(self) -> bool:
        return True

    async def reset(self) -> int:
        count = len(self._counts)
        self._counts.clear()
        return count

    async def clear(self, key: str) -> None:
        self._counts.pop(key, None)

    def _live(self, key: str) -> tuple[int, float] | None:
        found = self._counts.get(key)
        return found if found and found[1] > self._clock() else None

    def _sweep(self) -> None:
        now = self._clock()
        self._counts = {key: entry for key, entry in self._counts.items() if entry[1] > now}
        self._sweep_at = max(_FEW, 2 * len(self._counts))
