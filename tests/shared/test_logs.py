import json
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import structlog

from shared import logs
from tests.support.restored_logs import restored_logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """Leaves logging as pytest and the other tests expect it."""
    with restored_logs():
        yield


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "claim_token",
        "claimToken",
        "ticketToken",
        "key",
        "proxy_key",
        "x-proxy-key",
        "apiKey",
        "Authorization",
        "stripe_secret",
        "client_secret",
        "stripe-signature",
        "tokens",
        "secrets",
        "proxy_keys",
        "apiKeys",
        "passwd",
        "Set-Cookie",
    ],
)
def test_secret_fields_are_redacted_by_name_at_any_depth(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    structlog.get_logger().info("event", **{name: "s3cr3t"}, deep=[{name: "s3cr3t"}])
    assert "s3cr3t" not in capsys.readouterr().err


@pytest.mark.parametrize("name", ["idempotency_keys", "monkey", "tokens_left", "event_id", "order_number"])
def test_other_fields_stay(name: str) -> None:
    assert not logs.is_secret(name)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("to jane.doe+x@example.com now", "to j***@example.com now"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer [redacted]"),
        ("Invalid API Key: sk_test_51abcdef", "Invalid API Key: [redacted]"),
        ("secret of pi_3Abc: pi_3Abc_secret_9XyZ", "secret of pi_3Abc: pi_3Abc_secret_[redacted]"),
        ("%22pi_3Abc_secret_9XyZ%22", "%22pi_3Abc_secret_[redacted]%22"),
        ("?email=jane%40example.com&x=1", "?email=j***%40example.com&x=1"),
        ("<.jane@example.com>, a%20b@example.com", "<.***@example.com>, a***@example.com"),
        ("it was eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ1In0.c2ln.", "it was [redacted]"),
        ("scanned rtk:0123abcd-ef", "scanned rtk:[redacted]"),
        ("?code=RTK%3A0123abcd&x=1", "?code=RTK%3A[redacted]&x=1"),
        ("https://tickets.example/?tk=0123abcd", "https://tickets.example/?tk=[redacted]"),
        ("Door(id='d1', claim_token='ab')", "Door(id='d1', claim_token=[redacted])"),
        ('{"proxyKey": "ab", "id": "d1"}', '{"proxyKey": [redacted], "id": "d1"}'),
        ("GET /transfer-preview?t=abc123&x=1", "GET /transfer-preview?t=[redacted]&x=1"),
        ("no document ticketTokens/0123abcd here", "no document ticketTokens/[redacted] here"),
        ("documents/events/e1", "documents/events/e1"),
    ],
)
def test_secrets_and_persons_inside_a_text_are_redacted(text: str, clean: str) -> None:
    assert logs.scrub(text) == clean


@dataclass(frozen=True)
class Guest:
    email: str
    token: str


@pytest.mark.parametrize(
    "value",
    [
        ValueError("to jane@example.com"),
        Guest("jane@example.com", "jane@example.com"),
        b"jane@example.com",
        {"jane@example.com"},
        {"jane@example.com": 1},
        ({"deep": [ValueError("jane@example.com")]},),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_every_type_are_redacted(value: object, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    structlog.get_logger().info("event", value=value, **{"jane@example.com": 1})
    logging.getLogger("library").warning("event", extra={"value": value, "_private": value})
    printed = capsys.readouterr().err
    assert "jane" not in printed
    assert len(printed.splitlines()) == 2


def test_a_field_of_an_object_is_redacted_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    structlog.get_logger().info("event", guest=Guest("jane@example.com", "s3cr3t"))
    assert lines(capsys)[0]["guest"] == "Guest(email='j***@example.com', token=[redacted])"


def test_numbers_and_absence_stay_what_they_are() -> None:
    assert logs.redacted([None, True, 1, 1.5]) == [None, True, 1, 1.5]


def test_a_long_text_is_scrubbed_in_proportion_to_its_length() -> None:
    """Texts that make a careless pattern look again at every position; those took minutes."""
    start = time.process_time()
    for piece in ("a.", "a@", "%40", "a%40b.", "-", "eyJ", "token", "token='", "&t=", "bearer "):
        logs.scrub(piece * (200_000 // len(piece)))
    assert time.process_time() - start < 5


def test_exceptions_are_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    try:
        int("jane@example.com has sk_live_12345678")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = lines(capsys)
    assert "j***@example.com has [redacted]" in str(line["exception"])


def test_the_libraries_logs_come_out_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    structlog.contextvars.bind_contextvars(request_id="r1")
    logging.getLogger("aiohttp.server").warning("mail to %s", "jane@example.com")
    logging.getLogger("grpc").debug("not at this level")
    structlog.contextvars.clear_contextvars()
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["logger"], line["request_id"]) == (
        "mail to j***@example.com",
        "warning",
        "aiohttp.server",
        "r1",
    )


def test_at_debug_the_libraries_keep_their_requests_and_replies_to_themselves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("DEBUG", "json")
    logging.getLogger("stripe").debug("body=%s", '{"name": "Jane Doe"}')
    logging.getLogger("httpx").info("POST /v1/payment_intents")
    structlog.get_logger("shared.worker").debug("looked_around")
    assert [line["event"] for line in lines(capsys)] == ["POST /v1/payment_intents", "looked_around"]


def test_the_console_layout_is_for_people_and_redacted(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "console")
    structlog.get_logger().info("scanned", token="abc", event_id="e1")
    printed = capsys.readouterr().err
    assert "scanned" in printed
    assert "event_id=e1" in printed
    assert "abc" not in printed
