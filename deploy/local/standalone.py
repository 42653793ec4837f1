"""Run one small aiohttp server: inside a test, or as a process of its own until it is told to stop."""

import asyncio
import json
import signal
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from aiohttp import web

SHUTDOWN_SECONDS = 2.0
"""How long requests in flight may take to finish: local callers are quick, and a held connection is idle."""


class Serving(Protocol):
    """What a server says of itself once it listens."""

    @property
    def url(self) -> str: ...

    @property
    def port(self) -> int: ...


class Listener:
    """An application on a socket; port 0 picks a free one, which is known after ``start``."""

    def __init__(self, app: web.Application, host: str, port: int) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
        self._host = host
        self.port = port

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self.port, backlog=1024).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()


async def answer_ready(_request: web.Request) -> web.Response:
    """``/health`` and ``/ready``: these servers are ready as soon as they listen."""
    return web.json_response({"ok": True})


async def serve_until_stopped(server: AbstractAsyncContextManager[Serving]) -> None:
    """Start, print one ready line to stdout, and stop cleanly on SIGINT or SIGTERM."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with server as serving:
        print("ready", json.dumps({"url": serving.url, "port": serving.port}), flush=True)
        await stopped.wait()
