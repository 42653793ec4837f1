"""The life of a service: ready, draining, stopped. Over real sockets, in a process of its own where signals matter."""

import asyncio
import gzip
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from shared.app import create_app, serve
from shared.http import Routes
from shared.schemas import Model
from tests.support.web import KEY, body_of, client_of, settings


class Done(Model):
    ok: bool = True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_health_says_more_where_the_service_does() -> None:
    app = create_app(settings(), Routes(), service="checkout", health={"stripeConfigured": True})
    async with client_of(app) as client:
        assert await body_of(await client.get("/health"), 200) == {"ok": True, "stripeConfigured": True}


async def test_readiness_names_the_checks_that_fail() -> None:
    async def answers(_app: web.Application) -> None:
        pass

    async def refuses(_app: web.Application) -> None:
        raise ConnectionRefusedError

    checks = {"mail": answers, "firestore": refuses}
    async with client_of(create_app(settings(), Routes(), service="test", checks=checks)) as client:
        body = await body_of(await client.get("/ready"), 503)
        assert (body["code"], body["checks"]) == ("not_ready", {"mail": "ok", "firestore": "failed"})
        assert (await client.get("/health")).status == 200


async def test_two_applications_in_one_process_do_not_share_metrics() -> None:
    first, second = (create_app(settings(), Routes(), service="test") for _ in range(2))
    async with client_of(first) as one, client_of(second) as other:
        await one.get("/health")
        series = 'http_requests_total{method="GET",route="/health",status="200"}'
        assert series in await (await one.get("/metrics")).text()
        assert series not in await (await other.get("/metrics")).text()


class Story:
    """An application that writes down in which order things happen while it stops."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.port = free_port()
        self.stop, self.started, self.release = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.settings = settings(port=self.port, drain_seconds=0.3, shutdown_timeout_seconds=5)
        routes = Routes()

        @routes.post("/slow", None, Done)
        async def slow(_request: web.Request) -> Done:
            self.started.set()
            await self.release.wait()
            self.events.append("slow answered")
            return Done()

        self.app = create_app(self.settings, routes, service="test", contexts=[self._context])

    async def _context(self, _app: web.Application) -> AsyncIterator[None]:
        self.events.append("context entered")
        yield
        self.events.append("context left")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(serve(self.app, self.settings, lambda: self.stop))
        try:
            yield task
        finally:
            self.stop.set()
            self.release.set()
            await task

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def until_up(session: aiohttp.ClientSession, url: str) -> None:
    """Waits until something listens; each attempt is one connection, and the test's time-out ends it."""
    while True:
        try:
            async with session.get(f"{url}/ready") as reply:
                assert reply.status == 200
                return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.02)


async def until(session: aiohttp.ClientSession, url: str, status: int | None) -> None:
    while await status_of(session, url) != status:
        await asyncio.sleep(0.01)


async def status_of(session: aiohttp.ClientSession, url: str) -> int | None:
    """The status, or None when nothing listens any more."""
    try:
        async with session.get(url) as reply:
            return reply.status
    except aiohttp.ClientConnectionError:
        return None


async def test_stopping_fails_readiness_then_closes_the_socket_then_finishes_requests_then_cleans_up() -> None:
    story = Story()
    async with aiohttp.ClientSession(headers=KEY) as session, story.running() as task:
        await until_up(session, story.url)
        slow = asyncio.create_task(session.post(f"{story.url}/slow"))
        await story.started.wait()
        story.stop.set()
        await until(session, f"{story.url}/ready", 503)
        assert await status_of(session, f"{story.url}/health") == 200, "draining, it still answers"
        await until(session, f"{story.url}/health", None)
        assert story.events == ["context entered"], "the request in flight keeps everything open"
        story.release.set()
        assert (await slow).status == 200
        await task
        assert story.events == ["context entered", "slow answered", "context left"]


async def test_while_draining_kept_alive_connections_are_asked_to_go() -> None:
    story = Story()
    async with aiohttp.ClientSession(headers=KEY) as session, story.running():
        await until_up(session, story.url)
        async with session.get(f"{story.url}/health") as before:
            assert before.headers.get("Connection") != "close"
        story.stop.set()
        await asyncio.sleep(0)
        async with session.get(f"{story.url}/health") as after:
            assert after.headers.get("Connection") == "close"


async def test_a_compressed_body_costs_nothing_because_nobody_inflates_it() -> None:
    """In the process's CPU time, which other processes do not change: inflating these takes most of a second."""
    story = Story()
    bomb = gzip.compress(bytes(100_000_000), 9)
    compressed = {"Content-Encoding": "gzip"}
    async with aiohttp.ClientSession() as session, story.running():
        await until_up(session, story.url)
        start = time.process_time()
        for _ in range(5):
            async with session.post(f"{story.url}/slow", data=bomb, headers=compressed) as reply:
                assert reply.status == 403
        assert time.process_time() - start < 0.15
        async with session.post(f"{story.url}/slow", data=bomb, headers={**KEY, **compressed}) as reply:
            body = await body_of(reply, 400)
        assert (body["code"], body["message"]) == ("malformed_body", "Send the body without Content-Encoding.")


SOCIAL = {"PROXY_KEY": "first", "GOOGLE_CLOUD_PROJECT": "demo-local", "DRAIN_SECONDS": "0"}


async def start_social(**environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.social"),
        env={"PATH": os.environ["PATH"], **environment},
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_service_stops_cleanly_on_a_signal(number: signal.Signals) -> None:
    port = free_port()
    process = await start_social(**SOCIAL, PORT=str(port))
    async with aiohttp.ClientSession() as session:
        await until_up(session, f"http://127.0.0.1:{port}")
        process.send_signal(number)
        _, printed = await process.communicate()
    assert process.returncode == 0
    assert [word for word in ("listening", "draining", "stopped") if f'"event": "{word}"' in printed.decode()] == [
        "listening",
        "draining",
        "stopped",
    ]


async def test_a_busy_port_is_a_sentence() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        process = await start_social(**SOCIAL, PORT=str(busy.getsockname()[1]))
        _, printed = await process.communicate()
    assert process.returncode == 1
    assert b"is in use: stop what listens there, or set PORT" in printed
    assert b"Traceback" not in printed


async def test_a_missing_configuration_is_a_sentence() -> None:
    process = await start_social()
    _, printed = await process.communicate()
    assert process.returncode == 2
    assert b"PROXY_KEY is not set" in printed
    assert b"Traceback" not in printed


async def test_missing_google_credentials_are_a_sentence(tmp_path: Path) -> None:
    missing = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "missing.json")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.scanning"),
        env={"PATH": os.environ["PATH"], **SOCIAL, **missing, "PORT": "0"},
        stderr=asyncio.subprocess.PIPE,
    )
    _, printed = await process.communicate()
    assert process.returncode == 2
    assert b"set GOOGLE_APPLICATION_CREDENTIALS to the file" in printed
    assert b"Traceback" not in printed


async def test_the_root_leads_a_browser_to_the_documentation() -> None:
    async with client_of(create_app(settings(), Routes(), service="test")) as client:
        reply = await client.get("/", allow_redirects=False)
        assert (reply.status, reply.headers["Location"]) == (302, "docs")
        assert (await client.post("/")).status == 403, "nothing else is open there"
