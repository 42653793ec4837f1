"""Idempotency keys as https://docs.stripe.com/api/idempotent_requests has them.

The first reply of a key is kept for a day, errors of the endpoint included, and replayed to the same request; another
request under the same key is an error, and so is a second one while the first runs. A request that is refused before
its endpoint begins (a wrong parameter) keeps nothing.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.forms import Form
from deploy.local.stripe.store import Store

KEPT_SECONDS = 24 * 3600
MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request under a key: the key belongs to an account, the rest says whether it is the same request."""

    account: str
    key: str
    path: str
    parameters: str


@dataclass(frozen=True, slots=True)
class Saved:
    status: int
    body: str
    request_id: str


def keyed(api_key: str, key: str, path: str, form: Form) -> Keyed:
    if len(key) > MAX_KEY:
        raise StripeError(f"Idempotency keys can be up to {MAX_KEY} characters long.")
    account, parameters = (
        hashlib.sha256(text.encode()).hexdigest() for text in (api_key, json.dumps(form, sort_keys=True))
    )
    return Keyed(account, key, path, parameters)


class SavedReplies:
    def __init__(self, store: Store) -> None:
        self._db = store.db
        self._running: set[tuple[str, str]] = set()

    @contextmanager
    def running(self, request: Keyed | None) -> Iterator[None]:
        """Raises StripeError while another request runs under the same key."""
        if request is None:
            yield
            return
        key = (request.account, request.key)
        if key in self._running:
            message = (
                "There is currently another in-progress request using this Idempotent Key (that probably means you "
                f"submitted twice, and the other request is still going through): {request.key}."
            )
            raise StripeError(message, status=409, kind="idempotency_error", code="idempotency_key_in_use")
        self._running.add(key)
        try:
            yield
        finally:
            self._running.discard(key)

    def replay(self, request: Keyed, now: float) -> Saved | None:
        """The saved reply; raises StripeError when the key was used for another request."""
        row = self._db.execute(
            "SELECT path, parameters, status, body, request FROM replies WHERE account = ? AND key = ? AND at > ?",
            (request.account, request.key, now - KEPT_SECONDS),
        ).fetchone()
        if row is None:
            return None
        path, parameters, *saved = row
        if path != request.path:
            raise self._misused(request.key, f"for the same endpoint they were first used for ('{path}')")
        if parameters != request.parameters:
            raise self._misused(request.key, "with the same parameters they were first used with")
        return Saved(*saved)

    def save(self, request: Keyed, saved: Saved, now: float) -> None:
        """Call it inside the transaction that applies the request."""
        self._db.execute(
            "INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                request.account,
                request.key,
                request.path,
                request.parameters,
                saved.status,
                saved.body,
                saved.request_id,
                now,
            ),
        )

    def forget_old(self, now: float) -> None:
        self._db.execute("DELETE FROM replies WHERE at <= ?", (now - KEPT_SECONDS,))

    @staticmethod
    def _misused(key: str, rule: str) -> StripeError:
        message = (
            f"Keys for idempotent requests can only be used {rule}. Try using a key other than '{key}' if you meant "
            "to execute a different request."
        )
        return StripeError(message, kind="idempotency_error")
