"""The refusals a request can meet, by category.

A category carries the HTTP status; a refusal subclasses one and sets ``code`` (snake_case, from the closed set in
the service's README). ``error`` is a sentence for the person who reads it, ``message`` the detail for the developer
who looks into it, ``fields`` are further keys of the reply's envelope. One middleware renders them
(``shared.http``); nothing else turns an exception into a status.
"""

from collections.abc import Mapping
from typing import ClassVar


class Refusal(Exception):  # noqa: N818  a refusal is an answer, not a fault
    """A request that is answered with a reason instead of a result."""

    status: ClassVar[int] = 500
    code: str = "internal"

    def __init__(
        self,
        error: str,
        *,
        code: str | None = None,
        message: str | None = None,
        fields: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(error)
        self.error = error
        self.code = code or type(self).code
        self.message = message or error
        self.fields = dict(fields or {})
        self.headers = dict(headers or {})

    def envelope(self) -> dict[str, object]:
        """The JSON body of the reply."""
        return {"error": self.error, "code": self.code, "message": self.message, **self.fields}


class BadRequest(Refusal):
    status = 400
    code = "bad_request"


class Unauthorized(Refusal):
    status = 401
    code = "unauthorized"


class Forbidden(Refusal):
    status = 403
    code = "forbidden"


class NotFound(Refusal):
    status = 404
    code = "not_found"


class Conflict(Refusal):
    status = 409
    code = "conflict"


class Gone(Refusal):
    status = 410
    code = "gone"


class TooLarge(Refusal):
    status = 413
    code = "too_large"


class TooManyRequests(Refusal):
    """``retry_after`` is in whole seconds."""

    status = 429
    code = "rate_limited"

    def __init__(self, error: str, *, retry_after: int) -> None:
        super().__init__(error, headers={"Retry-After": str(retry_after)})


class Unavailable(Refusal):
    """A dependency is down; the same request may succeed later."""

    status = 503
    code = "unavailable"
