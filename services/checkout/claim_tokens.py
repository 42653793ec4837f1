"""Claim tokens: 192 bits that are nowhere but in the recipient's mail; the database has their SHA-256 hash.

A token follows from its transfer's id and a secret of the server's, so the job that mails it can write it again after
a crash without its ever having been stored.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Final

from services.checkout.settings import CheckoutSettings

_BYTES: Final = 24
_LABEL: Final = b"claim-token:"


class ClaimTokens:
    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @classmethod
    def of(cls, settings: CheckoutSettings) -> "ClaimTokens":
        """Without a configured secret, of one that ends with the process: then a mail that another process takes over
        brings a token of its own (``claims.Reissue``).
        """
        configured = settings.claim_token_secret
        return cls(configured.get_secret_value().encode() if configured else secrets.token_bytes(32))

    def token(self, transfer_id: str) -> str:
        mac = hmac.digest(self._secret, _LABEL + transfer_id.encode(), "sha256")
        return base64.urlsafe_b64encode(mac[:_BYTES]).decode()

    def hash(self, transfer_id: str) -> str:
        """What is stored of the token."""
        return hash_of(self.token(transfer_id))


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
