"""Routes: HTTP in, one model; one model, HTTP out.

    routes = Routes()

    @routes.post("/scan-ticket", ScanRequest, ScanReply, refusals=[TicketNotFound, AlreadyUsed])
    async def scan_ticket(request: web.Request, scan: ScanRequest) -> ScanReply: ...

POST, PUT and PATCH models are read from the JSON body and the path's parameters, GET and DELETE models from the query
and the path's parameters; a path parameter wins over a field of the same name. A model's validator may raise a
``Refusal`` for a code of its own; anything else that is wrong is 400 ``invalid_request`` naming the field.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypedDict, TypeVar, Unpack, get_args, overload

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json, to_json

from shared import auth, rate_limits
from shared.config import SETTINGS
from shared.errors import BadRequest, Refusal
from shared.rate_limits import Limit
from shared.schemas import Caller

B = TypeVar("B", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)
Raw = TypeVar("Raw", bound=web.StreamResponse)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
READ_METHODS = frozenset({"GET", "DELETE"})


class MalformedJson(BadRequest):
    code = "malformed_json"


class InvalidRequest(BadRequest):
    """A field is missing or has a wrong type; ``field`` names it, such as ``cartItems[0].quantity``."""

    code = "invalid_request"


class Options(TypedDict, total=False):
    """What a route may say besides its models.

    admin: needs an admin (``shared.auth``). proxy_key: False opens the route to requests without the key.
    refusals: the refusal classes it may answer with, for the documentation. limits: how often it may be asked
    (``shared.rate_limits``), counted once the request is understood. status: of a success.
    nulls: send keys that are null instead of leaving them out. summary: its line in the documentation, by default
    the first line of the handler's docstring.
    """

    admin: bool
    proxy_key: bool
    refusals: Sequence[type[Refusal]]
    limits: Sequence[Limit]
    status: int
    nulls: bool
    summary: str


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    path: str
    handler: Handler
    body: type[BaseModel] | None
    reply: type[BaseModel] | None
    options: Options
    doc: str

    @property
    def admin(self) -> bool:
        return self.options.get("admin", False)

    @property
    def proxy_key(self) -> bool:
        return self.options.get("proxy_key", True)


class Verb:
    """``routes.post`` and its like: a decorator that adds a handler and returns it unchanged."""

    def __init__(self, routes: list[Route], method: str) -> None:
        self._routes = routes
        self._method = method

    @overload
    def __call__(
        self, path: str, body: None, reply: type[R], **options: Unpack[Options]
    ) -> Callable[[Callable[[web.Request], Awaitable[R]]], Callable[[web.Request], Awaitable[R]]]: ...

    @overload
    def __call__(
        self, path: str, body: type[B], reply: type[R], **options: Unpack[Options]
    ) -> Callable[[Callable[[web.Request, B], Awaitable[R]]], Callable[[web.Request, B], Awaitable[R]]]: ...

    def __call__(
        self, path: str, body: type[B] | None, reply: type[R], **options: Unpack[Options]
    ) -> Callable[[Callable[..., Awaitable[R]]], Callable[..., Awaitable[R]]]:
        def add(function: Callable[..., Awaitable[R]]) -> Callable[..., Awaitable[R]]:
            endpoint = _endpoint(function, body, options)
            self._routes.append(Route(self._method, path, endpoint, body, reply, options, function.__doc__ or ""))
            return function

        return add


class Routes:
    """The routes of one service, in the order in which they were written, after those of ``parts``."""

    def __init__(self, *parts: "Routes") -> None:
        self._routes: list[Route] = [route for part in parts for route in part]
        self.get = Verb(self._routes, "GET")
        self.post = Verb(self._routes, "POST")
        self.put = Verb(self._routes, "PUT")
        self.patch = Verb(self._routes, "PATCH")
        self.delete = Verb(self._routes, "DELETE")

    def __iter__(self) -> Iterator[Route]:
        return iter(self._routes)

    def raw(
        self, method: str, path: str, **options: Unpack[Options]
    ) -> Callable[[Callable[[web.Request], Awaitable[Raw]]], Callable[[web.Request], Awaitable[Raw]]]:
        """A route that reads its own body and builds its own response, such as a webhook over signed bytes."""

        def add(function: Callable[[web.Request], Awaitable[Raw]]) -> Callable[[web.Request], Awaitable[Raw]]:
            async def endpoint(request: web.Request) -> web.StreamResponse:
                if options.get("admin"):
                    await auth.require_admin(request)
                await rate_limits.check(request, None, options.get("limits", ()))
                return await function(request)

            self._routes.append(Route(method, path, endpoint, None, None, options, function.__doc__ or ""))
            return function

        return add


def _endpoint(function: Callable[..., Awaitable[R]], body: type[BaseModel] | None, options: Options) -> Handler:
    uid_fields = caller_fields(body) if body else ()
    admin, status, nulls = options.get("admin", False), options.get("status", 200), options.get("nulls", False)
    limits = options.get("limits", ())

    async def endpoint(request: web.Request) -> web.Response:
        if admin:
            await auth.require_admin(request)
        if body is None:
            await rate_limits.check(request, None, limits)
            return render(await function(request), status=status, nulls=nulls)
        parsed = await parse(request, body)
        if uid_fields:
            await auth.require_own_uid(request, (getattr(parsed, name) for name in uid_fields))
        await rate_limits.check(request, parsed, limits)
        return render(await function(request, parsed), status=status, nulls=nulls)

    return endpoint


def render(reply: BaseModel, *, status: int = 200, nulls: bool = False) -> web.Response:
    text = reply.model_dump_json(by_alias=True, exclude_none=not nulls)
    return web.Response(body=text.encode(), status=status, content_type="application/json")


async def parse(request: web.Request, model: type[B]) -> B:
    """The request as its model; raises ``MalformedJson`` or ``InvalidRequest``."""
    settings, path = request.app[SETTINGS], request.match_info
    try:
        if request.method in READ_METHODS or request.method == "HEAD":
            strings = {**request.query, **path}
            return model.model_validate_strings(strings, context=settings, by_alias=True, by_name=False)
        body = await request.read() or b"{}"
        body = _with_path(body, dict(path)) if path else body
        return model.model_validate_json(body, strict=True, context=settings, by_alias=True, by_name=False)
    except ValidationError as error:
        raise refusal_of(error) from None


def _with_path(body: bytes, path: dict[str, str]) -> bytes:
    try:
        fields = from_json(body, allow_inf_nan=False)  # JSON has neither
    except ValueError as error:
        raise _malformed(str(error)) from None
    return to_json({**fields, **path}) if isinstance(fields, dict) else body


def refusal_of(error: ValidationError) -> BadRequest:
    """A person's sentence for the first problem, all of them in ``message``. Never repeats what was sent."""
    problems = error.errors(include_url=False, include_input=False)
    first = problems[0]
    if first["type"] == "json_invalid":
        return _malformed(first["msg"])
    if not first["loc"] and first["type"] == "model_type":
        return InvalidRequest("The body must be a JSON object.")
    sentences = [f"{field_name(p['loc'])} {_complaint(p['type'], p['msg'])}".strip() for p in problems]
    fields = {"field": field_name(first["loc"])} if first["loc"] else {}
    return InvalidRequest(f"{sentences[0]}.", message=f"{'; '.join(sentences)}.", fields=fields)


def _malformed(detail: str) -> MalformedJson:
    return MalformedJson("The body is not valid JSON.", message=detail)


def _complaint(kind: str, text: str) -> str:
    if kind == "missing":
        return "is missing"
    return text.removeprefix("Value error, ").replace("Input should be", "must be")


def field_name(loc: tuple[int | str, ...]) -> str:
    """``("cartItems", 0, "quantity")`` as ``cartItems[0].quantity``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def caller_fields(model: type[BaseModel]) -> tuple[str, ...]:
    """The names of the fields marked as the caller's own uid, also where they are optional."""
    return tuple(name for name, info in model.model_fields.items() if _marked(info.annotation, info.metadata))


def _marked(annotation: object, metadata: Sequence[object]) -> bool:
    if any(isinstance(mark, Caller) for mark in metadata):
        return True
    return any(_marked(part, getattr(part, "__metadata__", ())) for part in get_args(annotation))
