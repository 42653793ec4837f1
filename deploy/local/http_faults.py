"""Faults that a test asks an embedded third party to have: refusals, lost replies, delays."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError


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
    """How long a delay lasts; of a refusal, what Retry-After says, rounded up."""

    def matches(self, method: str, path: str) -> bool:
        return path.startswith(self.path) and self.method in (None, method)


@dataclass(slots=True)
class _Active:
    fault: Fault
    left: int | None


class Faults:
    """The faults in force, tried in the order in which they were added; the dice are seeded."""

    def __init__(self, seed: str | None = None) -> None:
        self._dice = random.Random(seed or "faults")  # noqa: S311  repeatable, not secret
        self._active: list[_Active] = []

    def add(self, *faults: Fault) -> None:
        self._active.extend(_Active(fault, fault.count) for fault in faults)

    def clear(self) -> None:
        self._active.clear()

    def active(self) -> Sequence[Fault]:
        """With ``count`` as what is left of it."""
        return [active.fault.model_copy(update={"count": active.left}) for active in self._active]

    def take(self, method: str, path: str) -> Fault | None:
        """The fault that this request meets, used up by one."""
        for active in self._active:
            if active.fault.matches(method, path) and self._dice.random() < active.fault.rate:
                self._use(active)
                return active.fault
        return None

    def _use(self, active: _Active) -> None:
        if active.left is not None:
            active.left -= 1
            if active.left == 0:
                self._active.remove(active)

    def routes(self) -> list[web.RouteDef]:
        """``/_sim/faults``: GET lists them, POST adds one (a Fault as JSON), DELETE clears them all."""
        return [
            web.get("/_sim/faults", self._list),
            web.post("/_sim/faults", self._post),
            web.delete("/_sim/faults", self._delete),
        ]

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [fault.model_dump() for fault in self.active()]})

    async def _post(self, request: web.Request) -> web.Response:
        try:
            self.add(Fault.model_validate_json(await request.read()))
        except ValidationError as invalid:
            return web.json_response({"message": f"This is no fault: {invalid}"}, status=400)
        return await self._list(request)

    async def _delete(self, request: web.Request) -> web.Response:
        self.clear()
        return await self._list(request)


def drop_connection(request: web.Request) -> web.Response:
    """The reply is lost: the caller sees a reset connection and cannot know that its request was applied."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500, text="nobody reads this: the connection is gone")
