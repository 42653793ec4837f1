"""Sends the events: signed, at least once, again on a schedule until the endpoint answers 2xx."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import aiohttp

from deploy.local.stripe.deliveries import Deliveries, Delivery, Endpoint, Order
from deploy.local.stripe.records import Event
from deploy.local.stripe.store import Store

log = logging.getLogger(__name__)

RETRY_SECONDS = (0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)
"""Stripe retries for hours in test mode; here it begins quickly, so that a restarted service hears soon."""
SEND_SECONDS = 20.0
CONCURRENT = 32


@dataclass(frozen=True, slots=True)
class Pace:
    retry_seconds: Sequence[float] = RETRY_SECONDS
    """Waits between attempts; after the last one a delivery is failed."""
    send_seconds: float = SEND_SECONDS
    concurrent: int = CONCURRENT


def sign(payload: str, secrets: Sequence[str], timestamp: int) -> str:
    """The Stripe-Signature header: https://docs.stripe.com/webhooks#verify-manually."""
    signed = f"{timestamp}.{payload}".encode()
    signatures = (hmac.new(secret.encode(), signed, sha256).hexdigest() for secret in secrets)
    return ",".join([f"t={timestamp}", *(f"v1={signature}" for signature in signatures)])


class Sender:
    def __init__(self, store: Store, deliveries: Deliveries, pace: Pace) -> None:
        self._store = store
        self._deliveries = deliveries
        self._pace = pace
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._sending: dict[int, asyncio.Task[None]] = {}
        self._one_by_one = False
        self.held = False

    async def start(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._pace.send_seconds)
        connector = aiohttp.TCPConnector(limit=self._pace.concurrent)
        self._http = aiohttp.ClientSession(timeout=timeout, connector=connector)
        self._loop = asyncio.create_task(self._run(), name="stripe webhooks")
        self._loop.add_done_callback(_report)

    async def stop(self) -> None:
        """What is being sent is cut off; it stays pending and is sent again after a restart."""
        tasks = [self._loop, *self._sending.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.close()

    def wake(self) -> None:
        """Something may be due: new events, a change of endpoints."""
        self._idle.clear()
        self._wake.set()

    def hold(self) -> None:
        """Send nothing until released; events keep arriving."""
        self.held = True

    def release(self, order: Order = "as_created", seed: int = 0) -> None:
        """Send what waits now. Another order than that of creation is kept strictly, one delivery at a time."""
        self._deliveries.reorder(order, seed)
        self._one_by_one = order != "as_created"
        self.held = False
        self.wake()

    def redeliver(self, event_id: str, times: int = 1) -> int:
        """Send an event again to every endpoint that wants it; returns how many deliveries that makes."""
        event = self._store.get(Event, event_id)
        if event is None:
            return 0
        with self._store.transaction():
            sent = sum(self._deliveries.enqueue(event.id, event.type) for _ in range(times))
        self.wake()
        return sent

    async def settled(self, timeout: float) -> bool:
        """Whether everything has been delivered or given up, after waiting for it up to ``timeout`` seconds."""
        self.wake()
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            if not self.held:
                self._send_due()
            if not self._sending and not self._deliveries.pending():
                self._one_by_one = False
                self._idle.set()
            await self._pause()

    async def _pause(self) -> None:
        """Until woken or, with room for more, until the next retry is due."""
        full = len(self._sending) >= self._room()
        wait = None if self.held or full else self._deliveries.next_due(self._sending)
        try:
            async with asyncio.timeout(wait):
                await self._wake.wait()
        except TimeoutError:
            return

    def _room(self) -> int:
        return 1 if self._one_by_one else self._pace.concurrent

    def _send_due(self) -> None:
        free = self._room() - len(self._sending)
        if free <= 0:
            return
        for delivery in self._deliveries.due(free, self._sending):
            endpoint = self._deliveries.endpoints[delivery.endpoint]
            task = asyncio.create_task(self._send(delivery, endpoint))
            self._sending[delivery.id] = task

    async def _send(self, delivery: Delivery, endpoint: Endpoint) -> None:
        try:
            status, error = await self._post(delivery, endpoint)
            retries = self._pace.retry_seconds
            wait = retries[delivery.attempts] if delivery.attempts < len(retries) else None
            self._deliveries.settle(delivery, status=status, error=error, wait=wait)
            if error and wait is None:
                log.warning("webhook %s given up after %d attempts: %s", delivery.event, len(retries) + 1, error)
        finally:
            del self._sending[delivery.id]
            self._wake.set()

    async def _post(self, delivery: Delivery, endpoint: Endpoint) -> tuple[int | None, str | None]:
        """The status, and what went wrong if anything did."""
        event = self._store.get(Event, delivery.event)
        payload = json.dumps(event.render() if event else {})
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": sign(payload, endpoint.secrets, int(time.time())),
        }
        try:
            async with self._http.post(
                endpoint.url, data=payload.encode(), headers=headers, allow_redirects=False
            ) as reply:
                return reply.status, None if 200 <= reply.status < 300 else f"HTTP {reply.status}"  # noqa: PLR2004
        except (aiohttp.ClientError, TimeoutError) as failure:
            return None, repr(failure)


def _report(loop: asyncio.Task[None]) -> None:
    """Without it a sender that broke would be silent, and nobody would know why no event comes any more."""
    if not loop.cancelled() and (error := loop.exception()):
        log.critical("no webhooks are sent any more", exc_info=error)
