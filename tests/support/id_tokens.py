"""A Firebase project of our own: signing keys, ID tokens, and the address that publishes the certificates."""

import datetime as dt
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

PROJECT = "demo-local"

SignIn = Callable[..., dict[str, str]]
"""From a uid and claims to the headers of somebody who is signed in."""


class Signer:
    """One signing key with its certificate."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "securetoken")])
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            issuer_name=name,
            subject_name=name,
            public_key=self.key.public_key(),
            serial_number=1,
            not_valid_before=now,
            not_valid_after=now + dt.timedelta(days=1),
        )
        self.certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def token(self, uid: str = "u1", *, without: str = "", **claims: Any) -> str:
        """An ID token as Firebase issues it, with claims replaced, added or left out."""
        now = int(time.time())
        payload = {
            "iss": f"https://securetoken.google.com/{PROJECT}",
            "aud": PROJECT,
            "sub": uid,
            "iat": now,
            "exp": now + 3600,
            "auth_time": now - 60,
            "email": "person@example.com",
        }
        kept = {name: value for name, value in {**payload, **claims}.items() if name != without}
        return jwt.encode(kept, self.key, algorithm="RS256", headers={"kid": self.key_id})


class Certificates:
    """Publishes the certificates of ``signers`` and counts the fetches."""

    def __init__(self, *signers: Signer) -> None:
        self.signers = list(signers)
        self.fetches = 0
        self.max_age = 3600
        self.status = 200
        self.url = ""

    async def answer(self, _request: web.Request) -> web.Response:
        self.fetches += 1
        body = {signer.key_id: signer.certificate for signer in self.signers}
        cache = {"Cache-Control": f"public, max-age={self.max_age}, must-revalidate"}
        return web.json_response(body, status=self.status, headers=cache)


@asynccontextmanager
async def published(*signers: Signer) -> AsyncIterator[Certificates]:
    certificates = Certificates(*signers)
    app = web.Application()
    app.router.add_get("/certs", certificates.answer)
    async with TestServer(app) as server:
        certificates.url = str(server.make_url("/certs"))
        yield certificates
