"""What holds for every route of every service, read from the services themselves."""

import io
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr

from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.routing import service_of
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
from shared.http import Route
from tests.support.services import Service, serving
from tests.support.shop import collections

ROUTES = {"checkout": checkout_routes, "scanning": scanning_routes, "social": social_routes}
OPEN = {"/stripe/webhook"}
"""Besides the probes and the documentation."""
KEYS = ("the-old-key", "the-new-key")


def app_of(name: str, settings: CheckoutSettings) -> web.Application:
    both = {"proxy_key": SecretStr(", ".join(KEYS)), "admin_auth": "proxy", "google_cloud_project": "demo-test"}
    match name:
        case "checkout":
            return checkout_app(settings.model_copy(update=both))
        case "scanning":
            return scanning_app(ScanningSettings.model_validate(both))
        case _:
            return social_app(Settings.model_validate(both))


@pytest.fixture(params=ROUTES)
def name(request: pytest.FixtureRequest) -> str:
    service: str = request.param
    return service


@pytest.fixture
async def service(
    name: str, checkout_settings: CheckoutSettings, firestore: EmbeddedFirestore
) -> AsyncIterator[Service]:
    """One of the services, accepting two keys."""
    async with serving(app_of(name, checkout_settings)) as service:
        yield service


def filled(route: Route) -> str:
    """A route's path with something in its parameters."""
    return route.path.replace("{", "x").replace("}", "")


def guarded(name: str) -> list[Route]:
    return [route for route in ROUTES[name] if route.path not in OPEN]


async def test_every_route_answers_403_without_the_proxy_key(name: str, service: Service) -> None:
    for route in guarded(name):
        for wrong in ("", "wrong", "the-old-key, the-new-key", KEYS[0] + "x"):
            refused = await service.request(route.method, filled(route), headers={"x-proxy-key": wrong})
            assert (refused.status, refused.code) == (403, "invalid_proxy_key"), route.path
        url = service.url + filled(route)
        async with aiohttp.ClientSession() as session, session.request(route.method, url) as response:
            assert response.status == 403, route.path


async def test_both_keys_of_a_rotation_are_accepted_everywhere(name: str, service: Service) -> None:
    for route in guarded(name):
        for key in KEYS:
            reply = await service.request(route.method, filled(route), headers={"x-proxy-key": key}, data=b"{")
            assert reply.status != 403, route.path


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"{", 400, id="not JSON"),
        pytest.param(b"\xff\xfe", 400, id="not text"),
        pytest.param(b"[]", 400, id="a list"),
        pytest.param(b'"text"', 400, id="a text"),
        pytest.param(b"null", 400, id="null"),
        pytest.param(b"[" * 100_000, 400, id="deep"),
        pytest.param(b'{"a": "' + b"x" * (2 << 20) + b'"}', 413, id="2 MB"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused_and_nothing_is_written(
    name: str, service: Service, database: Database, body: bytes, status: int
) -> None:
    headers = {"x-proxy-key": KEYS[0], "content-type": "application/json"}
    for route in guarded(name):
        if route.method in {"POST", "PUT", "PATCH"} and route.body is not None:
            refused = await service.request(route.method, filled(route), headers=headers, data=io.BytesIO(body))
            assert refused.status == status, route.path
            assert {"error", "code", "message"} <= set(refused.body)
    assert await collections(database) == set()


async def test_a_path_that_is_not_there_is_404_in_the_envelope(service: Service) -> None:
    missing = await service.get("/nothing/here", headers={"x-proxy-key": KEYS[1]})
    assert (missing.status, missing.code) == (404, "not_found")


async def test_probes_and_documentation_need_no_key(service: Service) -> None:
    for path in ("/health", "/ready", "/metrics", "/openapi.json", "/docs"):
        assert (await service.get(path, headers={"x-proxy-key": ""})).status == 200


def test_the_gateway_leads_every_route_to_its_service() -> None:
    for name, routes in ROUTES.items():
        for route in routes:
            assert service_of(route.path) == name, f"deploy/local/routing.py does not know {route.path}"
