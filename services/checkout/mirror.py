"""The Realtime Database's copy of Stripe customer ids, at ``users/{uid}/stripeCustomerId``; best effort, by a job."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
import google.auth
from aiohttp import web
from google.auth.transport.requests import Request

from services.checkout.settings import CHECKOUT_SETTINGS
from shared.operations import Write
from shared.worker import JobHandler, Run

_SCOPES: Final = (
    "https://www.googleapis.com/auth/firebase.database",
    "https://www.googleapis.com/auth/userinfo.email",
)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Mirror:
    """https://firebase.google.com/docs/reference/rest/database: PUT writes a value at its path."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._credentials = None if urlsplit(url).hostname in _LOCAL else google.auth.default(scopes=_SCOPES)[0]

    async def run(self, run: Run) -> Sequence[Write]:
        uid, customer_id = (str((run.job.payload or {}).get(key)) for key in ("uid", "stripeCustomerId"))
        url = f"{self._url}/users/{quote(uid, safe='')}/stripeCustomerId.json"
        headers = {"Authorization": f"Bearer {await self._bearer()}"}
        async with self._session.put(url, json=customer_id, headers=headers, timeout=_TIMEOUT) as response:
            response.raise_for_status()
        return ()

    async def _bearer(self) -> str:
        """A local emulator takes the word ``owner`` for an administrator."""
        if self._credentials is None:
            return "owner"
        if not self._credentials.valid:
            await asyncio.to_thread(self._credentials.refresh, Request())
        return str(self._credentials.token)


MIRROR: Final = web.AppKey("mirror", Mirror)


async def mirror(app: web.Application) -> AsyncIterator[None]:
    """Opens the connection, where a database is configured."""
    url = app[CHECKOUT_SETTINGS].firebase_database_url
    async with aiohttp.ClientSession() as session:
        if url:
            app[MIRROR] = Mirror(url, session)
        yield


def handler_of(app: web.Application) -> JobHandler:
    async def run(run: Run) -> Sequence[Write]:
        return await app[MIRROR].run(run) if MIRROR in app else ()

    return run
