import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient

from shared.app import create_app
from shared.auth import is_admin
from shared.http import Routes
from shared.id_tokens import SigningKeys, TokenKeysUnavailable
from shared.schemas import CallerUid, DocumentId, Model
from tests.support.id_tokens import PROJECT, Certificates, Signer, published
from tests.support.web import KEY, body_of, client_of, settings

Client = TestClient[web.Request, web.Application]
SIGNER = Signer("k1")
STRANGER = Signer("k1")


class Own(Model):
    user_id: CallerUid | None = None
    recipient_id: DocumentId | None = None


class Done(Model):
    ok: bool = True


class Who(Model):
    admin: bool


def make_routes() -> Routes:
    routes = Routes()

    @routes.post("/own", Own, Done)
    async def own(_request: web.Request, _own: Own) -> Done:
        return Done()

    @routes.post("/admin", None, Done, admin=True)
    async def admin(_request: web.Request) -> Done:
        return Done()

    @routes.post("/who", None, Who)
    async def who(request: web.Request) -> Who:
        return Who(admin=await is_admin(request))

    @routes.raw("POST", "/admin-raw", admin=True)
    async def admin_raw(_request: web.Request) -> web.Response:
        return web.Response()

    @routes.raw("POST", "/webhook", proxy_key=False)
    async def webhook(_request: web.Request) -> web.Response:
        return web.Response()

    return routes


async def in_admin_users(_app: web.Application, uid: str) -> bool:
    return uid == "listed"


@pytest.fixture
async def certificates() -> AsyncIterator[Certificates]:
    async with published(SIGNER) as certificates:
        yield certificates


@pytest.fixture
async def client(certificates: Certificates) -> AsyncIterator[Client]:
    app = create_app(
        settings(id_token_certs_url=certificates.url), make_routes(), service="test", is_admin_uid=in_admin_users
    )
    async with client_of(app) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {**KEY, "Authorization": f"Bearer {token}"}


@pytest.mark.parametrize("key", [None, "", "wrong", "first,second", "first ", "firs", "première", "\udcff"])
async def test_without_a_right_proxy_key_every_route_is_403(client: Client, key: str | None) -> None:
    headers = {} if key is None else {"x-proxy-key": key.strip() + ("x" if key.endswith(" ") else "")}
    for path in ("/own", "/admin", "/who", "/nothing-here"):
        reply = await client.post(path, json={}, headers=headers)
        assert (await body_of(reply, 403))["code"] == "invalid_proxy_key"
    assert (await client.get("/own", headers=headers)).status == 403


async def test_every_key_of_the_list_is_accepted(client: Client) -> None:
    for key in ("first", "second"):
        await body_of(await client.post("/own", json={}, headers={"x-proxy-key": key}), 200)


async def test_probes_documentation_and_opted_out_routes_are_open(client: Client) -> None:
    for path in ("/health", "/ready", "/metrics", "/openapi.json", "/docs"):
        assert (await client.get(path)).status == 200
    assert (await client.post("/webhook")).status == 200


async def test_consent_to_no_proxy_key_opens_the_routes() -> None:
    app = create_app(settings(proxy_key=None, allow_no_proxy_key=True), make_routes(), service="test")
    async with client_of(app) as client:
        await body_of(await client.post("/own", json={}), 200)


async def test_the_admin_claim_or_a_listed_uid_makes_an_admin(client: Client) -> None:
    for token in (SIGNER.token(admin=True), SIGNER.token("listed")):
        await body_of(await client.post("/admin", headers=bearer(token)), 200)
        assert (await client.post("/admin-raw", headers=bearer(token))).status == 200


@pytest.mark.parametrize("admin", [False, None, "true", 1])
async def test_nothing_else_makes_an_admin(client: Client, admin: object) -> None:
    for path in ("/admin", "/admin-raw"):
        reply = await client.post(path, headers=bearer(SIGNER.token(admin=admin)))
        assert (await body_of(reply, 403))["code"] == "not_admin"


async def test_an_admin_route_without_a_token_is_401(client: Client) -> None:
    assert (await body_of(await client.post("/admin", headers=KEY), 401))["code"] == "token_missing"


async def test_where_the_proxy_is_trusted_the_key_alone_makes_an_admin() -> None:
    async with client_of(create_app(settings(admin_auth="proxy"), make_routes(), service="test")) as client:
        await body_of(await client.post("/admin", headers=KEY), 200)
        await body_of(await client.post("/admin"), 403)


async def test_a_handler_may_ask_whether_an_admin_calls(client: Client) -> None:
    assert await body_of(await client.post("/who", headers=KEY), 200) == {"admin": False}
    reply = await client.post("/who", headers=bearer(SIGNER.token(admin=True)))
    assert await body_of(reply, 200) == {"admin": True}


