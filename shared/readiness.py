"""``/ready``: whether a load balancer should send requests here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import aiohttp
import structlog
from aiohttp import web

from shared.errors import Unavailable

log = structlog.get_logger()

Check = Callable[[web.Application], Awaitable[object]]
CHECK_SECONDS = 2.0
NO_ANSWER = (OSError, TimeoutError, aiohttp.ClientError)
"""What a dependency that is not up raises: its name says all, a trace would only bury it."""


class NotReady(Unavailable):
    code = "not_ready"


class Readiness:
    """The checks by name, and whether the process is on its way out."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = dict(checks)
        self.draining = False

    def drain(self) -> None:
        self.draining = True

    async def handle(self, request: web.Request) -> web.Response:
        if self.draining:
            raise NotReady("The service is shutting down.", fields={"checks": {}})
        results = await asyncio.gather(*(self._result(name, request.app) for name in self._checks))
        outcome = dict(zip(self._checks, results, strict=True))
        if failed := [name for name, result in outcome.items() if result != "ok"]:
            raise NotReady(f"Not ready: {', '.join(failed)}.", fields={"checks": outcome})
        return web.json_response({"ok": True, "checks": outcome})

    async def _result(self, name: str, app: web.Application) -> str:
        try:
            await asyncio.wait_for(self._checks[name](app), CHECK_SECONDS)
        except Exception as error:  # whatever a dependency raises, it means that we cannot serve
            known = isinstance(error, NO_ANSWER)
            log.warning("check_failed", check=name, error=type(error).__name__, exc_info=not known)
            return "timeout" if isinstance(error, TimeoutError) else "failed"
        return "ok"


READINESS = web.AppKey("readiness", Readiness)
