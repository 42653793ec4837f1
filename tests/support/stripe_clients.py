"""The official Stripe client pointed at the simulator, and an endpoint that receives its webhooks."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import stripe
from aiohttp import web

from deploy.local.standalone import Listener
from deploy.local.stripe import StripeSimulator

SECRET = "whsec_test"


@asynccontextmanager
async def stripe_client(url: str, *, key: str = "sk_test_x", retries: int = 0) -> AsyncIterator[stripe.StripeClient]:
    http = stripe.HTTPXClient()
    client = stripe.StripeClient(key, base_addresses={"api": url}, http_client=http, max_network_retries=retries)
    try:
        yield client
    finally:
        await http.close_async()  # type: ignore[no-untyped-call]  # the library left it without annotations


def nothing_wrong(_event: stripe.Event) -> int:
    return 200


@dataclass
class Receiver:
    """Takes events whose signature is right. ``answer`` chooses the status of each reply."""

    url: str = ""
    events: list[stripe.Event] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)
    answer: Callable[[stripe.Event], int] = nothing_wrong
    secret: str = SECRET
    thinks: float = 0.0
    """Seconds between taking an event and answering."""
    busiest: int = 0
    """The most events that were in work at once."""
    _in_work: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]

    async def take(self, request: web.Request) -> web.Response:
        signature = request.headers["Stripe-Signature"]
        event = stripe.Webhook.construct_event(await request.read(), signature, self.secret)
        self.events.append(event)
        self.signatures.append(signature)
        self._arrived.set()
        self._in_work += 1
        self.busiest = max(self.busiest, self._in_work)
        await asyncio.sleep(self.thinks)
        self._in_work -= 1
        return web.Response(status=self.answer(event))

    async def wait_for(self, count: int) -> None:
        """Until that many events have come, answered well or not."""
        async with asyncio.timeout(10):
            while len(self.events) < count:
                self._arrived.clear()
                await self._arrived.wait()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/webhook", receiver.take)
    listener = Listener(app, "127.0.0.1", 0)
    await listener.start()
    receiver.url = f"{listener.url}/webhook"
    try:
        yield receiver
    finally:
        await listener.stop()


async def control(simulator: StripeSimulator, path: str, body: dict[str, object] | None = None) -> dict[str, Any]:
    """Make something happen that no API client can; see ``deploy.local.stripe.controls``."""
    async with httpx.AsyncClient(base_url=simulator.url) as http:
        reply = await http.post(f"/_sim/{path}", json=body or {})
    assert reply.status_code == 200, reply.text
    answer: dict[str, Any] = reply.json()
    return answer
