"""Who may call: the proxy key on every route, an admin on admin routes, one's own uid everywhere.

Admin routes follow ``ADMIN_AUTH``: ``token`` needs a Firebase ID token whose claim ``admin`` is true or whose uid the
service calls an admin; ``proxy`` trusts the proxy key alone. Where any request carries an ID token, the uid in it
must be the token's.
"""

import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence

from aiohttp import web
from aiohttp.typedefs import Handler

from shared.config import SETTINGS
from shared.errors import Forbidden, Unauthorized
from shared.id_tokens import Caller, IdTokens, TokenInvalid

IsAdminUid = Callable[[web.Application, str], Awaitable[bool]]

OPEN_HANDLERS: web.AppKey[frozenset[Handler]] = web.AppKey("open_handlers")
"""The handlers that need no proxy key; whatever is not named here does, unknown paths too."""

ID_TOKENS = web.AppKey("id_tokens", IdTokens)
IS_ADMIN_UID: web.AppKey[IsAdminUid] = web.AppKey("is_admin_uid")
CALLER = web.RequestKey("caller", Caller)


class InvalidProxyKey(Forbidden):
    code = "invalid_proxy_key"


class TokenMissing(Unauthorized):
    code = "token_missing"


class NotAdmin(Forbidden):
    code = "not_admin"


class UidMismatch(Forbidden):
    code = "uid_mismatch"


def key_matches(keys: Sequence[str], given: str) -> bool:
    """Compares with every key, each in constant time, so that the time tells nothing of any of them."""
    matches = [hmac.compare_digest(key.encode(), given.encode("utf-8", "surrogateescape")) for key in keys]
    return any(matches)


@web.middleware
async def proxy_key_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    keys = request.app[SETTINGS].proxy_keys
    if keys and request.match_info.handler not in request.app[OPEN_HANDLERS]:
        _check_proxy_key(keys, request.headers.get("x-proxy-key", ""))
    return await handler(request)


def _check_proxy_key(keys: Sequence[str], given: str) -> None:
    if not key_matches(keys, given):
        problem = "does not match" if given else "is missing"
        raise InvalidProxyKey("This request is not allowed.", message=f"The header x-proxy-key {problem}.")


async def caller(request: web.Request) -> Caller | None:
    """Who the request's ID token says is calling, or None without a token; raises 401 for one that is not valid."""
    if CALLER in request:
        return request[CALLER]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if not scheme:
        return None
    if scheme.lower() != "bearer":
        raise TokenInvalid("Please sign in again.", message="The Authorization header must be 'Bearer <ID token>'.")
    request[CALLER] = await request.app[ID_TOKENS].verify(token.strip())
    return request[CALLER]


async def is_admin(request: web.Request) -> bool:
    """Whether the caller may do what admins do, by the rule of ``ADMIN_AUTH``."""
    if request.app[SETTINGS].admin_auth == "proxy":
        return True
    who = await caller(request)
    return who is not None and (who.admin or await request.app[IS_ADMIN_UID](request.app, who.uid))


async def require_admin(request: web.Request) -> None:
    if await is_admin(request):
        return
    if await caller(request) is None:
        raise TokenMissing(
            "Please sign in as an admin.", message="This route needs the header Authorization: Bearer <ID token>."
        )
    raise NotAdmin("Only an admin may do this.")


async def require_own_uid(request: web.Request, uids: Iterable[str | None]) -> None:
    """Refuses a request that carries someone's ID token and another one's uid."""
    who = await caller(request)
    if who and any(uid is not None and uid != who.uid for uid in uids):
        raise UidMismatch("You may only do this for your own account.", message="The uid is not the ID token's.")
