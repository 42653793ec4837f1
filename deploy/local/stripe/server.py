"""The simulator as an HTTP server."""

import asyncio
import base64
import binascii
import json
import math
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from deploy.local.http_faults import Fault, Faults, drop_connection
from deploy.local.standalone import Listener, answer_ready
from deploy.local.stripe import index_page
from deploy.local.stripe.api import ROUTES, Account, Call, Reply, Route
from deploy.local.stripe.controls import Controls, endpoint
from deploy.local.stripe.errors import StripeError, api_error
from deploy.local.stripe.forms import Form, decode
from deploy.local.stripe.idempotency import keyed
from deploy.local.stripe.records import API_VERSION
from deploy.local.stripe.store import Store
from deploy.local.stripe.webhooks import Pace, Sender

TEST_KEYS = ("sk_test_", "rk_test_")
FORM = "application/x-www-form-urlencoded"
MAX_BODY = 1 << 20
REQUEST_ID = web.RequestKey("request_id", str)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StripeSimulator:
    """``async with StripeSimulator() as stripe: stripe.url`` is the base address for a Stripe client.

    ``data_dir`` keeps everything in ``stripe.sqlite3`` there, None in memory. ``webhook_endpoints`` are (URL, secret)
    pairs and replace the stored ones; several secrets are comma separated. ``seed`` makes ids and the dice of faults
    repeatable.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        data_dir: Path | str | None = None,
        webhook_endpoints: Iterable[tuple[str, str]] = (),
        pace: Pace | None = None,
        seed: str | None = None,
    ) -> None:
        self._store = Store(None if data_dir is None else Path(data_dir) / "stripe.sqlite3")
        self.account = Account(self._store, seed)
        self.deliveries = self.account.deliveries
        self.faults = Faults(seed)
        self.webhooks = Sender(self._store, self.deliveries, pace or Pace())
        self.controls = Controls(self.account, self.webhooks)
        self._listener = Listener(self._app(), host, port)
        if endpoints := list(webhook_endpoints):
            self.set_webhook_endpoints(endpoints)

    @property
    def url(self) -> str:
        return self._listener.url

    @property
    def port(self) -> int:
        return self._listener.port

    def set_webhook_endpoints(self, endpoints: Iterable[tuple[str, str]]) -> None:
        """Replace them by these (URL, secret) pairs; events from before are not sent to new ones."""
        self.deliveries.configure(endpoint(url, secret) for url, secret in endpoints)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self._store.close)
            await self._listener.start()
            stack.push_async_callback(self._listener.stop)
            await self.webhooks.start()
            stack.push_async_callback(self.webhooks.stop)
            self._running = stack.pop_all()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._errors], client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/", index_page.show),
                web.get("/health", answer_ready),
                web.get("/ready", answer_ready),
                *self.faults.routes(),
                *self.controls.routes(),
            ]
        )
        for route in ROUTES:
            app.router.add_route(route.method, route.path, self._endpoint(route))
        return app

    @web.middleware
    async def _errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request[REQUEST_ID] = self.account.ids.new("req")
        try:
            response = await handler(request)
        except StripeError as error:
            response = web.json_response(error.body(), status=error.status)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed):
            response = web.json_response(_unrecognized(request).body(), status=404)
        except web.HTTPRequestEntityTooLarge:
            too_large = StripeError("Request entity too large.", status=413)
            response = web.json_response(too_large.body(), status=413)
        response.headers["Request-Id"] = request[REQUEST_ID]
        response.headers["Stripe-Version"] = request.headers.get("Stripe-Version", API_VERSION)
        return response

    def _endpoint(self, route: Route) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            call = await _call(route, request)
            with self.account.replies.running(call.keyed):
                fault = self.faults.take(request.method, request.path)
                if fault is not None and fault.kind == "refuse":
                    return _refused(fault)
                if fault is not None and fault.kind == "delay":
                    await asyncio.sleep(fault.seconds)
                reply = self.account.answer(call)
            self.webhooks.wake()
            if fault is not None and fault.kind == "lost_reply":
                return drop_connection(request)
            return _response(reply, call)

        return answer


async def _call(route: Route, request: web.Request) -> Call:
    api_key = _authenticated(request)
    _refuse_connected_accounts(request)
    form = await _form(request)
    key = request.headers.get("Idempotency-Key") if request.method == "POST" else None
    return Call(
        route=route,
        object_id=request.match_info.get("id", ""),
        form=form,
        request_id=request[REQUEST_ID],
        keyed=keyed(api_key, key, request.path, form) if key else None,
    )


def _authenticated(request: web.Request) -> str:
    """The API key, sent as a bearer token or as the user name of basic authentication."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    key = credentials.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode().split(":", 1)[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    if not key:
        message = (
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
        )
        raise StripeError(message, status=401)
    if not key.startswith(TEST_KEYS):
        shown = key[:3] + "*" * 8
        message = f"Invalid API Key provided: {shown}. This is a simulator: any key that begins with sk_test_ works."
        raise StripeError(message, status=401)
    return key


def _refuse_connected_accounts(request: web.Request) -> None:
    for name in ("Stripe-Account", "Stripe-Context"):
        if name in request.headers:
            raise StripeError(f"This simulator of Stripe has one account: leave out the header {name}.", status=403)


async def _form(request: web.Request) -> Form:
    if request.method == "GET" or not request.body_exists:
        return decode(request.query.items())
    if request.content_type != FORM:
        raise StripeError(f"Invalid request (check that your POST content type is {FORM}).")
    posted = await request.post()
    return decode((name, value) for name, value in posted.items() if isinstance(value, str))


def _response(reply: Reply, call: Call) -> web.Response:
    response = web.Response(text=reply.body, status=reply.status, content_type="application/json")
    if call.keyed:
        response.headers["Idempotency-Key"] = call.keyed.key
        response.headers["Original-Request"] = reply.original_request or call.request_id
    if reply.original_request:
        response.headers["Idempotent-Replayed"] = "true"
    return response


def _refused(fault: Fault) -> web.Response:
    """Nothing was begun, so nothing is saved under the key, and Stripe says that a retry is worth it."""
    body = json.dumps(api_error(fault.status).body())
    response = web.Response(text=body, status=fault.status, content_type="application/json")
    response.headers["Stripe-Should-Retry"] = "true"
    if fault.seconds:
        response.headers["Retry-After"] = str(math.ceil(fault.seconds))
    return response


def _unrecognized(request: web.Request) -> StripeError:
    offered = ", ".join(f"{route.method} {route.path}" for route in ROUTES)
    message = (
        f"Unrecognized request URL ({request.method}: {request.path}). If you are trying to list objects, remove the "
        f"trailing slash. This simulator of Stripe offers: {offered}"
    )
    return StripeError(message, status=404)
