import re
from typing import Any

import pytest
from aiohttp import web
from pydantic import ConfigDict

from shared.app import create_app
from shared.docs import page
from shared.errors import Conflict
from shared.http import Routes
from shared.openapi import specification
from shared.schemas import CallerUid, DocumentId, Email, Model, Quantity
from tests.support.web import body_of, client_of, settings


class SoldOut(Conflict):
    code = "sold_out"


class Item(Model):
    product_id: DocumentId
    quantity: Quantity = 1


class Cart(Model):
    cart_items: list[Item]
    email: Email | None = None


class Refund(Model):
    reason: str
    note: str | None


class Receipt(Model):
    ok: bool = True
    items: list[Item]
    refund: Refund | None = None


class Feed(Model):
    user_id: CallerUid | None = None
    limit: int = 10


class Edit(Model):
    post_id: DocumentId
    text: str


def make_routes() -> Routes:
    routes = Routes()

    @routes.post("/orders", Cart, Receipt, refusals=[SoldOut], admin=True)
    async def order(_request: web.Request, cart: Cart) -> Receipt:
        """Takes an order <now>.

        Not part of the summary.
        """
        return Receipt(items=cart.cart_items)

    @routes.get("/feeds/{userId}", Feed, Receipt)
    async def feed(_request: web.Request, _feed: Feed) -> Receipt:
        return Receipt(items=[])

    @routes.patch("/posts/{postId:[a-z]+}", Edit, Receipt, summary="Edits.")
    async def edit(_request: web.Request, _edit: Edit) -> Receipt:
        return Receipt(items=[])

    @routes.raw("POST", "/webhook", proxy_key=False)
    async def webhook(_request: web.Request) -> web.Response:
        return web.Response()

    return routes


@pytest.fixture
def spec() -> dict[str, Any]:
    return specification("shop", "1", make_routes())


def test_every_reference_leads_somewhere(spec: dict[str, Any]) -> None:
    references = set(re.findall(r"#/components/schemas/([\w-]+)", str(spec)))
    assert references >= {"Cart", "Item", "Error"}
    assert references <= set(spec["components"]["schemas"])


def test_wire_names_and_required_fields_are_described(spec: dict[str, Any]) -> None:
    item = spec["components"]["schemas"]["Item"]
    assert set(item["properties"]) == {"productId", "quantity"}
    assert item["required"] == ["productId"]


def test_a_key_that_may_be_left_out_of_a_reply_is_not_promised(spec: dict[str, Any]) -> None:
    assert spec["components"]["schemas"]["Refund"]["required"] == ["reason"]


def test_the_curl_line_shows_the_models_own_example() -> None:
    class Scan(Model):
        model_config = ConfigDict(json_schema_extra={"examples": [{"token": "0123"}]})
        token: str | None = None

    routes = Routes()

    @routes.post("/scan", Scan, Refund)
    async def scan(_request: web.Request, _scan: Scan) -> Refund:
        return Refund(reason="", note=None)

    html = page(specification("door", "1", routes))
    assert "-d '{&#34;token&#34;: &#34;0123&#34;}'" in html


def test_security_follows_the_declaration(spec: dict[str, Any]) -> None:
    security = {path: next(iter(methods.values()))["security"] for path, methods in spec["paths"].items()}
    assert security == {
        "/orders": [{"proxyKey": [], "idToken": []}],
        "/feeds/{userId}": [{"proxyKey": []}],
        "/posts/{postId}": [{"proxyKey": []}],
        "/webhook": [{}],
    }


def test_the_refusals_of_a_route_are_listed_by_status(spec: dict[str, Any]) -> None:
    responses = spec["paths"]["/orders"]["post"]["responses"]
    described = {status: response["description"] for status, response in responses.items()}
    assert described == {
        "200": "Success",
        "400": "invalid_request, malformed_json",
        "401": "token_missing, token_invalid",
        "403": "invalid_proxy_key, not_admin",
        "409": "sold_out",
        "413": "too_large",
        "500": "internal",
    }


def test_get_models_become_parameters_that_cannot_be_null(spec: dict[str, Any]) -> None:
    operation = spec["paths"]["/feeds/{userId}"]["get"]
    found = [(p["name"], p["in"], p["required"], p["schema"]["type"]) for p in operation["parameters"]]
    assert found == [("userId", "path", True, "string"), ("limit", "query", False, "integer")]
    assert "requestBody" not in operation


def test_what_is_in_the_path_is_not_in_the_body(spec: dict[str, Any]) -> None:
    operation = spec["paths"]["/posts/{postId}"]["patch"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == {"text"}
    assert [p["name"] for p in operation["parameters"]] == ["postId"]


def test_the_summary_is_given_or_the_first_line_of_the_docstring(spec: dict[str, Any]) -> None:
    assert spec["paths"]["/orders"]["post"]["summary"] == "Takes an order <now>."
    assert spec["paths"]["/posts/{postId}"]["patch"]["summary"] == "Edits."


def test_the_page_names_every_route_escaped_and_loads_nothing_from_elsewhere(spec: dict[str, Any]) -> None:
    html = page(spec)
    for path in spec["paths"]:
        assert f"<code>{path}</code>" in html
    assert "Takes an order &lt;now&gt;." in html
    assert "sold_out" in html
    assert not re.search(r"(?:src|href)=.?(?:https?:)?//|<script|@import", html)


def test_what_is_said_of_a_field_is_set_apart() -> None:
    class Cart(Model):
        event: str
        quantity: Quantity = 1

    routes = Routes()

    @routes.post("/carts", Cart, Refund)
    async def cart(_request: web.Request, _cart: Cart) -> Refund:
        return Refund(reason="", note=None)

    text = re.sub(r"<[^>]+>", "", page(specification("shop", "1", routes)))
    assert "event string · required\n" in text
    assert (
        "quantity integer or string · default 1 · From 1 to MAX_TICKETS_PER_ITEM (default 20), or those digits.\n"
        in text
    )
    assert "reason string\n" in text, "an answer's keys are not asked for"


def test_the_page_of_a_service_without_routes_says_so() -> None:
    assert "no routes yet" in page(specification("social", "1", Routes()))


async def test_both_pages_are_served() -> None:
    async with client_of(create_app(settings(), make_routes(), service="shop")) as client:
        assert (await body_of(await client.get("/openapi.json"), 200))["openapi"] == "3.1.0"
        docs = await client.get("/docs")
        assert docs.content_type == "text/html"
        assert "default-src 'none'" in docs.headers["Content-Security-Policy"]
