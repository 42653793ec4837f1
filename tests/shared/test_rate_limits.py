import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from limits import parse
from limits.aio.strategies import FixedWindowRateLimiter

from shared.app import create_app
from shared.counting import Counters
from shared.http import Routes
from shared.rate_limits import Limit, by_client, by_field
from shared.schemas import Model
from tests.support.redis_server import free_port, redis_on
from tests.support.web import KEY, body_of, client_of, settings

Client = TestClient[web.Request, web.Application]

ONE_BUYER = Limit("buyer", "3/minute", by_field("uid", "email"))
ONE_CLIENT = Limit("client", "5/minute", by_client)


class Ask(Model):
    uid: str | None = None
    email: str | None = None


class Answer(Model):
    ok: bool = True


@asynccontextmanager
async def service(*limits: Limit, **configured: Any) -> AsyncIterator[Client]:
    routes = Routes()

    @routes.post("/ask", Ask, Answer, limits=limits)
    async def ask(_request: web.Request, _asked: Ask) -> Answer:
        return Answer()

    @routes.raw("POST", "/raw", limits=limits)
    async def raw(_request: web.Request) -> web.Response:
        return web.Response()

    async with client_of(create_app(settings(**configured), routes, service="demo")) as client:
        yield client


async def ask(client: Client, times: int = 1, headers: dict[str, str] | None = None, **body: str) -> Sequence[int]:
    """The statuses of so many requests, one after the other."""
    statuses = []
    for _ in range(times):
        async with client.post("/ask", json=body, headers={**KEY, **(headers or {})}) as response:
            statuses.append(response.status)
    return statuses


async def test_who_asks_too_often_is_told_when_to_come_back() -> None:
    async with service(ONE_BUYER) as client:
        assert await ask(client, 4, uid="ann") == [200, 200, 200, 429]
        response = await client.post("/ask", json={"uid": "ann"}, headers=KEY)
        assert (await body_of(response, 429))["code"] == "rate_limited"
        assert 1 <= int(response.headers["Retry-After"]) <= 60


async def test_others_are_not_affected() -> None:
    async with service(ONE_BUYER) as client:
        await ask(client, 4, uid="ann")
        assert await ask(client, uid="bob") == [200]


async def test_the_first_given_field_counts_whatever_its_case() -> None:
    async with service(ONE_BUYER) as client:
        addresses = ["Ann@example.com", "ann@EXAMPLE.com", "ann@example.com", "ANN@example.com"]
        statuses = [(await ask(client, email=address))[0] for address in addresses]
        assert statuses == [200, 200, 200, 429]
        assert await ask(client, uid="ann", email="ann@example.com") == [200]


async def test_without_a_key_a_request_is_not_counted() -> None:
    async with service(ONE_BUYER) as client:
        assert set(await ask(client, 10)) == {200}


async def test_a_request_that_is_not_understood_is_not_counted() -> None:
    async with service(ONE_CLIENT) as client:
        for _ in range(10):
            response = await client.post("/ask", data="no json", headers=KEY)
            await body_of(response, 400)
        assert await ask(client) == [200]


async def test_every_limit_of_a_route_holds() -> None:
    async with service(ONE_BUYER, ONE_CLIENT) as client:
        statuses = [(await ask(client, uid=f"buyer-{n}"))[0] for n in range(6)]
        assert statuses == [200, 200, 200, 200, 200, 429]


async def test_a_route_that_reads_its_own_body_is_limited_too() -> None:
    async with service(ONE_CLIENT) as client:
        statuses = [(await client.post("/raw", headers=KEY)).status for _ in range(6)]
        assert statuses == [200] * 5 + [429]


async def test_limits_can_be_switched_off() -> None:
    async with service(ONE_BUYER, rate_limits=False) as client:
        assert set(await ask(client, 10, uid="ann")) == {200}


@pytest.mark.parametrize(
    ("hops", "forwarded", "others"),
    [
        (1, "203.0.113.7", "203.0.113.8"),
        (1, "198.51.100.1, 203.0.113.7", "198.51.100.1, 203.0.113.8"),
        (2, "203.0.113.7, 10.0.0.1", "203.0.113.8, 10.0.0.1"),
        (2, "spoofed, 203.0.113.7, 10.0.0.1", "spoofed, 203.0.113.8, 10.0.0.1"),
        (1, "2001:db8:1:2::a", "2001:db8:1:3::a"),
    ],
)
async def test_clients_behind_our_proxies_are_told_apart(hops: int, forwarded: str, others: str) -> None:
    async with service(ONE_CLIENT, trusted_proxy_hops=hops) as client:
        assert (await ask(client, 6, {"X-Forwarded-For": forwarded}))[-1] == 429
        assert await ask(client, 1, {"X-Forwarded-For": others}) == [200]


