"""What a failed call to Firestore means, and how long to wait before the next try."""

import asyncio
import random
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

import grpc
import grpc.aio


class Failure(Enum):
    """``CONTENTION``: nothing was written, try again. ``AWAY``: nobody knows what happened, the markers will tell.
    ``SUSPICIOUS``: the same, but it may be the request's own fault. ``PERMANENT``: trying again would fail again.
    """

    CONTENTION = "contention"
    AWAY = "away"
    SUSPICIOUS = "suspicious"
    PERMANENT = "permanent"


_AWAY: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,  # by the server: our own cancellation is a CancelledError
    }
)
_SUSPICIOUS: Final = frozenset(
    {
        grpc.StatusCode.INTERNAL,  # a stream reset by a proxy or a restarting server, or a request it chokes on
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.RESOURCE_EXHAUSTED,  # a quota, or a message that is too large
    }
)
_STALE_TRANSACTION: Final = ("transaction has expired", "no longer valid", "transaction is invalid")


def classify(error: grpc.aio.AioRpcError) -> Failure:
    code = error.code()
    if code is grpc.StatusCode.ABORTED:
        return Failure.CONTENTION
    if code in _AWAY:
        return Failure.AWAY
    if code in _SUSPICIOUS:
        return Failure.SUSPICIOUS
    details = (error.details() or "").lower()
    if code is grpc.StatusCode.INVALID_ARGUMENT and any(sign in details for sign in _STALE_TRANSACTION):
        return Failure.CONTENTION
    return Failure.PERMANENT


@dataclass(slots=True)
class Backoff:
    """Full jitter: a wait drawn evenly from 0 to a ceiling that doubles. Seconds.

    One per call, never shared: retry state on a shared decorator is a known trap of the client library.
    """

    random: random.Random
    first: float = 0.02
    ceiling: float = 2.0
    tries: int = field(default=0, init=False)

    async def wait(self, until: float) -> None:
        """Wait for the next try, but not past the loop's time ``until``."""
        limit = min(self.ceiling, self.first * 2.0**self.tries)
        self.tries += 1
        left = until - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, min(self.random.uniform(0, limit), left)))
