"""Firebase ID tokens, verified with Google's public certificates.

The rules are those of https://firebase.google.com/docs/auth/admin/verify-id-tokens (third-party JWT library).
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509 import load_pem_x509_certificate

from shared.errors import Unauthorized, Unavailable

log = structlog.get_logger()

FETCH_TIMEOUT = aiohttp.ClientTimeout(total=5)
MIN_SECONDS_BETWEEN_FETCHES = 30.0
"""A made-up key id must not make us fetch again at every request."""

SECONDS_AFTER_A_FAILURE = 2.0
"""While Google is down, requests fail at once instead of queueing up behind one another's time-outs."""

CLOCK_SKEW_SECONDS = 10
MAX_UID_LENGTH = 128
MAX_AGE = re.compile(r"max-age=(\d+)")
REQUIRED_CLAIMS = ["exp", "iat", "aud", "iss", "sub", "auth_time"]


class TokenInvalid(Unauthorized):
    code = "token_invalid"


class TokenKeysUnavailable(Unavailable):
    code = "token_keys_unavailable"


@dataclass(frozen=True, slots=True)
class Caller:
    uid: str
    email: str | None
    admin: bool
    email_verified: bool = False

    @property
    def verified_email(self) -> str | None:
        """The address, where Firebase knows that it is the caller's."""
        return self.email if self.email_verified else None


class SigningKeys:
    """Google's certificates by key id, kept as long as their Cache-Control says; one fetch at a time."""

    def __init__(self, url: str, session: aiohttp.ClientSession, now: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._session = session
        self._now = now
        self._keys: Mapping[str, RSAPublicKey] = {}
        self._expires = 0.0
        self._next_fetch = 0.0
        self._fetching = asyncio.Lock()

    async def get(self, key_id: str) -> RSAPublicKey | None:
        if not self._has(key_id):
            async with self._fetching:
                await self._refresh()
        return self._keys.get(key_id)

    def _has(self, key_id: str) -> bool:
        return key_id in self._keys and self._now() < self._expires

    async def _refresh(self) -> None:
        """Fetches, unless that was done or failed a moment ago: by the one that this one waited for, above all."""
        fresh = self._now() < self._expires
        if self._now() < self._next_fetch:
            if fresh:
                return
            raise _unavailable()
        self._next_fetch = self._now() + (MIN_SECONDS_BETWEEN_FETCHES if fresh else SECONDS_AFTER_A_FAILURE)
        try:
            self._keys, lifetime = await self._fetch()
        except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError) as error:
            log.warning("token_keys_fetch_failed", error=type(error).__name__)
            raise _unavailable() from error
        self._next_fetch = self._now() + MIN_SECONDS_BETWEEN_FETCHES
        self._expires = self._now() + lifetime

    async def _fetch(self) -> tuple[Mapping[str, RSAPublicKey], float]:
        """The keys, and for how many seconds they may be kept."""
        async with self._session.get(self._url, timeout=FETCH_TIMEOUT, raise_for_status=True) as reply:
            certificates: dict[str, str] = await reply.json(content_type=None)
            age = MAX_AGE.search(reply.headers.get("Cache-Control", ""))
        keys = {key_id: _public_key(pem) for key_id, pem in certificates.items()}
        return keys, max(float(age[1]) if age else 0.0, MIN_SECONDS_BETWEEN_FETCHES)


def _unavailable() -> TokenKeysUnavailable:
    return TokenKeysUnavailable("Signing in cannot be checked right now. Please try again.")


def _public_key(pem: str) -> RSAPublicKey:
    key = load_pem_x509_certificate(pem.encode()).public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the certificate does not hold an RSA key")  # noqa: TRY004  bad data, not a bad call
    return key


class IdTokens:
    """Verifies the ID tokens of one Firebase project."""

    def __init__(self, keys: SigningKeys, project: str) -> None:
        self._keys = keys
        self._project = project

    async def verify(self, token: str) -> Caller:
        """Raises ``TokenInvalid`` (401), or ``TokenKeysUnavailable`` (503) when the certificates cannot be had."""
        try:
            key = await self._keys.get(_key_id(token))
            if key is None:
                raise jwt.InvalidKeyError("no certificate has the token's key id")
            return self._caller(self._claims(token, key))
        except jwt.PyJWTError as error:
            raise TokenInvalid("Please sign in again.", message=f"The ID token is not valid: {error}.") from None

    def _claims(self, token: str, key: RSAPublicKey) -> Mapping[str, object]:
        claims: Mapping[str, object] = jwt.decode(
            token,
            key,
            algorithms=["RS256"],
            audience=self._project,
            issuer=f"https://securetoken.google.com/{self._project}",
            leeway=CLOCK_SKEW_SECONDS,
            options={"require": REQUIRED_CLAIMS},
        )
        return claims

    def _caller(self, claims: Mapping[str, object]) -> Caller:
        uid, signed_in, email = claims["sub"], claims["auth_time"], claims.get("email")
        if not isinstance(uid, str) or not 0 < len(uid) <= MAX_UID_LENGTH:
            raise jwt.InvalidTokenError("sub is not a uid")
        if not isinstance(signed_in, int) or signed_in > time.time() + CLOCK_SKEW_SECONDS:
            raise jwt.ImmatureSignatureError("auth_time is not in the past")
        return Caller(
            uid,
            email if isinstance(email, str) else None,
            admin=claims.get("admin") is True,
            email_verified=claims.get("email_verified") is True,
        )


def _key_id(token: str) -> str:
    if not token.isascii():  # PyJWT lets the error of encoding it through
        raise jwt.DecodeError("it is not base64")
    header = jwt.get_unverified_header(token)
    key_id = header.get("kid")
    if header.get("alg") != "RS256" or not isinstance(key_id, str):
        raise jwt.InvalidAlgorithmError("it must be signed with RS256 and name its key")
    return key_id
