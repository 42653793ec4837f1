"""Stripe's errors, as https://docs.stripe.com/api/errors words and shapes them."""

from collections.abc import Mapping
from typing import Any

DOCS = "https://docs.stripe.com/error-codes#"


class StripeError(Exception):
    """An error body with its HTTP status.

    Raised, it undoes what the request changed. Returned by an operation, it is that request's outcome: a declined
    card leaves a failed charge behind.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self._kind = kind
        self._message = message
        self._param = param
        self._extra = dict(extra or {})

    def body(self) -> dict[str, Any]:
        error = {"type": self._kind, "code": self.code, "message": self._message, "param": self._param}
        if self.code:
            error["doc_url"] = DOCS + self.code.replace("_", "-")
        return {"error": {k: v for k, v in error.items() if v is not None} | self._extra}


def no_such(kind: str, object_id: str, param: str) -> StripeError:
    message = f"No such {kind}: '{object_id}'"
    return StripeError(message, status=404, code="resource_missing", param=param)


def unexpected_state(message: str, payment_intent: Mapping[str, object]) -> StripeError:
    code = "payment_intent_unexpected_state"
    return StripeError(message, code=code, extra={"payment_intent": payment_intent})


def api_error(status: int = 500) -> StripeError:
    message = "An unknown error occurred. It was asked for: this is a simulator with a fault in force."
    return StripeError(message, status=status, kind="api_error")