NOW = int(time.time())
BAD_CLAIMS: list[dict[str, Any]] = [
    {"exp": NOW - 60},
    {"iat": NOW + 600},
    {"auth_time": NOW + 600},
    {"auth_time": "yesterday"},
    {"aud": "other-project"},
    {"iss": f"https://securetoken.google.com/other-{PROJECT}"},
    {"sub": ""},
    {"sub": "x" * 129},
    *({"without": name} for name in ("exp", "iat", "aud", "iss", "sub", "auth_time")),
]


@pytest.mark.parametrize("claims", BAD_CLAIMS, ids=str)
async def test_a_token_with_a_wrong_or_missing_claim_is_401(client: Client, claims: dict[str, Any]) -> None:
    reply = await client.post("/admin", headers=bearer(SIGNER.token(**{"admin": True, **claims})))
    assert (await body_of(reply, 401))["code"] == "token_invalid"


async def test_a_token_not_signed_by_a_published_key_is_401(client: Client) -> None:
    claims = {"sub": "u1", "admin": True}
    forged = [
        STRANGER.token(admin=True),
        Signer("k2").token(admin=True),
        jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"}),
        jwt.encode(claims, "k" * 32, algorithm="HS256", headers={"kid": "k1"}),
        jwt.encode(claims, SIGNER.key, algorithm="RS256"),
        "not.a.token",
        "",
    ]
    for token in forged:
        reply = await client.post("/admin", headers=bearer(token))
        assert (await body_of(reply, 401))["code"] == "token_invalid"
    reply = await client.post("/admin", headers={**KEY, "Authorization": "Basic YTpi"})
    assert (await body_of(reply, 401))["code"] == "token_invalid"


async def test_a_token_of_bytes_that_are_no_text_is_401(client: Client) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"POST /who HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx-proxy-key: first\r\n")
    writer.write(b"Authorization: Bearer \xff.\xff.\xff\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"code":"token_invalid"' in answer


async def test_the_uid_in_the_body_must_be_the_tokens(client: Client) -> None:
    mine = bearer(SIGNER.token("u1"))
    await body_of(await client.post("/own", json={"userId": "u1", "recipientId": "u2"}, headers=mine), 200)
    await body_of(await client.post("/own", json={}, headers=mine), 200)
    reply = await client.post("/own", json={"userId": "u2"}, headers=mine)
    assert (await body_of(reply, 403))["code"] == "uid_mismatch"


async def test_without_a_token_the_uid_in_the_body_stands(client: Client) -> None:
    await body_of(await client.post("/own", json={"userId": "u2"}, headers=KEY), 200)


async def test_a_bad_token_is_refused_also_where_none_is_needed(client: Client) -> None:
    reply = await client.post("/own", json={"userId": "u1"}, headers=bearer(STRANGER.token("u1")))
    assert (await body_of(reply, 401))["code"] == "token_invalid"


async def test_concurrent_first_requests_fetch_the_certificates_once(
    client: Client, certificates: Certificates
) -> None:
    token = bearer(SIGNER.token(admin=True))
    replies = await asyncio.gather(*(client.post("/admin", headers=token) for _ in range(20)))
    assert {reply.status for reply in replies} == {200}
    assert certificates.fetches == 1


async def test_made_up_key_ids_do_not_make_us_fetch_again_and_again(client: Client, certificates: Certificates) -> None:
    for number in range(5):
        token = jwt.encode({"sub": "u"}, SIGNER.key, algorithm="RS256", headers={"kid": f"made-up-{number}"})
        await body_of(await client.post("/admin", headers=bearer(token)), 401)
    assert certificates.fetches == 1


async def test_when_the_certificates_cannot_be_had_the_answer_is_503(
    client: Client, certificates: Certificates
) -> None:
    certificates.status = 500
    reply = await client.post("/admin", headers=bearer(SIGNER.token(admin=True)))
    assert (await body_of(reply, 503))["code"] == "token_keys_unavailable"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def test_certificates_are_fetched_again_when_they_expire_and_for_a_rotated_key(
    certificates: Certificates,
) -> None:
    clock, certificates.max_age = Clock(), 600
    async with ClientSession() as session:
        keys = SigningKeys(certificates.url, session, clock)
        assert await keys.get("k1")
        certificates.signers = [SIGNER, Signer("k2")]
        clock.now += 31
        assert await keys.get("k2")
        certificates.signers = [Signer("k3")]
        clock.now += 599
        assert await keys.get("k1")
        clock.now += 2
        assert await keys.get("k1") is None
        assert certificates.fetches == 3


async def test_while_the_certificates_cannot_be_had_requests_fail_at_once_and_soon_try_again(
    certificates: Certificates,
) -> None:
    clock, certificates.status = Clock(), 500
    async with ClientSession() as session:
        keys = SigningKeys(certificates.url, session, clock)
        answers = await asyncio.gather(*(keys.get("k1") for _ in range(20)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {TokenKeysUnavailable}
        assert certificates.fetches == 1
        certificates.status = 200
        clock.now += 3
        assert await keys.get("k1")
