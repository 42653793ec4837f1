"""An application of ours behind a real socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from shared.config import Settings

KEY = {"x-proxy-key": "first"}


def settings(**fields: Any) -> Settings:
    return Settings(**{"proxy_key": "first,second", "google_cloud_project": "demo-local", **fields})


@asynccontextmanager
async def client_of(app: web.Application) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    server = TestServer(app)
    await server.start_server(auto_decompress=False)  # as in ``shared.app.runner_of``
    async with TestClient(server) as client:
        yield client


async def body_of(response: ClientResponse, status: int) -> dict[str, Any]:
    """The JSON body of a response that must have ``status``."""
    text = await response.text()
    assert response.status == status, text
    body = await response.json()
    assert isinstance(body, dict)
    return body
