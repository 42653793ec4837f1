import json
import logging
from collections.abc import Iterator

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
        ("GET /transfer-preview?t=abc123&x=1", "GET /transfer-preview?t=[redacted]&x=1"),
        ("no document ticketTokens/0123abcd here", "no document ticketTokens/[redacted] here"),
        ("documents/events/e1", "documents/events/e1"),
    ],
)
def test_secrets_and_persons_inside_a_text_are_redacted(text: str, clean: str) -> None:
    assert logs.scrub(text) == clean


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
