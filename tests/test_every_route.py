"""What holds for every route of every service, read from the services themselves."""

import io
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from deploy.local.firestore.server import EmbeddedFirestore
from services.checkout.app import create_app as checkout_app
from services.checkout.handlers import routes as checkout_routes
from services.checkout.settings import CheckoutSettings
from services.scanning.app import create_app as scanning_app
from services.scanning.handlers import routes as scanning_routes
from services.scanning.settings import ScanningSettings
from services.social.app import create_app as social_app
from services.social.handlers import routes as social_routes
from shared.config import Settings
from shared.firestore.client import Database
from tests.support.services import Service, serving
from tests.support.shop import collections

SERVICES = {"checkout": checkout_routes, "scanning": scanning_routes, "social": social_routes}
OPEN = {"/health", "/ready", "/metrics", "/openapi.json", "/docs", "/stripe/webhook"}
ROUTES = [(service, route) for service, routes in SERVICES.items() for route in routes]
GUARDED = [
    pytest.param(service, route.method, route.path, id=f"{route.method} {route.path}")
    for service, route in ROUTES
    if route.path not in OPEN
]
KEYS = ("the-old-key", "the-new-key")


@pytest.fixture
async def services(
    checkout_settings: CheckoutSettings, firestore: EmbeddedFirestore
) -> AsyncIterator[dict[str, Service]]:
    """All three services, accepting two keys."""
    both = {"proxy_key": SecretStr(", ".join(KEYS)), "admin_auth": "proxy", "google_cloud_project": "demo-test"}
    apps: dict[str, Callable[[], web.Application]] = {
        "checkout": lambda: checkout_app(checkout_settings.model_copy(update=both)),
        "scanning": lambda: scanning_app(ScanningSettings.model_validate(both)),
        "social": lambda: social_app(Settings.model_validate(both)),
    }
    async with (
        serving(apps["checkout"]()) as one,
        serving(apps["scanning"]()) as two,
        serving(apps["social"]()) as three,
    ):
        yield {"checkout": one, "scanning": two, "social": three}


def filled(path: str) -> str:
    """A route's path with something in its parameters."""
    return path.replace("{", "x").replace("}", "")


@pytest.mark.parametrize(("service", "method", "path"), GUARDED)
async def test_a_route_answers_403_without_the_proxy_key(
    services: dict[str, Service], service: str, method: str, path: str
) -> None:
    for wrong in ("", "wrong", "the-old-key, the-new-key", KEYS[0] + "x"):
        refused = await services[service].request(method, filled(path), headers={"x-proxy-key": wrong})
        assert (refused.status, refused.code) == (403, "invalid_proxy_key")
    url = services[service].url + filled(path)
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        assert response.status == 403


@pytest.mark.parametrize(("service", "method", "path"), GUARDED)
async def test_both_keys_of_a_rotation_are_accepted(
    services: dict[str, Service], service: str, method: str, path: str
) -> None:
    for key in KEYS:
        reply = await services[service].request(method, filled(path), headers={"x-proxy-key": key}, data=b"{")
        assert reply.status != 403


BODIES = [param for param in GUARDED if param.values[1] in {"POST", "PUT", "PATCH"}]


@pytest.mark.parametrize(("service", "method", "path"), BODIES)
@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{", 400, id="not JSON"),
        pytest.param(b"\xff\xfe", 400, id="not text"),
        pytest.param(b"[]", 400, id="a list"),
        pytest.param(b'"text"', 400, id="a text"),
        pytest.param(b"null", 400, id="null"),
        pytest.param(b'{"a": "' + b"x" * (2 << 20) + b'"}', 413, id="2 MB"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused_and_nothing_is_written(
    services: dict[str, Service],
    database: Database,
    service: str,
    method: str,
    path: str,
    body: bytes,
    status: int,
) -> None:
    headers = {"x-proxy-key": KEYS[0], "content-type": "application/json"}
    refused = await services[service].request(method, filled(path), headers=headers, data=io.BytesIO(body))
    assert refused.status == status
    assert {"error", "code", "message"} <= set(refused.body)
    assert await collections(database) == set()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_path_that_is_not_there_is_404_in_the_envelope(services: dict[str, Service], service: str) -> None:
    missing = await services[service].get("/nothing/here", headers={"x-proxy-key": KEYS[1]})
    assert (missing.status, missing.code) == (404, "not_found")


@pytest.mark.parametrize("service", SERVICES)
async def test_probes_and_documentation_need_no_key(services: dict[str, Service], service: str) -> None:
    for path in ("/health", "/ready", "/metrics", "/openapi.json", "/docs"):
        assert (await services[service].get(path, headers={"x-proxy-key": ""})).status == 200
