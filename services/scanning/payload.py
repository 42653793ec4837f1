"""What a QR code holds, as a ticket token. Pure."""

import hashlib
import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

from shared.firestore.paths import is_document_id

PREFIX: Final = "rtk:"
PARAMETER: Final = "tk"
_OURS: Final = re.compile(r"[0-9A-Fa-f]{32}")


def token_of(payload: str) -> str:
    """The token of ``rtk:<token>``, ``https://...?tk=<token>`` or a bare token; ValueError if there is none, or one
    that cannot be a document's id.

    Our own tokens are hex and may have been shown or typed in capitals; older ones keep their case.
    """
    text = payload.strip()
    if text[: len(PREFIX)].lower() == PREFIX:
        text = text[len(PREFIX) :].strip()
    elif text.lower().startswith(("https://", "http://")):
        text = _parameter(text)
    if not is_document_id(text):
        raise ValueError("holds no ticket token")
    return text.lower() if _OURS.fullmatch(text) else text


def can_be_shown(token: str) -> bool:
    """Whether a code that holds the token is understood as that token."""
    try:
        return token_of(token) == token
    except ValueError:
        return False


def _parameter(url: str) -> str:
    given = {name.lower(): values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
    return given.get(PARAMETER, "").strip()


def token_or_stand_in(payload: str) -> str:
    """The token, or for a code that holds none a name that no ticket has, by which it is not found."""
    try:
        return token_of(payload)
    except ValueError:
        return "not-a-token-" + hashlib.sha256(payload.encode("utf-8", "surrogatepass")).hexdigest()
