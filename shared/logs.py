"""Structured logs on stderr, ours and the libraries', with secrets and persons taken out.

A log line is a static snake_case event with fields. Redaction is the last net, not a licence: tokens, keys and whole
email addresses do not belong in a log call in the first place.
"""

import logging
import re
import sys
from collections.abc import Mapping

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"
SECRET_NAMES = re.compile(r"(?:^|[_-])(?:token|secret|password|authorization|signature|(?:proxy|api)[_-]?key|key)$")
SCRUBBED = (
    (re.compile(r"\b([\w+])[\w.+%-]*@((?:[\w-]+\.)+\w+)"), r"\1***@\2"),
    (re.compile(r"\b((?:pi|seti)_[A-Za-z0-9]+_secret_)\w+"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), rf"\1{REDACTED}"),
    (re.compile(r"\b(?:(?:sk|rk)_(?:live|test)|whsec|re)_\w{5,}"), REDACTED),
    (re.compile(r"([?&](?:t|token)=)[^&\s\"']+"), rf"\1{REDACTED}"),
    (re.compile(r"(ticketTokens/)[^\s/\"']+"), rf"\1{REDACTED}"),
)
OURS = ("deploy", "services", "shared", "__main__")
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_secret(name: str) -> bool:
    return bool(SECRET_NAMES.search(CAMEL.sub("_", name).lower()))


def scrub(text: str) -> str:
    """``text`` without email addresses, bearer tokens, provider keys and ticket tokens."""
    for pattern, replacement in SCRUBBED:
        text = pattern.sub(replacement, text)
    return text


def redacted(value: object) -> object:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {name: REDACTED if is_secret(str(name)) else redacted(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(inner) for inner in value]
    return value


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor."""
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own bookkeeping, removed before rendering
            event[name] = REDACTED if is_secret(name) else redacted(value)
    return event


def configure(level: str, layout: str) -> None:
    """Routes structlog and the standard library's logging to stderr. ``layout`` is json or console.

    DEBUG is for our own code: at that level the libraries log whole requests and replies, and with them names,
    addresses and secrets that no pattern recognises.
    """
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        redact,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_foreign(before), processors=_last(layout))
    )
    logging.basicConfig(handlers=[handler], level="INFO" if level == "DEBUG" else level, force=True)
    for name in OURS:
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)


def _foreign(before: list[Processor]) -> list[Processor]:
    return [structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder(), *before]


def _last(layout: str) -> list[Processor]:
    plain = structlog.dev.plain_traceback  # the pretty one prints local variables, which redaction cannot judge
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    renderer: Processor = structlog.processors.JSONRenderer() if layout == "json" else console
    return [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
