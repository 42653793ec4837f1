"""The header by which a client says that a request is one it has sent before."""

import hashlib
from typing import Final

from aiohttp import web

_LONGEST: Final = 255


def idempotency_key(request: web.Request) -> str | None:
    return key_of(request.headers.get("x-idempotency-key", ""))


def key_of(given: str) -> str | None:
    """The key as it was sent. One that a header or a document could not hold (other bytes than printable ASCII, or too
    many) is known by its SHA-256 instead: refusing it would lose the sale, and cutting it would make one key of two.
    """
    key = given.strip()
    if len(key) <= _LONGEST and key.isascii() and key.isprintable():
        return key or None
    return "sha256-" + hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