@pytest.mark.parametrize(
    ("hops", "first", "second"),
    [
        (0, "203.0.113.7", "203.0.113.8"),
        (1, "1.1.1.1, 203.0.113.7", "2.2.2.2, 203.0.113.7"),
        (1, "nonsense", "more nonsense"),
        (2, "203.0.113.7", "203.0.113.8"),
        (1, "2001:db8:1:2::a", "2001:db8:1:2::b"),
        (1, "::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
async def test_a_client_cannot_choose_to_be_somebody_else(hops: int, first: str, second: str) -> None:
    async with service(ONE_CLIENT, trusted_proxy_hops=hops) as client:
        assert await ask(client, 5, {"X-Forwarded-For": first}) == [200] * 5
        assert await ask(client, 1, {"X-Forwarded-For": second}) == [429]


async def test_a_limit_is_documented() -> None:
    async with service(ONE_BUYER) as client:
        document = await body_of(await client.get("/openapi.json"), 200)
        assert "rate_limited" in document["paths"]["/ask"]["post"]["responses"]["429"]["description"]


async def test_replicas_count_together_in_redis() -> None:
    async with AsyncExitStack() as stack:
        uri = await stack.enter_async_context(redis_on(free_port()))
        one, other = [await stack.enter_async_context(service(ONE_BUYER, rate_limit_storage_uri=uri)) for _ in range(2)]
        assert await ask(one, 2, uid="ann") == [200, 200]
        assert await ask(other, 2, uid="ann") == [200, 429]
        assert await ask(one, uid="bob") == [200]


async def test_a_crowd_does_not_run_out_of_connections() -> None:
    patient = {"rate_limit_patience_seconds": 10}  # it is about connections, and the machine may be slow
    async with redis_on(free_port()) as uri, service(ONE_BUYER, rate_limit_storage_uri=uri, **patient) as client:
        statuses = await asyncio.gather(*(ask(client, uid=f"buyer-{n}") for n in range(100)))
        assert {status for (status,) in statuses} == {200}
        metrics = await (await client.get("/metrics")).text()
        assert "rate_limit_storage_failures_total 0.0" in metrics


async def test_a_redis_that_goes_away_stops_nobody_and_limits_still_hold() -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        running = redis_on(port)
        uri = await running.__aenter__()
        client = await stack.enter_async_context(service(ONE_BUYER, rate_limit_storage_uri=uri))
        assert await ask(client, uid="ann") == [200]
        await running.__aexit__(None, None, None)
        assert await ask(client, 4, uid="ann") == [200, 200, 200, 429]
        metrics = await (await client.get("/metrics")).text()
        assert "rate_limit_storage_failures_total 1.0" in metrics


async def test_a_redis_that_hangs_costs_one_request_a_moment() -> None:
    connections: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _reader, writer: connections.append(writer), "127.0.0.1", 0)
    async with silent:
        uri = f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        async with service(ONE_BUYER, rate_limit_storage_uri=uri) as client:
            started = time.monotonic()
            assert await ask(client, 4, uid="ann") == [200, 200, 200, 429]
            assert time.monotonic() - started < 3
        for connection in connections:
            connection.close()


async def test_counters_expire_and_begin_anew() -> None:
    now = 100.0
    limiter, item = FixedWindowRateLimiter(Counters(lambda: now)), parse("2/minute")
    assert [await limiter.hit(item, "ann") for _ in range(3)] == [True, True, False]
    assert (await limiter.get_window_stats(item, "ann")).reset_time == 160
    now = 160.0
    assert await limiter.hit(item, "ann")


async def test_counters_that_have_expired_are_forgotten() -> None:
    now = 0.0
    counters = Counters(lambda: now)
    for n in range(100_000):
        now = n / 100
        await counters.incr(f"buyer-{n}", 60)
    assert len(counters) < 3 * 60 * 100
