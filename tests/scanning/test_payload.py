import pytest

from services.scanning.payload import token_of, token_or_stand_in
from shared.firestore.paths import is_document_id

HEX = "0123456789abcdef0123456789abcdef"

TOKENS = [
    (HEX, HEX),
    (HEX.upper(), HEX),
    (f"  rtk:{HEX}\n", HEX),
    (f"RTK:{HEX.upper()}", HEX),
    (f"https://tickets.example/t?tk={HEX}", HEX),
    (f"HTTPS://TICKETS.EXAMPLE/T?TK={HEX.upper()}", HEX),
    (f"http://localhost:3000/t?a=1&tk={HEX}&b=2#x", HEX),
    ("OldToken-Keeps_Case", "OldToken-Keeps_Case"),
    ("rtk:OldToken", "OldToken"),
]


@pytest.mark.parametrize(("payload", "token"), TOKENS)
def test_the_token_is_found_in_what_the_code_holds(payload: str, token: str) -> None:
    assert token_of(payload) == token


@pytest.mark.parametrize(
    "payload", ["", "  ", "rtk:", "https://tickets.example/", "https://x/?tk=", "a/b", "..", "x" * 1501]
)
def test_what_holds_no_token_is_an_error_and_has_a_stand_in(payload: str) -> None:
    with pytest.raises(ValueError, match="no ticket token"):
        token_of(payload)
    assert is_document_id(token_or_stand_in(payload))
