"""Taking mails: authentication, idempotency keys and the faults that a test asks for.

https://resend.com/docs/dashboard/emails/idempotency-keys: a key is kept for a day; the same request under it gets the
same reply and sends nothing, another one is refused, and so is a second one while the first is in progress.
"""

import asyncio
import hashlib
import json
import math
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from aiohttp import web

from deploy.local.http_faults import Fault, Faults, drop_connection
from deploy.local.mailbox.errors import ResendError, invalid
from deploy.local.mailbox.message import Message, read_batch_message, read_message
from deploy.local.mailbox.store import Keyed, Store

MAX_KEY = 256
MAX_BATCH = 100
TOO_MANY_REQUESTS = 429

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Outcome = tuple[Sequence[tuple[str, Message]], dict[str, object]]
"""The mails with their ids, and the reply."""
Read = Callable[[object, web.Request], Outcome]


class Sending:
    """The two routes that take mails. ``arrived`` is called after each request that brought some."""

    def __init__(self, store: Store, faults: Faults, arrived: Callable[[], None]) -> None:
        self._store = store
        self._faults = faults
        self._arrived = arrived
        self._running: set[tuple[str, str]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/emails", self._handler(_one)), web.post("/emails/batch", self._handler(_batch))]

    def _handler(self, read: Read) -> Handler:
        async def answer(request: web.Request) -> web.StreamResponse:
            account = _authenticated(request)
            body = _json(await request.read())
            keyed = _keyed(request, account, body)
            fault = self._faults.take(request.method, request.path)
            if fault is not None and fault.kind == "refuse":
                return _refused(fault)
            with self._in_progress(keyed):
                if fault is not None and fault.kind == "delay":
                    await asyncio.sleep(fault.seconds)
                reply = self._replayed(keyed) or self._accept(keyed, *read(body, request))
            if fault is not None and fault.kind == "lost_reply":
                return drop_connection(request)
            return web.Response(text=reply, content_type="application/json")

        return answer

    @contextmanager
    def _in_progress(self, keyed: Keyed | None) -> Iterator[None]:
        if keyed is None:
            yield
            return
        key = (keyed.account, keyed.key)
        if key in self._running:
            message = "Same idempotency key used while original request is still in progress."
            raise ResendError(409, "concurrent_idempotent_requests", message)
        self._running.add(key)
        try:
            yield
        finally:
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
        self._arrived()
        return body


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
        body: object = json.loads(raw)
    except ValueError:
        raise ResendError(400, "validation_error", "The request body is not JSON.") from None
    return body


def _keyed(request: web.Request, account: str, body: object) -> Keyed | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY:
        raise ResendError(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
    canonical = f"{request.path}\n{json.dumps(body, sort_keys=True)}"
    return Keyed(account, key, hashlib.sha256(canonical.encode()).hexdigest())


def _refused(fault: Fault) -> web.Response:
    limited = fault.status == TOO_MANY_REQUESTS
    name = "rate_limit_exceeded" if limited else "application_error"
    message = "Too many requests." if limited else "Something went wrong, as asked for."
    headers = {"Retry-After": str(math.ceil(fault.seconds))} if limited or fault.seconds else {}
    return web.json_response(ResendError(fault.status, name, message).body(), status=fault.status, headers=headers)
