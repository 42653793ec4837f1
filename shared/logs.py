"""Structured logs on stderr, ours and the libraries', with secrets and persons taken out.

A log line is a static snake_case event with fields. Redaction is the last net, not a licence: tokens, keys and whole
email addresses do not belong in a log call in the first place.
"""

import logging
import re
import sys
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"
HIDDEN = r"(?:token|secret|password|passwd|authorization|signature|cookie|(?:proxy|api)[_-]?key)s?"
SECRET_NAMES = re.compile(rf"(?:^|[_-])(?:{HIDDEN}|key)$")
SCRUBBED = (
    (re.compile(r"(?<![\w.+%-])([\w.+%-])[\w.+%-]*(@|%40)((?:[\w-]+\.)+\w+)"), r"\1***\2\3"),
    (re.compile(r"((?:pi|seti|cs_test|cs_live)_[A-Za-z0-9]+_secret_)\w+"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]+"), rf"\1{REDACTED}"),
    (re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*)*"), REDACTED),  # base64 of {" begins every JSON web token
    (re.compile(r"\b(?:(?:sk|rk)_(?:live|test)|whsec|re)_\w{5,}"), REDACTED),
    (re.compile(r"([?&](?:t|tk|token)=)[^&\s\"']+"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(rtk(?::|%3A)\s*)[^\s\"'&]+"), rf"\1{REDACTED}"),
    (re.compile(r"(ticketTokens/)[^\s/\"']+"), rf"\1{REDACTED}"),
    # what a repr or a JSON text says of a field with such a name
    (re.compile(rf"(?i)({HIDDEN}[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*')"), rf"\1{REDACTED}"),
)
STRUCTLOGS_OWN = frozenset({"_record", "_from_structlog"})
"""Fields that the formatter takes out before it renders."""

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
    """What may be printed of a value. Of a type that is not JSON's, that is its repr, as the renderers would print."""
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return scrub(value)
        case Mapping():
            return redacted_fields(value)
        case list() | tuple() | set() | frozenset():
            return [redacted(inner) for inner in value]
        case _:
            return scrub(repr(value))


def redacted_fields(fields: Mapping[Any, object]) -> dict[str, object]:
    shown = ((*_name(str(name)), value) for name, value in fields.items())
    return {name: REDACTED if secret else redacted(value) for name, secret, value in shown}


@lru_cache(maxsize=1024)  # nearly all of them come from the code, where they are few
def _name(name: str) -> tuple[str, bool]:
    """A field's name as it may be printed, and whether it says that its value may not."""
    return scrub(name), is_secret(name)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor."""
    own = {name: event.pop(name) for name in STRUCTLOGS_OWN & event.keys()}
    return {**own, **redacted_fields(event)}


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
