"""The application factory, and running it: ``create_app`` wires, ``run`` serves until it is told to stop.

An app has ``/health``, ``/ready``, ``/metrics``, ``/openapi.json`` and ``/docs`` besides its routes, and ``/`` leads to
the last of these.
"""

import asyncio
import errno
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping

import aiohttp
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry

from shared import docs, logs, metrics
from shared.auth import ID_TOKENS, IS_ADMIN_UID, OPEN_HANDLERS, IsAdminUid
from shared.config import SETTINGS, Settings, google_credentials
from shared.http import Routes
from shared.id_tokens import IdTokens, SigningKeys
from shared.metrics import HTTP_METRICS, REGISTRY, HttpMetrics
from shared.middleware import MIDDLEWARES, go_on, stamp
from shared.rate_limits import rate_limits
from shared.readiness import READINESS, Check, Readiness

__all__ = ["HTTP_METRICS", "ID_TOKENS", "READINESS", "REGISTRY", "SETTINGS", "create_app", "run", "runner_of", "serve"]

VERSION = "0.1.0"
log = structlog.get_logger()

CleanupContext = Callable[[web.Application], AsyncIterator[None]]


async def _no_admins(_app: web.Application, _uid: str) -> bool:
    return False


def create_app(
    settings: Settings,
    routes: Routes,
    *,
    service: str,
    checks: Mapping[str, Check] | None = None,
    health: Mapping[str, bool | str] | None = None,
    is_admin_uid: IsAdminUid = _no_admins,
    contexts: Iterable[CleanupContext] = (),
    registry: CollectorRegistry | None = None,
) -> web.Application:
    """One service as an application.

    checks: what must answer for ``/ready``, by name; a check that raises is a failure. health: further keys of
    ``/health``. is_admin_uid: asked where an ID token has no admin claim. contexts: cleanup contexts, entered in
    order and left in reverse order after the last request.
    """
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=settings.max_body_bytes)
    app[SETTINGS] = settings
    app[REGISTRY] = registry or metrics.new_registry(service, VERSION)
    app[HTTP_METRICS] = HttpMetrics(app[REGISTRY])
    app[READINESS] = Readiness(checks or {})
    app[IS_ADMIN_UID] = is_admin_uid
    app[OPEN_HANDLERS] = frozenset(_register(app, routes, service, {"ok": True, **(health or {})}))
    app.on_response_prepare.append(stamp)
    app.cleanup_ctx.extend([_id_tokens, metrics.loop_lag, rate_limits, *contexts])
    return app


def _register(
    app: web.Application, routes: Routes, service: str, health: Mapping[str, bool | str]
) -> Iterable[Handler]:
    """Adds the routes and answers the handlers that need no proxy key."""
    for route in routes:
        app.router.add_route(route.method, route.path, route.handler, expect_handler=go_on)
        if not route.proxy_key:
            yield route.handler
    for path, handler in {**docs.pages(service, VERSION, routes), **_probes(app, health)}.items():
        app.router.add_get(path, handler, expect_handler=go_on)
        yield handler


def _probes(app: web.Application, health: Mapping[str, bool | str]) -> dict[str, Handler]:
    async def alive(_request: web.Request) -> web.Response:
        return web.json_response(dict(health))

    exposition = metrics.handler(app[REGISTRY])
    return {"/health": alive, "/ready": app[READINESS].handle, "/metrics": exposition}


async def _id_tokens(app: web.Application) -> AsyncIterator[None]:
    settings = app[SETTINGS]
    async with aiohttp.ClientSession() as session:
        app[ID_TOKENS] = IdTokens(SigningKeys(settings.id_token_certs_url, session), settings.google_cloud_project)
        yield


def run(app: web.Application, settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then drains; for ``__main__``."""
    logs.configure(settings.log_level, settings.log_format)
    with google_credentials(), asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            runner.run(serve(app, settings, _stop_signal))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            sys.exit(f"Port {settings.port} is in use: stop what listens there, or set PORT to another one.")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  it does not install everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop


def _stop_signal() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def runner_of(app: web.Application) -> web.AppRunner:
    """How an application is served, in tests too.

    Bodies are not inflated: aiohttp would do that on the loop before anything here has seen the request, so that a
    few kilobytes without a key could hold up everybody. A request that goes away does not cancel its handler.
    """
    return web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        handler_cancellation=False,
        shutdown_timeout=app[SETTINGS].shutdown_timeout_seconds,
    )


async def serve(app: web.Application, settings: Settings, stopping: Callable[[], asyncio.Event]) -> None:
    """Listens until the event is set. Then readiness fails, and after ``drain_seconds`` (in which the load balancer
    notices and requests are still answered) the socket closes, requests in flight finish within
    ``shutdown_timeout_seconds``, and the cleanup contexts end.
    """
    stop = stopping()
    runner = runner_of(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.host, settings.port, backlog=1024).start()
        host, port = runner.addresses[0][:2]
        log.info("listening", address=f"{host}:{port}")
        await stop.wait()
        app[READINESS].drain()
        log.info("draining", seconds=settings.drain_seconds)
        await asyncio.sleep(settings.drain_seconds)
    finally:
        await runner.cleanup()
        log.info("stopped")
