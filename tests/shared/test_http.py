import asyncio
import io
import json
from collections.abc import AsyncIterator
from typing import Any, Self

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient
from pydantic import model_validator

from shared.app import create_app
from shared.errors import BadRequest, Conflict, TooManyRequests
from shared.http import Routes
from shared.schemas import DocumentId, Email, Model, Quantity, Text
from tests.support.web import KEY, body_of, client_of, settings

Client = TestClient[web.Request, web.Application]
SECRET = "4f6c0d7e-internal-detail"


class EmptyCart(BadRequest):
    code = "empty_cart"


class Item(Model):
    product_id: DocumentId
    quantity: Quantity = 1


class Order(Model):
    email: Email
    cart_items: tuple[Item, ...] = ()
    is_guest: bool = False
    note: Text = ""

    @model_validator(mode="after")
    def _has_items(self) -> Self:
        if not self.cart_items:
            raise EmptyCart("Your cart is empty.")
        return self


class Receipt(Model):
    ok: bool = True
    tickets: int
    note: str | None = None


class Page(Model):
    user_id: DocumentId
    limit: int = 10
    cursor: str | None = None


def make_routes() -> Routes:
    routes = Routes()

    @routes.post("/orders", Order, Receipt)
    async def order(_request: web.Request, order: Order) -> Receipt:
        return Receipt(tickets=sum(item.quantity for item in order.cart_items), note=order.note or None)

    @routes.get("/feeds/{userId}", Page, Receipt)
    async def feed(_request: web.Request, page: Page) -> Receipt:
        return Receipt(tickets=page.limit, note=page.user_id)

    @routes.put("/pages/{userId}", Page, Receipt)
    async def put_page(_request: web.Request, page: Page) -> Receipt:
        return Receipt(tickets=page.limit, note=page.user_id)

    @routes.post("/refuse", None, Receipt)
    async def refuse(_request: web.Request) -> Receipt:
        raise Conflict("Sold out.", code="sold_out", fields={"available": 0})

    @routes.post("/slow-down", None, Receipt)
    async def slow_down(_request: web.Request) -> Receipt:
        raise TooManyRequests("Too many requests.", retry_after=7)

    @routes.post("/fail", None, Receipt)
    async def fail(_request: web.Request) -> Receipt:
        raise KeyError(SECRET)

    @routes.raw("POST", "/webhook", proxy_key=False)
    async def webhook(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    return routes


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with client_of(create_app(settings(), make_routes(), service="test")) as client:
        yield client


def order(**fields: Any) -> dict[str, Any]:
    return {"email": "a@example.com", "cartItems": [{"productId": "e1", "quantity": 2}], **fields}


async def test_a_model_comes_in_and_a_model_goes_out(client: Client) -> None:
    reply = await client.post("/orders", json=order(note="  hello  "), headers=KEY)
    assert await body_of(reply, 200) == {"ok": True, "tickets": 2, "note": "hello"}


async def test_keys_that_are_not_set_are_left_out_of_the_reply(client: Client) -> None:
    reply = await client.post("/orders", json=order(), headers=KEY)
    assert "note" not in await body_of(reply, 200)


async def test_unknown_fields_are_ignored(client: Client) -> None:
    reply = await client.post("/orders", json=order(addedLater={"deep": [1]}), headers=KEY)
    await body_of(reply, 200)


async def test_python_names_are_not_accepted_on_the_wire(client: Client) -> None:
    reply = await client.post(
        "/orders", json={"email": "a@example.com", "cart_items": [{"productId": "e"}]}, headers=KEY
    )
    assert (await body_of(reply, 400))["code"] == "empty_cart"


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"email": 5}, "email", "email must be a valid string."),
        ({"email": "nobody"}, "email", "email is not an email address."),
        ({"isGuest": "true"}, "isGuest", "isGuest must be a valid boolean."),
        ({"cartItems": {"productId": "e1"}}, "cartItems", "cartItems must be a valid array."),
        ({"cartItems": [{}]}, "cartItems[0].productId", "cartItems[0].productId is missing."),
        (
            {"cartItems": [{"productId": "e"}, {"productId": "e", "quantity": 2.0}]},
            "cartItems[1].quantity",
            "cartItems[1].quantity must be a whole number.",
        ),
    ],
)
async def test_a_wrong_type_is_refused_and_the_field_named(
    client: Client, fields: dict[str, Any], field: str, sentence: str
) -> None:
    body = await body_of(await client.post("/orders", json=order(**fields), headers=KEY), 400)
    assert (body["code"], body["field"], body["error"]) == ("invalid_request", field, sentence)


