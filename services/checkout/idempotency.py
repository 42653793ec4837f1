"""The header by which a client says that a request is one it has sent before."""

from aiohttp import web


def idempotency_key(request: web.Request) -> str | None:
    return request.headers.get("x-idempotency-key", "").strip()[:255] or None
