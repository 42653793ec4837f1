"""A service under test: the real application on a real socket, and a client that speaks to it as the proxies do."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from shared.app import runner_of

PROXY_KEY = "test-proxy-key"


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str | None:
        """The refusal's code."""
        code: str | None = self.body.get("code")
        return code


class Service:
    """Speaks JSON with the proxy key to a base URL."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, app: web.Application | None = None, *, key: str = PROXY_KEY
    ) -> None:
        self._session = session
        self._key = key
        self.url = url.rstrip("/")
        self._app = app

    @property
    def app(self) -> web.Application:
        """The application, where it runs in this process."""
        assert self._app is not None
        return self._app

    async def post(self, path: str, body: object, *, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.request("POST", path, json=body, headers=headers)

    async def get(self, path: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.request("GET", path, headers=headers)

    async def request(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, **options: Any
    ) -> Reply:
        sent = {"x-proxy-key": self._key, **(headers or {})}
        async with self._session.request(method, self.url + path, headers=sent, **options) as response:
            is_json = response.content_type == "application/json"
            body = await response.json() if is_json else await response.text()
            return Reply(response.status, body, dict(response.headers))

    async def metric(self, name: str, **labels: str) -> float:
        """The value of one sample of /metrics, 0 if it is not there (yet)."""
        text = (await self.get("/metrics")).body
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in text.splitlines():
            sample, _, value = line.rpartition(" ")
            metric, _, rest = sample.partition("{")
            if metric == name and wanted <= set(rest.rstrip("}").split(",")):
                return float(value)
        return 0.0


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[Service]:
    """The application on a free port of 127.0.0.1, until the block ends."""
    runner = runner_of(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            yield Service(session, f"http://{host}:{port}", app)
    finally:
        await runner.cleanup()
