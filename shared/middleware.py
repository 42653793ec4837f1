"""What surrounds every handler: request id, access log, metrics, errors to the envelope, proxy key."""

import re
import time
import uuid

import structlog
from aiohttp import web
from aiohttp.http import HttpVersion11
from aiohttp.typedefs import Handler
from pydantic_core import to_json

from shared.auth import proxy_key_middleware
from shared.errors import BadRequest, Refusal, TooLarge
from shared.metrics import HTTP_METRICS
from shared.readiness import READINESS

log = structlog.get_logger()

REQUEST_ID = web.RequestKey("request_id", str)
REQUEST_ID_HEADER = "x-request-id"
ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
QUIET_ROUTES = frozenset({"/health", "/ready", "/metrics"})
KEPT_HEADERS = ("Allow",)
ROUTING = {
    404: ("not_found", "There is nothing here.", "No route has this path; /openapi.json lists the routes."),
    405: ("method_not_allowed", "This method is not allowed here.", "The header Allow lists the methods."),
}


class MalformedBody(BadRequest):
    code = "malformed_body"


def route_template(request: web.Request) -> str:
    """``/posts/{id}``, never the path that was asked for: that may hold ids and is the client's to choose."""
    resource = request.match_info.route.resource
    return resource.canonical if resource else "unmatched"


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Binds the request id, and logs and measures the answer."""
    given = request.headers.get(REQUEST_ID_HEADER, "")
    request[REQUEST_ID] = given if ACCEPTED_ID.fullmatch(given) else str(uuid.uuid4())
    metrics, route, start = request.app[HTTP_METRICS], route_template(request), time.perf_counter()
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID]), metrics.counting():
        response = await handler(request)
        if request.app[READINESS].draining and not response.prepared:
            response.force_close()  # so that a kept-alive client comes back through the load balancer
        seconds = time.perf_counter() - start
        metrics.observe(request.method, route, response.status, seconds)
        _log_access(request.method, route, response.status, seconds)
        return response


def _log_access(method: str, route: str, status: int, seconds: float) -> None:
    failed = status >= web.HTTPInternalServerError.status_code
    level = log.warning if failed else log.debug if route in QUIET_ROUTES else log.info
    level("request", method=method, route=route, status=status, ms=round(seconds * 1000, 2))


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """A prepare signal, so that streamed responses carry the request id too."""
    if REQUEST_ID in request:
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]


@web.middleware
async def errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Renders every exception as the envelope; nothing else turns an exception into a status."""
    try:
        return await handler(request)
    except Refusal as refusal:
        if refusal.status >= web.HTTPInternalServerError.status_code:  # ours to mend, so the cause belongs in the log
            log.warning("dependency_failed", code=refusal.code, exc_info=refusal.__cause__)
        return envelope(refusal)
    except web.HTTPException as answer:
        return _of_aiohttp(answer)
    except web.RequestPayloadError as error:
        return envelope(MalformedBody("The body could not be read.", message=str(error)))
    except Exception:  # the last line of defence: the trace is for the log, never for the client
        log.exception("request_failed", route=route_template(request))
        return envelope(Refusal("Something went wrong on our side. Please try again.", message=_reference(request)))


@web.middleware
async def plain_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Says why a compressed body is not understood, instead of taking its bytes for malformed JSON."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise MalformedBody("The body could not be read.", message="Send the body without Content-Encoding.")
    return await handler(request)


async def go_on(request: web.Request) -> None:
    """Grants ``Expect: 100-continue`` and passes over any other expectation, as RFC 9110, section 10.1.1 allows.

    aiohttp's own handler refuses those before the key is looked at, outside the envelope and the log. It still does on
    paths that do not exist; and what its parser cannot read (a broken chunk, raw bytes in the URL, a header that is
    too long) never becomes a request: that is answered with 400 in plain text, without a request id.
    """
    if request.headers["Expect"].lower() == "100-continue" and request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # or a failure of the handler would be taken for one in the middle of a reply


def envelope(refusal: Refusal, status: int | None = None) -> web.Response:
    return web.Response(
        body=to_json(refusal.envelope()),
        status=status or refusal.status,
        headers=refusal.headers,
        content_type="application/json",
    )


def _reference(request: web.Request) -> str:
    return f"Quote the request id {request[REQUEST_ID]}."


def _of_aiohttp(answer: web.HTTPException) -> web.StreamResponse:
    if isinstance(answer, web.HTTPRequestEntityTooLarge):
        return envelope(TooLarge("The request is too large.", message=answer.text))
    if answer.status < web.HTTPBadRequest.status_code:
        return answer  # a redirect is an answer of its own
    code, error, message = ROUTING.get(answer.status, ("bad_request", f"{answer.reason}.", answer.text))
    kept = {name: answer.headers[name] for name in KEPT_HEADERS if name in answer.headers}
    refusal = Refusal(error, code=code, message=message, headers=kept)
    return envelope(refusal, answer.status)


MIDDLEWARES = (observe, errors, proxy_key_middleware, plain_bodies)
"""The outermost first."""
