import asyncio
import io
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from deploy.local.catalogue import as_one
from deploy.local.gateway import ANSWER_SECONDS, create_app
from deploy.local.routing import SERVICES, service_of
from services.checkout.handlers import routes as checkout_routes
from services.scanning.handlers import routes as scanning_routes
from services.social.handlers import routes as social_routes
from shared.config import Settings
from shared.http import Routes
from shared.openapi import REFERENCE, Json, specification
from tests.support.web import body_of, client_of

ROUTES = {"checkout": checkout_routes, "scanning": scanning_routes, "social": social_routes}
Client = TestClient[web.Request, web.Application]


def operations(routes: Routes) -> list[str]:
    described = specification("any", "1", routes)
    return [operation["operationId"] for path in described["paths"].values() for operation in path.values()]


class Upstream:
    """A server that answers with what it was asked, raw, and misbehaves when the path says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hanging = asyncio.Event()
        self.app = web.Application(client_max_size=1024)
        self.app.router.add_get("/health", self._health)
        self.app.router.add_get("/openapi.json", self._description)
        self.app.router.add_get("/ready", self._health)
        self.app.router.add_route("*", "/{path:.*}", self._answer)
        self.server = TestServer(self.app)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"ok": True, "stripeConfigured": self.name == "checkout"})

    async def _description(self, _request: web.Request) -> web.Response:
        return web.json_response(specification(self.name, "1", ROUTES[self.name]))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/slam"):
            assert request.transport
            request.transport.abort()
        if request.path.endswith("/hang"):
            await self.hanging.wait()
        if request.path.endswith("/half"):
            return await self._half(request)
        if request.path.endswith("/limited"):
            await request.read()
        body = b"".join([chunk async for chunk in request.content.iter_any()])
        headers = {f"saw-{name}": value for name, value in request.headers.items()}
        headers |= {"saw-method": request.method, "saw-path": request.raw_path, "saw-service": self.name}
        return web.Response(status=418, body=body, headers=headers)

    async def _half(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport
        request.transport.close()
        return response


@pytest.fixture
async def upstreams() -> AsyncIterator[dict[str, Upstream]]:
    async with AsyncExitStack() as stack:
        found = {name: Upstream(name) for name in SERVICES}
        for upstream in found.values():
            await stack.enter_async_context(upstream.server)
        yield found


def urls_of(upstreams: dict[str, Upstream]) -> dict[str, str]:
    return {name: str(upstream.server.make_url("")).rstrip("/") for name, upstream in upstreams.items()}


@pytest.fixture
async def gateway(upstreams: dict[str, Upstream]) -> AsyncIterator[Client]:
    async with client_of(create_app(urls_of(upstreams), {"mailbox": "http://127.0.0.1:1"})) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/finalize-order", "checkout"),
        ("/stripe/webhook", "checkout"),
        ("/scan-ticket", "scanning"),
        ("/scan-ticket/preview", "scanning"),
        ("/posts/p1/likes/u1", "social"),
        ("/feeds/u1", "social"),
        ("/scan-tickets", None),
        ("/", None),
    ],
)
def test_the_first_segment_decides_which_service_answers(path: str, service: str | None) -> None:
    assert service_of(path) == service


@pytest.mark.parametrize("service", SERVICES)
def test_every_route_of_a_service_leads_to_it(service: str) -> None:
    assert {service_of(route.path) for route in ROUTES[service]} <= {service}


async def test_a_request_arrives_as_it_was_sent(gateway: Client) -> None:
    headers = {"x-proxy-key": "k", "stripe-signature": "t=1,v1=2", "x-request-id": "r1"}
    reply = await gateway.post("/stripe/webhook?a=%26&b=c%20d", data=b' {"a":\n1}', headers=headers)
    assert (reply.status, await reply.read()) == (418, b' {"a":\n1}')
    saw = reply.headers
    assert (saw["saw-method"], saw["saw-path"], saw["saw-service"]) == (
        "POST",
        "/stripe/webhook?a=%26&b=c%20d",
        "checkout",
    )
    assert (saw["saw-x-proxy-key"], saw["saw-stripe-signature"], saw["saw-X-Request-ID"]) == ("k", "t=1,v1=2", "r1")
    assert saw["saw-X-Forwarded-For"] == "127.0.0.1"
    assert saw["x-request-id"] == "r1"


async def test_an_encoded_slash_stays_encoded(gateway: Client) -> None:
    reply = await gateway.session.get(URL(f"{gateway.make_url('/feeds')}/a%2Fb", encoded=True))
    assert reply.headers["saw-path"] == "/feeds/a%2Fb"


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_every_method_passes(gateway: Client, method: str) -> None:
    reply = await gateway.request(method, "/posts/p1/likes/u1")
    assert (reply.headers["saw-method"], reply.headers["saw-service"]) == (method, "social")
    assert "saw-Content-Length" not in reply.headers or reply.headers["saw-Content-Length"] == "0"


async def test_headers_about_the_connection_stay_on_it(gateway: Client) -> None:
    reply = await gateway.get(
        "/feeds/u1", headers={"Connection": "x-hop", "x-hop": "1", "TE": "trailers", "x-kept": "1"}
    )
    assert "saw-x-kept" in reply.headers
    assert not {"saw-x-hop", "saw-te", "saw-connection"} & {name.lower() for name in reply.headers}


async def test_no_header_is_added_that_the_caller_did_not_send(gateway: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /posts HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
    names = {line.partition(b":")[0].lower() for line in (await reader.read()).split(b"\r\n")}
    writer.close()
    saw = {name.removeprefix(b"saw-").decode() for name in names if name.startswith(b"saw-")}
    assert saw == {"host", "content-length", "x-forwarded-for", "x-request-id", "method", "path", "service"}


async def test_bodies_are_streamed_whatever_their_size(gateway: Client) -> None:
    body = bytes(range(256)) * 20_000

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 64_000):
            yield body[start : start + 64_000]

    for data in (io.BytesIO(body), chunks()):
        reply = await gateway.post("/posts", data=data)
        assert await reply.read() == body


async def test_a_body_that_the_service_finds_too_large_is_refused_by_the_service(gateway: Client) -> None:
    reply = await gateway.post("/posts/limited", data=io.BytesIO(b"x" * 2_000_000))
    assert reply.status == 413


async def test_a_service_that_is_not_there_is_503_in_the_envelope(
    gateway: Client, upstreams: dict[str, Upstream]
) -> None:
    await upstreams["scanning"].server.close()
    body = await body_of(await gateway.post("/scan-ticket", json={}), 503)
    assert body["code"] == "service_down"
    assert "scanning" in body["message"]
    assert (await gateway.get("/feeds/u1")).status == 418, "the others are not affected"
    ready = await body_of(await gateway.get("/ready"), 503)
    assert ready["checks"] == {"checkout": "ok", "scanning": "failed", "social": "ok"}


async def test_a_connection_closed_without_an_answer_is_502(gateway: Client) -> None:
    assert (await body_of(await gateway.post("/posts/slam"), 502))["code"] == "bad_gateway"


async def test_a_service_that_hangs_is_504_in_the_envelope(upstreams: dict[str, Upstream]) -> None:
    async with client_of(create_app(urls_of(upstreams), {}, answer_seconds=0.2)) as gateway:
        body = await body_of(await gateway.post("/posts/hang"), 504)
    upstreams["social"].hanging.set()
    assert body["code"] == "gateway_timeout"
    assert "social did not answer within 0.2 s" in body["message"]


def test_a_service_has_the_time_that_its_own_deadlines_take() -> None:
    assert Settings.model_fields["commit_deadline_seconds"].default * 2 < ANSWER_SECONDS


async def test_half_an_answer_is_not_passed_off_as_a_whole_one(gateway: Client) -> None:
    with pytest.raises(aiohttp.ClientError):
        await (await gateway.get("/posts/half")).read()


async def test_health_is_checkouts_with_every_service_below(gateway: Client) -> None:
    body = await body_of(await gateway.get("/health"), 200)
    assert (body["ok"], body["stripeConfigured"], set(body["services"])) == (True, True, set(SERVICES))
    assert (await body_of(await gateway.get("/ready"), 200))["ok"]


async def test_an_unknown_path_is_404_in_the_envelope(gateway: Client) -> None:
    assert (await body_of(await gateway.get("/nothing"), 404))["code"] == "not_found"


async def test_the_index_page_leads_everywhere_and_says_what_is_down(
    gateway: Client, upstreams: dict[str, Upstream]
) -> None:
    await upstreams["social"].server.close()
    page = await (await gateway.get("/")).text()
    for name in ("checkout", "scanning"):
        docs = f"{str(upstreams[name].server.make_url('')).rstrip('/')}/docs"
        assert f'"{docs}"' in page
        for operation in operations(ROUTES[name]):
            assert f"{docs}#{operation}" in page
    assert "http://127.0.0.1:1/" in page
    assert page.count("● up") == 2
    assert page.count("● down") == 1


async def test_docs_and_description_are_those_of_all_services(gateway: Client) -> None:
    page = await (await gateway.get("/docs")).text()
    described = await body_of(await gateway.get("/openapi.json"), 200)
    for routes in ROUTES.values():
        assert set(operations(routes)) <= {
            key["operationId"] for path in described["paths"].values() for key in path.values()
        }
        assert all(f'id="{operation}"' in page for operation in operations(routes))
    models = described["components"]["schemas"]
    assert set(REFERENCE.findall(json.dumps(described))) <= models.keys()
    assert "checkout.CartLine" in models


async def test_models_of_the_same_name_stay_apart() -> None:
    def spec(kind: str) -> Json:
        reply = {"$ref": "#/components/schemas/Reply"}
        return {
            "paths": {f"/{kind}": {"get": reply}},
            "components": {"schemas": {"Reply": {"type": kind}, "Error": {}}},
        }

    one = as_one({"a": spec("string"), "b": spec("integer")}, "1")
    assert one["components"]["schemas"] == {"a.Reply": {"type": "string"}, "b.Reply": {"type": "integer"}, "Error": {}}
    assert one["paths"]["/integer"]["get"] == {"$ref": "#/components/schemas/b.Reply"}


async def test_a_service_that_is_down_is_noted_without_a_trace(
    gateway: Client, upstreams: dict[str, Upstream], capsys: pytest.CaptureFixture[str]
) -> None:
    await upstreams["scanning"].server.close()
    await gateway.get("/ready")
    await gateway.post("/scan-ticket")
    logged = "".join(capsys.readouterr())
    assert "check_failed" in logged
    assert "forwarding_failed" in logged
    assert "Traceback" not in logged


async def test_many_requests_pass_at_once(gateway: Client) -> None:
    replies = await asyncio.gather(*(gateway.post("/posts", data=str(n).encode()) for n in range(200)))
    assert [await reply.text() for reply in replies] == [str(n) for n in range(200)]