async def test_every_problem_is_in_the_message(client: Client) -> None:
    body = await body_of(await client.post("/orders", json=order(email=1, isGuest=2), headers=KEY), 400)
    assert body["message"] == "email must be a valid string; isGuest must be a valid boolean."


async def test_without_further_detail_the_message_is_the_error(client: Client) -> None:
    body = await body_of(await client.post("/orders", json=order(email=1), headers=KEY), 400)
    assert body["message"] == body["error"]


async def test_what_was_sent_is_not_repeated(client: Client) -> None:
    reply = await client.post("/orders", json=order(email=f"{SECRET} "), headers=KEY)
    assert SECRET not in json.dumps(await body_of(reply, 400))


@pytest.mark.parametrize("body", [b"{", b'{"a": 1,}', b"\xff", b'{"a": NaN', b'"\\ud800"', b"[" * 5000])
async def test_malformed_json_is_refused(client: Client, body: bytes) -> None:
    for send in (client.post("/orders", data=body, headers=KEY), client.put("/pages/u", data=body, headers=KEY)):
        assert (await body_of(await send, 400))["code"] == "malformed_json"


@pytest.mark.parametrize("body", [b'{"a": NaN}', b'{"a": -Infinity}'])
async def test_numbers_that_json_does_not_have_are_malformed(client: Client, body: bytes) -> None:
    reply = await client.put("/pages/u", data=body, headers=KEY)
    assert (await body_of(reply, 400))["code"] == "malformed_json"


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"text"'])
async def test_json_that_is_no_object_is_refused(client: Client, body: bytes) -> None:
    for send in (client.post("/orders", data=body, headers=KEY), client.put("/pages/u", data=body, headers=KEY)):
        assert (await body_of(await send, 400))["error"] == "The body must be a JSON object."


async def test_an_empty_body_misses_its_fields(client: Client) -> None:
    body = await body_of(await client.post("/orders", headers=KEY), 400)
    assert body["error"] == "email is missing."


async def test_a_body_over_the_limit_is_413(client: Client) -> None:
    for path in ("/orders", "/webhook"):
        reply = await client.post(path, data=io.BytesIO(b" " * 2_000_000), headers=KEY)
        assert (await body_of(reply, 413))["code"] == "too_large"


async def test_a_body_of_exactly_the_limit_is_read(client: Client) -> None:
    text = json.dumps(order()).encode()
    reply = await client.post("/orders", data=io.BytesIO(text + b" " * (1024 * 1024 - len(text))), headers=KEY)
    await body_of(reply, 200)


async def test_a_model_may_refuse_with_a_code_of_its_own(client: Client) -> None:
    body = await body_of(await client.post("/orders", json=order(cartItems=[]), headers=KEY), 400)
    assert body == {"error": "Your cart is empty.", "code": "empty_cart", "message": "Your cart is empty."}


async def test_get_models_are_read_from_the_path_and_the_query(client: Client) -> None:
    reply = await client.get("/feeds/u1?limit=5&unknown=1", headers=KEY)
    assert await body_of(reply, 200) == {"ok": True, "tickets": 5, "note": "u1"}
    body = await body_of(await client.get("/feeds/u1?limit=many", headers=KEY), 400)
    assert body["field"] == "limit"


async def test_the_path_wins_over_query_and_body(client: Client) -> None:
    for send in (
        client.get("/feeds/u1?userId=u2", headers=KEY),
        client.put("/pages/u1", json={"userId": "u2"}, headers=KEY),
        client.put("/pages/u1", headers=KEY),
    ):
        assert (await body_of(await send, 200))["note"] == "u1"


