"""The mailbox as an HTTP server: Resend's API on one side, a person with a browser on the other."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

from aiohttp import web

from deploy.local.http_faults import Faults
from deploy.local.mailbox.errors import ResendError, invalid
from deploy.local.mailbox.preview import CONTENT_POLICY, PAGE, Pages
from deploy.local.mailbox.sending import Handler, Sending
from deploy.local.mailbox.store import Mail, Store
from deploy.local.standalone import Listener, answer_ready

MAX_BODY = 56 * 1024 * 1024
"""40 MB of attachments and the text around them."""
LISTED_ON_PAGE = 200
MAX_LIMIT = 100
MAX_WAIT = 120.0


class Mailbox:
    """``async with Mailbox() as mailbox: mailbox.url`` is what ``resend.api_url`` is set to.

    ``data_dir`` keeps the mails in ``mailbox.sqlite3`` there, None in memory.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, data_dir: Path | str | None = None) -> None:
        self._store = Store(None if data_dir is None else Path(data_dir) / "mailbox.sqlite3")
        self._pages = Pages()
        self._arrival = asyncio.Event()
        self.faults = Faults()
        self._sending = Sending(self._store, self.faults, self._announce)
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
        async with AsyncExitStack() as stack:
            stack.callback(self._store.close)
            await self._listener.start()
            stack.push_async_callback(self._listener.stop)
            self._running = stack.pop_all()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[_errors], client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/health", answer_ready),
                web.get("/ready", answer_ready),
                web.get("/emails", self._list),
                web.get("/emails/{id}", self._show),
                web.get("/emails/{id}/attachments/{position}", self._attachment),
                web.get("/", self._page),
                web.static("/page", PAGE),
                web.get("/_sim/arrived", self._wait),
                web.delete("/_sim/emails", self._clear),
                *self._sending.routes(),
                *self.faults.routes(),
            ]
        )
        return app

    def _announce(self) -> None:
        self._arrival.set()
        self._arrival = asyncio.Event()

    async def _list(self, request: web.Request) -> web.Response:
        """Everything unless ``limit`` (1 to 100) asks for less; ``after`` continues; ``to`` filters."""
        wanted = request.query.get("limit")
        if wanted is not None and not (wanted.isdecimal() and 1 <= int(wanted) <= MAX_LIMIT):
            raise invalid(f"Invalid `limit` field. It is a number from 1 to {MAX_LIMIT}.")
        limit = int(wanted) if wanted else None
        after, to = request.query.get("after"), request.query.get("to")
        found = self._store.mails(limit=limit and limit + 1, after=after, to=to)
        data = [mail.render() for mail in found[:limit]]
        return web.json_response({"object": "list", "has_more": len(found) > len(data), "data": data})

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._found(request).render())

    async def _attachment(self, request: web.Request) -> web.Response:
        attachments = self._store.attachments(self._found(request).id)
        position = request.match_info["position"]
        if not position.isdecimal() or int(position) >= len(attachments):
            raise ResendError(404, "not_found", "Attachment not found")
        attachment = attachments[int(position)]
        headers = {
            # The sender chose its name and type: it is saved, never shown as a page of this origin.
            "Content-Type": attachment.content_type,
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(attachment.filename, safe='')}",
            "Content-Security-Policy": "sandbox; default-src 'none'",
            "X-Content-Type-Options": "nosniff",
        }
        return web.Response(body=attachment.content, headers=headers)

    async def _page(self, request: web.Request) -> web.Response:
        wanted = request.query.get("mail", "")
        shown = self._store.mail(wanted)
        lost = bool(wanted) and shown is None
        html = self._pages.render(
            mails=self._store.mails(limit=LISTED_ON_PAGE),
            shown=shown,
            attachments=self._store.attachments(shown.id) if shown else (),
            total=self._store.count(),
            lost=lost,
        )
        headers = {"Content-Security-Policy": CONTENT_POLICY, "Referrer-Policy": "no-referrer"}
        return web.Response(text=html, content_type="text/html", headers=headers, status=404 if lost else 200)

    async def _wait(self, request: web.Request) -> web.Response:
        """``?count=&to=&timeout=``: like ``arrived``, for tests in another process."""
        to = request.query.get("to")
        try:
            count = int(request.query.get("count", "1"))
            seconds = float(request.query.get("timeout", "10"))
            mails = await self.arrived(count, to=to, timeout=min(seconds, MAX_WAIT))
        except ValueError:
            raise invalid("`count` and `timeout` are numbers.") from None
        except TimeoutError:
            raise ResendError(408, "timeout", f"Only {self._store.count(to)} of {count} mails have arrived.") from None
        return web.json_response({"data": [mail.render() for mail in mails]})

    async def _clear(self, _request: web.Request) -> web.Response:
        self._store.clear()
        return web.json_response({"data": []})

    def _found(self, request: web.Request) -> Mail:
        mail = self._store.mail(request.match_info["id"])
        if mail is None:
            raise ResendError(404, "not_found", "Email not found")
        return mail


@web.middleware
async def _errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ResendError as error:
        refusal = error
    except web.HTTPNotFound:
        message = f"The mailbox has no {request.path}: it takes POST /emails and /emails/batch, and shows /emails."
        refusal = ResendError(404, "not_found", message)
    except web.HTTPMethodNotAllowed:
        refusal = ResendError(405, "method_not_allowed", f"{request.method} is not allowed for {request.path}.")
    except web.HTTPRequestEntityTooLarge:
        refusal = ResendError(413, "validation_error", "The request is too large: attachments may not exceed 40MB.")
    return web.json_response(refusal.body(), status=refusal.status)
