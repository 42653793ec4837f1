"""Faults that a test asks an embedded third party to have: refusals, lost replies, delays."""

import random
from collections.abc import Sequence
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field


class Fault(BaseModel):
    """One kind of misbehaviour for the next ``count`` matching requests, or for a share (``rate``) of them.

    ``refuse`` answers with ``status`` before anything is applied, ``lost_reply`` applies the request and then
    drops the connection, ``delay`` waits ``seconds`` before it applies the request.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["refuse", "lost_reply", "delay"]
    count: int | None = Field(default=None, ge=1)
    """None: until cleared."""
    rate: float = Field(default=1.0, gt=0, le=1)
    method: str | None = None
    path: str = ""
    """A prefix of the request's path."""
    status: int = Field(default=500, ge=400, le=599)
    seconds: float = Field(default=0.0, ge=0, le=60)
    """How long a delay lasts; for a 429 or 503 also what Retry-After says, rounded up."""

    def matches(self, method: str, path: str) -> bool:
        return path.startswith(self.path) and self.method in (None, method)


class Faults:
    """The faults in force, tried in the order in which they were added; the dice are seeded."""

    def __init__(self, seed: int = 0) -> None:
        self._dice = random.Random(seed)  # noqa: S311  repeatable, not secret
        self._faults: list[tuple[Fault, list[int]]] = []

    def add(self, *faults: Fault) -> None:
        self._faults.extend((fault, [fault.count or -1]) for fault in faults)

    def clear(self) -> None:
        self._faults.clear()

    def active(self) -> Sequence[Fault]:
        """With ``count`` as it is now: what is left of it."""
        return [f.model_copy(update={"count": left[0] if left[0] > 0 else None}) for f, left in self._faults]

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, used up by one."""
        for fault, left in self._faults:
            if fault.matches(method, path) and self._dice.random() < fault.rate:
                left[0] -= 1
                self._faults = [(f, n) for f, n in self._faults if n[0] != 0]
                return fault
        return None


def drop_connection(request: web.Request) -> web.Response:
    """The reply is lost: the caller sees a reset connection and cannot know that its request was applied."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500, text="nobody reads this: the connection is gone")
