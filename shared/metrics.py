"""Prometheus metrics. Every application has a registry of its own, so several fit in one process.

Metrics objects are built with a registry and reached through an AppKey. No label holds an id.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.aiohttp import make_aiohttp_handler

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
LAG_PERIOD = 1.0

REGISTRY = web.AppKey("registry", CollectorRegistry)


class HttpMetrics:
    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter("http_requests", "Requests answered.", ["method", "route", "status"], registry=registry)
        self.seconds = Histogram(
            "http_request_seconds", "Time to answer.", ["method", "route"], buckets=SECONDS, registry=registry
        )
        self.in_flight = Gauge("http_requests_in_flight", "Requests being answered.", registry=registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        method = method if method in METHODS else "other"  # the client chooses it, so it must not become a label
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)

    @contextlib.contextmanager
    def counting(self) -> Iterator[None]:
        with self.in_flight.track_inprogress():
            yield


HTTP_METRICS = web.AppKey("http_metrics", HttpMetrics)


def new_registry(service: str, version: str) -> CollectorRegistry:
    """A registry with the process's own metrics in it."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    Info("build", "What is running.", registry=registry).info({"service": service, "version": version})
    return registry


def handler(registry: CollectorRegistry) -> Handler:
    return make_aiohttp_handler(registry)


async def loop_lag(app: web.Application) -> AsyncIterator[None]:
    """A cleanup context that measures how late the event loop runs what is due: a blocking call shows here."""
    gauge = Gauge("event_loop_lag_seconds", "How late the loop ran the last tick.", registry=app[REGISTRY])
    task = asyncio.create_task(_measure(gauge))
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _measure(gauge: Gauge) -> None:
    while True:
        due = time.monotonic() + LAG_PERIOD
        await asyncio.sleep(LAG_PERIOD)
        gauge.set(max(0.0, time.monotonic() - due))
