"""Rate limits: how often one buyer, address or browser may ask.

    ONE_ADDRESS = Limit("receipts_to", "5/hour", by_field("email"))

    @routes.post("/my-receipts", MyReceipts, Accepted, limits=[ONE_ADDRESS])

Counts are kept in redis where ``RATE_LIMIT_STORAGE_URI`` names one, so that all replicas count together, and in the
process otherwise. While redis does not answer, each process counts for itself: a limit then admits up to its number
times the replicas, which is why neither a sale has to stop nor a route has to close.
"""

import asyncio
import hashlib
import ipaddress
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

import limits
import structlog
from aiohttp import hdrs, web
from limits.aio.storage import RedisStorage, Storage
from limits.aio.strategies import FixedWindowRateLimiter
from limits.errors import StorageError
from prometheus_client import Counter
from pydantic import BaseModel
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shared.config import SETTINGS
from shared.counting import Counters
from shared.errors import TooManyRequests
from shared.metrics import REGISTRY

_log: Final = structlog.get_logger()
_RESPITE: Final = 5.0
"""Seconds until a redis that failed is asked again."""
_CONNECTIONS: Final = 32
_PREFIX: Final = "rate-limits"

Key = Callable[[web.Request, BaseModel | None], str | None]
"""Whose requests are counted together; None is not counted."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``rate`` is like ``5/hour`` or ``30 per minute``; a window begins with its first request. ``name`` is unique."""

    name: str
    rate: str
    by: Key
    item: limits.RateLimitItem = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "item", limits.parse(self.rate))


def by_field(*names: str) -> Key:
    """The first of these fields of the request that is given, whatever its case."""

    def key(_request: web.Request, asked: BaseModel | None) -> str | None:
        given = next((value for name in names if (value := getattr(asked, name, None))), None)
        return str(given).casefold() if given else None

    return key


def together(*keys: Key) -> Key:
    """Counted for each combination, such as a sender and a recipient; not at all where one of them is missing."""

    def key(request: web.Request, asked: BaseModel | None) -> str | None:
        parts = [part(request, asked) for part in keys]
        return None if None in parts else repr(parts)

    return key


def by_known_client(request: web.Request, asked: BaseModel | None) -> str | None:
    """As ``by_client``, but only where TRUSTED_PROXY_HOPS says how clients are told apart. Without it those who connect
    to us are proxies, and what is meant for one client would be shared by all.
    """
    return by_client(request, asked) if request.app[SETTINGS].trusted_proxy_hops else None


def by_client(request: web.Request, _asked: BaseModel | None) -> str:
    """Where the request comes from: an IPv4 address, or the /64 network that one IPv6 subscriber has.

    ``TRUSTED_PROXY_HOPS`` proxies of ours stand before the service, each of which appends the address that called it
    to X-Forwarded-For; so the client is that many entries from the right, and what it wrote there itself is left of
    that. With 0, or where there are fewer entries, it is who connected to us.
    """
    hops = request.app[SETTINGS].trusted_proxy_hops
    entries = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, [])).split(",")
    named = entries[-hops].strip() if 0 < hops <= len(entries) else ""
    return _network(named) or _network(request.remote or "") or "unknown"


def _network(text: str) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((int(address), 64), strict=False))


class RateLimits:
    """Counts requests in ``shared`` if there is one and it answers, in this process otherwise."""

    def __init__(self, shared: Storage | None, patience: float, failures: Counter) -> None:
        self._shared = FixedWindowRateLimiter(shared) if shared else None
        self._own = FixedWindowRateLimiter(Counters())
        self._patience = patience
        self._failures = failures
        self._ask_again = -math.inf

    async def check(self, limit: Limit, key: str) -> None:
        """Counts one request; raises TooManyRequests when it is over the limit."""
        seconds = await self._over(limit, hashlib.sha256(key.encode()).hexdigest()[:32])
        if seconds is not None:
            raise TooManyRequests("Too many requests. Please wait a little.", retry_after=seconds)

    async def _over(self, limit: Limit, key: str) -> int | None:
        if self._shared and time.monotonic() >= self._ask_again:
            try:
                async with asyncio.timeout(self._patience):
                    return await _hit(self._shared, limit, key)
            except (StorageError, OSError, TimeoutError) as error:
                self._ask_again = time.monotonic() + _RESPITE
                self._failures.inc()
                _log.warning("rate_limit_storage_failed", error=type(error).__name__, counting="in this process")
        return await _hit(self._own, limit, key)


async def _hit(limiter: FixedWindowRateLimiter, limit: Limit, key: str) -> int | None:
    """None if it is within the limit, else the whole seconds until it will be."""
    if await limiter.hit(limit.item, limit.name, key):
        return None
    window = await limiter.get_window_stats(limit.item, limit.name, key)
    return max(1, math.ceil(window.reset_time - time.time()))


RATE_LIMITS: Final = web.AppKey("rate_limits", RateLimits)


async def rate_limits(app: web.Application) -> AsyncIterator[None]:
    """A cleanup context: opens the storage that the settings name. No limits at all with ``RATE_LIMITS=0``."""
    settings = app[SETTINGS]
    if not settings.rate_limits:
        yield
        return
    failures = Counter(
        "rate_limit_storage_failures",
        "Requests that were counted in the process because the shared storage failed.",
        registry=app[REGISTRY],
    )
    uri = settings.rate_limit_storage_uri
    patience = settings.rate_limit_patience_seconds
    pool = _pool(uri.get_secret_value(), patience) if uri else None
    app[RATE_LIMITS] = RateLimits(_redis(pool) if pool else None, patience, failures)
    yield
    if pool:
        await pool.disconnect()


def _pool(uri: str, patience: float) -> BlockingConnectionPool:
    """Waits for a free connection instead of failing; tries once more on one that redis has closed meanwhile."""
    return BlockingConnectionPool.from_url(
        uri,
        max_connections=_CONNECTIONS,
        timeout=patience,
        socket_timeout=patience,
        socket_connect_timeout=patience,
        retry=Retry(NoBackoff(), 1),
    )


def _redis(pool: BlockingConnectionPool) -> Storage:
    options = cast("dict[str, Any]", {"connection_pool": pool})  # the library's types know only plain options
    return RedisStorage("async+redis://", wrap_exceptions=True, implementation="redispy", key_prefix=_PREFIX, **options)


async def check(request: web.Request, asked: BaseModel | None, applicable: Sequence[Limit]) -> None:
    """Counts the request under each of the limits; raises TooManyRequests for the first that it is over."""
    counted = request.app.get(RATE_LIMITS)
    if counted is None:
        return
    for limit in applicable:
        key = limit.by(request, asked)
        if key is not None:
            await counted.check(limit, key)
