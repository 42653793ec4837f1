"""What a QR code holds, as a ticket token. Pure."""

import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

PREFIX: Final = "rtk:"
PARAMETER: Final = "tk"
_OURS: Final = re.compile(r"[0-9A-Fa-f]{32}")


def token_of(payload: str) -> str:
    """The token of ``rtk:<token>``, ``https://...?tk=<token>`` or a bare token; ValueError if there is none.

    Our own tokens are hex and may have been shown or typed in capitals; older ones keep their case.
    """
    text = payload.strip()
    if text[: len(PREFIX)].lower() == PREFIX:
        text = text[len(PREFIX) :].strip()
    elif text.lower().startswith(("https://", "http://")):
        text = _parameter(text)
    if not text:
        raise ValueError("holds no ticket token")
    return text.lower() if _OURS.fullmatch(text) else text


def _parameter(url: str) -> str:
    given = {name.lower(): values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    return given.get(PARAMETER, "").strip()
