"""One address for the whole system: every path goes to its service, as the load balancer does it elsewhere.

It changes nothing on the way: bodies are streamed as they come (the webhook's signature is over its exact bytes),
headers pass, and the services check the proxy key themselves.

    python -m deploy.local.gateway --port 8080 --service checkout=http://127.0.0.1:8081 ... --link mailbox=http://...
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial

import aiohttp
import structlog
from aiohttp import hdrs, web
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from deploy.local.catalogue import as_one, descriptions
from deploy.local.overview import OVERVIEW_POLICY, render_overview
from deploy.local.routing import SEGMENTS, SERVICES
from shared import docs
from shared.app import VERSION, run
from shared.config import SETTINGS, Settings
from shared.errors import Refusal, Unavailable
from shared.metrics import HTTP_METRICS, REGISTRY, HttpMetrics, handler, new_registry
from shared.middleware import REQUEST_ID, REQUEST_ID_HEADER, errors, observe, stamp
from shared.openapi import Json
from shared.readiness import READINESS, Readiness

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 60.0
"""Silence after which a service is given up. Longer than a service's own deadlines, so that it is the service that
says what is wrong, unless it is past saying anything.
"""

PROBE_TIMEOUT = aiohttp.ClientTimeout(total=2)

HOP_BY_HOP = frozenset(
    [
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ]
)
"""RFC 9110, section 7.6.1: these are about one connection, not about the message."""


class ServiceDown(Unavailable):
    code = "service_down"


class BadGateway(Refusal):
    status = 502
    code = "bad_gateway"


class GatewayTimeout(Refusal):
    status = 504
    code = "gateway_timeout"


Services = Mapping[str, str]
NOT_OURS_TO_ADD = (hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT)
"""What aiohttp's client would send where the caller sent nothing."""

SESSION = web.AppKey("session", aiohttp.ClientSession)
PATIENCE = web.AppKey("patience", float)
ADDRESSES: web.AppKey[Services] = web.AppKey("addresses")


def create_app(
    services: Services, links: Mapping[str, str], *, answer_seconds: float = ANSWER_SECONDS
) -> web.Application:
    """``services``: base URL by name. ``links``: what else the index page leads to."""
    app = web.Application(middlewares=(observe, errors))
    app[ADDRESSES] = services
    app[PATIENCE] = answer_seconds
    app[REGISTRY] = new_registry("gateway", VERSION)
    app[HTTP_METRICS] = HttpMetrics(app[REGISTRY])
    app[READINESS] = Readiness({name: partial(_ready, url=url) for name, url in services.items()})
    app.on_response_prepare.append(stamp)
    app.cleanup_ctx.append(_session)
    app.router.add_get("/", partial(_index, links=links))
    app.router.add_get("/docs", _docs)
    app.router.add_get("/openapi.json", _openapi)
    app.router.add_get("/health", _health)
    app.router.add_get("/ready", app[READINESS].handle)
    app.router.add_get("/metrics", handler(app[REGISTRY]))
    for service, segments in SEGMENTS.items():
        for segment in segments:
            forward = partial(_forward, service=service)
            app.router.add_route("*", f"/{segment}", forward)
            app.router.add_route("*", f"/{segment}/{{rest:.*}}", forward)
    return app


async def _session(app: web.Application) -> AsyncIterator[None]:
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS, sock_read=app[PATIENCE])
    connector = aiohttp.TCPConnector(limit=0)  # the services decide how much is too much
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, auto_decompress=False, skip_auto_headers=NOT_OURS_TO_ADD
    ) as session:
        app[SESSION] = session
        yield


async def _ready(app: web.Application, *, url: str) -> None:
    async with app[SESSION].get(f"{url}/ready", timeout=PROBE_TIMEOUT, raise_for_status=True):
        pass


async def _health(request: web.Request) -> web.Response:
    """Checkout's keys on top, because the present proxies ask this address what they asked checkout."""
    services = await _health_of_all(request.app)
    return web.json_response({**services.get("checkout", {}), "ok": True, "services": services})


async def _health_of_all(app: web.Application) -> dict[str, dict[str, object]]:
    names = app[ADDRESSES].keys()
    bodies = await asyncio.gather(*(_health_of(app, name) for name in names))
    return dict(zip(names, bodies, strict=True))


