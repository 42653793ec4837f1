"""The mailbox as an HTTP server: Resend's API on one side, a person with a browser on the other."""

import asyncio
import hashlib
import json
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from aiohttp import web

from deploy.local.http_faults import Fault, Faults, drop_connection
from deploy.local.mailbox.errors import ResendError, invalid
from deploy.local.mailbox.message import Message, read_batch_message, read_message
from deploy.local.mailbox.preview import CONTENT_POLICY, PAGE, Pages
from deploy.local.mailbox.store import Keyed, Mail, Store
from deploy.local.standalone import Listener, answer_ready

MAX_BODY = 56 * 1024 * 1024
MAX_KEY = 256
MAX_BATCH = 100
LISTED_ON_PAGE = 200
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Send = Callable[[object, web.Request], "Outcome"]
Outcome = tuple[Sequence[tuple[str, Message]], dict[str, object]]
"""The mails with their ids, and the reply."""


class Mailbox:
    """``async with Mailbox() as mailbox: mailbox.url`` is what ``resend.api_url`` is set to.

    ``data_dir`` keeps the mails in ``mailbox.sqlite3`` there, None in memory.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, data_dir: Path | str | None = None) -> None:
        self._store = Store(None if data_dir is None else Path(data_dir) / "mailbox.sqlite3")
        self._pages = Pages()
        self._running: set[tuple[str, str]] = set()
        self._arrival = asyncio.Event()
        self.faults = Faults()
        self._listener = Listener(self._app(), host, port)

    @property
    def url(self) -> str:
        return self._listener.url

    @property
    def port(self) -> int:
        return self._listener.port

    def mails(self, to: str | None = None) -> Sequence[Mail]:
        """Newest first; ``to`` is part of a recipient's address."""
        return self._store.mails(to=to)

    async def arrived(self, count: int, *, to: str | None = None, timeout: float = 10.0) -> Sequence[Mail]:
        """The mails once there are ``count`` of them; raises TimeoutError when that takes too long."""
        async with asyncio.timeout(timeout):
            while self._store.count(to) < count:
                await self._arrival.wait()
        return self.mails(to)

    async def __aenter__(self) -> Self:
        await self._listener.start()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._listener.stop()
        self._store.close()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[_errors], client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/health", answer_ready),
                web.get("/ready", answer_ready),
                web.post("/emails", self._sending(_one)),
                web.post("/emails/batch", self._sending(_batch)),
                web.get("/emails", self._list),
                web.get("/emails/{id}", self._show),
                web.get("/emails/{id}/attachments/{position}", self._attachment),
                web.get("/", self._page),
                web.get("/_sim/arrived", self._wait),
                web.delete("/_sim/emails", self._clear),
                web.static("/page", PAGE),
                *self.faults.routes(),
            ]
        )
        return app

    def _sending(self, send: Send) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            account = _authenticated(request)
            raw = await request.read()
            body = _json(raw)
            keyed = _keyed(request, account, raw)
            fault = self.faults.take(request.method, request.path)
            if fault is not None and fault.kind == "refuse":
                return _refused(fault)
            reply = await self._once(keyed, fault, lambda: send(body, request))
            if fault is not None and fault.kind == "lost_reply":
                return drop_connection(request)
            return web.Response(text=reply, content_type="application/json")

        return answer

    async def _once(self, keyed: Keyed | None, fault: Fault | None, send: Callable[[], Outcome]) -> str:
        """Accept the mails, or replay what was replied to the same request under the same key."""
        key = (keyed.account, keyed.key) if keyed else None
        if key in self._running:
            message = "Same idempotency key used while original request is still in progress."
            raise ResendError(409, "concurrent_idempotent_requests", message)
        if key:
            self._running.add(key)
        try:
            if fault is not None and fault.kind == "delay":
                await asyncio.sleep(fault.seconds)
            return self._replayed(keyed) or self._accept(keyed, *send())
        finally:
            if key:
                self._running.discard(key)

    def _replayed(self, keyed: Keyed | None) -> str | None:
        saved = self._store.replay(keyed.account, keyed.key, time.time()) if keyed else None
        if keyed is None or saved is None:
            return None
        request, reply = saved
        if request != keyed.request:
            message = "Same idempotency key used with a different request payload."
            raise ResendError(409, "invalid_idempotent_request", message)
        return reply

    def _accept(self, keyed: Keyed | None, mails: Sequence[tuple[str, Message]], reply: dict[str, object]) -> str:
        body = json.dumps(reply)
        kept = (keyed, body, time.time()) if keyed else None
        self._store.accept(mails, datetime.now(UTC).isoformat(), kept)
        self._arrival.set()
        self._arrival = asyncio.Event()
        return body

    async def _list(self, request: web.Request) -> web.Response:
        """Everything unless ``limit`` (1 to 100) asks for less; ``after`` continues; ``to`` filters."""
        limit = request.query.get("limit")
        if limit is not None and not (limit.isdecimal() and 1 <= int(limit) <= 100):  # noqa: PLR2004  as Resend
            raise invalid("Invalid `limit` field. It is a number from 1 to 100.")
        after, to = request.query.get("after"), request.query.get("to")
        found = self._store.mails(limit=int(limit) + 1 if limit else None, after=after, to=to)
        kept = found[: int(limit)] if limit else found
        data = [mail.render() for mail in kept]
        return web.json_response({"object": "list", "has_more": len(found) > len(kept), "data": data})

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._found(request).render())

    async def _attachment(self, request: web.Request) -> web.Response:
        attachments = self._store.attachments(self._found(request).id)
        position = request.match_info["position"]
        if not position.isdecimal() or int(position) >= len(attachments):
            raise ResendError(404, "not_found", "Attachment not found")
        attachment = attachments[int(position)]
        headers = {
            # The sender named it and its type: save it, never show it as a page of this origin.
            "Content-Type": attachment.content_type,
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(attachment.filename, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=attachment.content, headers=headers)

    async def _page(self, request: web.Request) -> web.Response:
        wanted = request.query.get("mail")
        shown = self._store.mail(wanted) if wanted else None
        attachments = self._store.attachments(shown.id) if shown else []
        mails = self._store.mails(limit=LISTED_ON_PAGE)
        html = self._pages.render(mails, shown, attachments, self._store.count())
        headers = {"Content-Security-Policy": CONTENT_POLICY, "Referrer-Policy": "no-referrer"}
        return web.Response(text=html, content_type="text/html", headers=headers)

    async def _wait(self, request: web.Request) -> web.Response:
        """``?count=&to=&timeout=``: like ``arrived``, for tests in another process."""
        query = request.query
        try:
            count, seconds = int(query.get("count", "1")), float(query.get("timeout", "10"))
        except ValueError:
            raise invalid("`count` and `timeout` are numbers.") from None
        try:
            mails = await self.arrived(count, to=query.get("to"), timeout=min(seconds, 120))
        except TimeoutError:
            raise ResendError(408, "timeout", f"There are only {self._store.count(query.get('to'))} mails.") from None
        return web.json_response({"data": [mail.render() for mail in mails]})

    async def _clear(self, _request: web.Request) -> web.Response:
        self._store.clear()
        return web.json_response({"data": []})

    def _found(self, request: web.Request) -> Mail:
        mail = self._store.mail(request.match_info["id"])
        if mail is None:
            raise ResendError(404, "not_found", "Email not found")
        return mail


def _one(body: object, _request: web.Request) -> Outcome:
    mail_id = str(uuid.uuid4())
    return [(mail_id, read_message(body))], {"id": mail_id}


def _batch(body: object, request: web.Request) -> Outcome:
    """All or none, unless ``x-batch-validation: permissive`` asks for those that are right."""
    if not isinstance(body, list) or not 1 <= len(body) <= MAX_BATCH:
        raise invalid(f"A batch is a list of 1 to {MAX_BATCH} emails.")
    permissive = request.headers.get("x-batch-validation") == "permissive"
    mails: list[tuple[str, Message]] = []
    errors: list[dict[str, object]] = []
    for index, item in enumerate(body):
        try:
            mails.append((str(uuid.uuid4()), read_batch_message(item)))
        except ResendError as error:
            if not permissive:
                raise
            errors.append({"index": index, "message": str(error)})
    reply: dict[str, object] = {"data": [{"id": mail_id} for mail_id, _ in mails]}
    return mails, {**reply, "errors": errors} if permissive else reply


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ResendError as error:
        return web.json_response(error.body(), status=error.status)
    except web.HTTPNotFound:
        message = f"The mailbox has no {request.path}: it takes POST /emails and POST /emails/batch, and shows /emails."
        return web.json_response(ResendError(404, "not_found", message).body(), status=404)
    except web.HTTPMethodNotAllowed:
        refusal = ResendError(405, "method_not_allowed", f"{request.method} is not allowed for {request.path}.")
        return web.json_response(refusal.body(), status=405)
    except web.HTTPRequestEntityTooLarge:
        return web.json_response(invalid("The request is larger than 40MB.").body(), status=413)


def _authenticated(request: web.Request) -> str:
    """A digest of the API key. Any that begins with ``re_`` is right."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise ResendError(401, "missing_api_key", "Missing API key in the authorization header.")
    if not key.strip().startswith("re_"):
        raise ResendError(403, "invalid_api_key", "API key is invalid: here any that begins with re_ works.")
    return hashlib.sha256(key.strip().encode()).hexdigest()


def _json(raw: bytes) -> object:
    try:
        return json.loads(raw)
    except ValueError:
        raise ResendError(400, "validation_error", "The request body is not JSON.") from None


def _keyed(request: web.Request, account: str, raw: bytes) -> Keyed | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY:
        raise ResendError(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
    canonical = json.dumps(json.loads(raw), sort_keys=True)
    return Keyed(account, key, hashlib.sha256(f"{request.path}\n{canonical}".encode()).hexdigest())


def _refused(fault: Fault) -> web.Response:
    limited = fault.status == 429  # noqa: PLR2004
    name = "rate_limit_exceeded" if limited else "application_error"
    message = "Too many requests." if limited else "Something went wrong, as asked for."
    body = ResendError(fault.status, name, message).body()
    headers = {"Retry-After": str(math.ceil(fault.seconds))} if limited or fault.seconds else {}
    return web.json_response(body, status=fault.status, headers=headers)