@pytest.mark.parametrize("path", ["/feeds/a%2Fb", "/feeds/__x__"])
async def test_an_id_in_the_path_must_be_one_document_id(client: Client, path: str) -> None:
    assert (await body_of(await client.get(path, headers=KEY), 400))["field"] == "userId"


async def test_a_refusal_keeps_its_status_fields_and_headers(client: Client) -> None:
    sold_out = await client.post("/refuse", headers=KEY)
    assert await body_of(sold_out, 409) == {
        "error": "Sold out.",
        "code": "sold_out",
        "message": "Sold out.",
        "available": 0,
    }
    slow_down = await client.post("/slow-down", headers=KEY)
    assert (await body_of(slow_down, 429))["code"] == "rate_limited"
    assert slow_down.headers["Retry-After"] == "7"


async def test_an_unforeseen_error_is_opaque_to_the_client_and_whole_in_the_log(client: Client) -> None:
    with structlog.testing.capture_logs() as logged:
        reply = await client.post("/fail", headers=KEY)
    body = await body_of(reply, 500)
    assert body["code"] == "internal"
    assert SECRET not in json.dumps(body)
    assert reply.headers["x-request-id"] in body["message"]
    assert any(line["event"] == "request_failed" and line["exc_info"] for line in logged)


async def test_an_unknown_path_and_a_wrong_method_are_in_the_envelope(client: Client) -> None:
    assert (await body_of(await client.post("/nothing", headers=KEY), 404))["code"] == "not_found"
    wrong = await client.get("/orders", headers=KEY)
    assert (await body_of(wrong, 405))["code"] == "method_not_allowed"
    assert wrong.headers["Allow"] == "POST"


async def test_a_request_id_is_accepted_or_made_and_is_in_every_reply(client: Client) -> None:
    for path in ("/orders", "/nothing", "/fail", "/webhook"):
        given = await client.post(path, headers={**KEY, "x-request-id": "abc-1"})
        assert given.headers["x-request-id"] == "abc-1"
        made = await client.post(path, headers=KEY)
        assert len(made.headers["x-request-id"]) == 36
    odd = await client.post("/orders", headers={**KEY, "x-request-id": "a b" + "c" * 200})
    assert len(odd.headers["x-request-id"]) == 36


async def test_the_access_log_has_the_template_and_neither_path_nor_query(client: Client) -> None:
    with structlog.testing.capture_logs() as logged:
        await client.get("/feeds/person-1?t=secret", headers=KEY)
    line = next(line for line in logged if line["event"] == "request")
    assert (line["method"], line["route"], line["status"]) == ("GET", "/feeds/{userId}", 200)
    assert "person-1" not in str(logged)
    assert "secret" not in str(logged)


async def test_requests_are_measured_by_route_template_and_never_by_what_the_client_chose(client: Client) -> None:
    await client.get("/feeds/person-1", headers=KEY)
    await client.request("PROPFIND", "/coffee-pot", headers=KEY)
    text = await (await client.get("/metrics")).text()
    assert 'http_requests_total{method="GET",route="/feeds/{userId}",status="200"} 1.0' in text
    assert 'http_requests_total{method="other",route="unmatched",status="404"} 1.0' in text
    assert "person-1" not in text
    assert "coffee-pot" not in text


async def test_an_expectation_we_do_not_know_does_not_come_before_the_key(client: Client) -> None:
    odd = {"Expect": "a-miracle"}
    assert (await body_of(await client.post("/orders", json=order(), headers=odd), 403))["code"] == "invalid_proxy_key"
    await body_of(await client.post("/orders", json=order(), headers={**KEY, **odd}), 200)
    assert (await client.get("/health", headers=odd)).status == 200


async def test_a_client_that_asks_before_it_sends_the_body_is_told_to_go_on(client: Client) -> None:
    async with asyncio.timeout(5):  # it waits until it is told
        reply = await client.post("/orders", json=order(), headers=KEY, expect100=True)
    assert await body_of(reply, 200) == {"ok": True, "tickets": 2}


async def test_a_raw_route_sees_the_exact_bytes(client: Client) -> None:
    reply = await client.post("/webhook", data=b' {"a" : 1}\n')
    assert await reply.read() == b' {"a" : 1}\n'