async def _health_of(app: web.Application, service: str) -> dict[str, object]:
    try:
        async with app[SESSION].get(f"{app[ADDRESSES][service]}/health", timeout=PROBE_TIMEOUT) as reply:
            body: dict[str, object] = await reply.json()
            return body
    except (aiohttp.ClientError, TimeoutError):
        return {"ok": False}


async def _index(request: web.Request, *, links: Mapping[str, str]) -> web.Response:
    services = request.app[ADDRESSES]
    specs = await descriptions(request.app[SESSION], services)
    html = render_overview(str(request.url.origin()), services, links, specs)
    headers = {"Content-Security-Policy": OVERVIEW_POLICY}
    return web.Response(text=html, content_type="text/html", headers=headers)


async def _docs(request: web.Request) -> web.Response:
    return web.Response(text=docs.page(await _described(request)), content_type="text/html", headers=docs.POLICY)


async def _openapi(request: web.Request) -> web.Response:
    return web.json_response(await _described(request))


async def _described(request: web.Request) -> Json:
    return as_one(await descriptions(request.app[SESSION], request.app[ADDRESSES]), VERSION)


async def _forward(request: web.Request, *, service: str) -> web.StreamResponse:
    url = URL(request.app[ADDRESSES][service] + request.rel_url.raw_path_qs, encoded=True)
    body = request.content if request.body_exists else None
    session = request.app[SESSION]
    response: web.StreamResponse | None = None
    try:
        async with session.request(
            request.method, url, headers=_to_service(request), data=body, allow_redirects=False
        ) as upstream:
            response = web.StreamResponse(status=upstream.status, headers=_passing(upstream.headers))
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response
    except (aiohttp.ClientError, TimeoutError) as error:
        log.warning("forwarding_failed", service=service, error=type(error).__name__)
        if response is None or not response.prepared:
            raise _failure(service, error, request.app[PATIENCE]) from None  # the log has just told it
        return _cut_off(request, response)


def _cut_off(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Half an answer is out: closing the connection is the only way left to say that it is not whole."""
    if request.transport:
        request.transport.abort()
    return response


def _failure(service: str, error: Exception, patience: float) -> Refusal:
    sentence = "This part of the system is not available right now. Please try again."
    if isinstance(error, aiohttp.ClientConnectorError):
        return ServiceDown(sentence, message=f"{service} does not accept connections; is it running?")
    if isinstance(error, TimeoutError):
        detail = f"{service} did not answer within {patience:g} s and may still do what it was asked; see its log."
        return GatewayTimeout(sentence, message=detail)
    return BadGateway(sentence, message=f"{service} closed the connection without an answer; see its log.")


def _to_service(request: web.Request) -> CIMultiDict[str]:
    headers = _passing(request.headers)
    headers.pop(hdrs.HOST, None)
    headers[REQUEST_ID_HEADER] = request[REQUEST_ID]
    before = headers.get(hdrs.X_FORWARDED_FOR)
    headers[hdrs.X_FORWARDED_FOR] = f"{before}, {request.remote}" if before else str(request.remote)
    return headers


def _passing(headers: CIMultiDictProxy[str]) -> CIMultiDict[str]:
    """The headers without the ones about the connection, by the RFC or because Connection names them."""
    named = {name.strip().lower() for value in headers.getall(hdrs.CONNECTION, []) for name in value.split(",")}
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP | named)


def _pair(text: str) -> tuple[str, str]:
    name, found, url = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=URL, like checkout=http://127.0.0.1:8081")
    return name, url.rstrip("/")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.gateway")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--service", type=_pair, action="append", required=True, metavar="NAME=URL")
    parser.add_argument("--link", type=_pair, action="append", default=[], metavar="NAME=URL")
    given = parser.parse_args()
    if missing := set(SERVICES) - dict(given.service).keys():
        parser.error(f"where do these services listen: {', '.join(sorted(missing))}? Give each with --service NAME=URL")
    settings = Settings(
        allow_no_proxy_key=True, google_cloud_project="local", port=given.port, drain_seconds=0, proxy_key=None
    )
    app = create_app(dict(given.service), dict(given.link))
    app[SETTINGS] = settings
    run(app, settings)


if __name__ == "__main__":
    main()
