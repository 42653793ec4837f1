"""Resend over one pooled connection; its own client opens one for each mail and does not retry."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import httpx
import resend
import stamina
from aiohttp import web
from resend.exceptions import ResendError
from resend.http_client_async import AsyncHTTPClient

from services.checkout.letters import Letter, Stationery
from services.checkout.settings import CHECKOUT_SETTINGS

_TIMEOUT: Final = 15.0
_PASSING: Final = frozenset({408, 409, 425, 429})
"""Besides 5xx: worth another try. 409 is the same idempotency key while its first request is under way."""
_SENT_BEFORE: Final = "invalid_idempotent_request"
"""Resend's name for a key that comes again with another mail: the one that it came with first has been sent."""
PROVIDER: Final = "resend"
_LIBRARYS_OWN: Final = resend.default_async_http_client


class MailNotConfigured(RuntimeError):  # noqa: N818  a state, told to whoever reads the job
    """RESEND_API_KEY is not set."""


class _Pooled(AsyncHTTPClient):
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def request(  # noqa: PLR0917  the parameters are the library's
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: dict[str, object] | list[object] | None = None,
        files: dict[str, Any] | None = None,
        data: dict[str, str] | None = None,
    ) -> tuple[bytes, int, Mapping[str, str]]:
        reply = await self._client.request(method, url, headers=headers, json=json, files=files, data=data)
        return reply.content, reply.status_code, reply.headers


class Mailer:
    """Sends through Resend, whose client is configured by its module's variables."""

    def __init__(self, stationery: Stationery, *, configured: bool) -> None:
        self._stationery = stationery
        self._configured = configured

    async def send(self, letter: Letter, idempotency_key: str) -> str | None:
        """The message's id. The same key never sends twice (for 24 hours, says Resend's documentation).

        None where the mail went out before and has changed since, so that its id cannot be had any more: the process
        was killed after the sending, and then the tickets were refunded, say.
        """
        if not self._configured:
            raise MailNotConfigured("RESEND_API_KEY is not set, so no mail can be sent.")
        mail = await asyncio.to_thread(self._stationery.write, letter)
        try:
            async for attempt in stamina.retry_context(on=_is_passing, attempts=3, timeout=30.0):
                with attempt:
                    sent = await resend.Emails.send_async(mail, {"idempotency_key": idempotency_key})
        except ResendError as error:
            if error.error_type == _SENT_BEFORE:
                return None
            raise
        return sent["id"]


def _is_passing(error: Exception) -> bool:
    if isinstance(error, ResendError) and error.error_type == _SENT_BEFORE:
        return False
    code = str(error.code) if isinstance(error, ResendError) else ""
    return code.isdigit() and (int(code) in _PASSING or int(code) >= httpx.codes.INTERNAL_SERVER_ERROR)


MAILER: Final = web.AppKey("mailer", Mailer)


async def mailer(app: web.Application) -> AsyncIterator[None]:
    settings = app[CHECKOUT_SETTINGS]
    async with httpx.AsyncClient(timeout=_TIMEOUT) as client:
        resend.api_url = settings.resend_api_url.rstrip("/")
        resend.api_key = settings.resend_api_key.get_secret_value() if settings.resend_api_key else None
        pooled = resend.default_async_http_client = _Pooled(client)
        stationery = Stationery(settings.email_from, settings.public_site_url)
        app[MAILER] = Mailer(stationery, configured=settings.resend_api_key is not None)
        yield
        if resend.default_async_http_client is pooled:  # another application of this process may have put its own
            resend.default_async_http_client = _LIBRARYS_OWN
