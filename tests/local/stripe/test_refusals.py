import httpx
import pytest
import stripe

from deploy.local.stripe import StripeSimulator
from tests.support.stripe_clients import stripe_client

KEY = {"Authorization": "Bearer sk_test_x"}
CREATE = {"amount": "1200", "currency": "usd"}


async def post(simulator: StripeSimulator, path: str, form: dict[str, str]) -> httpx.Response:
    async with httpx.AsyncClient(base_url=simulator.url, headers=KEY) as http:
        return await http.post(path, data=form)


@pytest.mark.parametrize("key", ["sk_live_secret", "pk_test_browser", "nonsense"])
async def test_only_test_keys_are_let_in(simulator: StripeSimulator, key: str) -> None:
    async with stripe_client(simulator.url, key=key) as client:
        with pytest.raises(stripe.AuthenticationError, match="Invalid API Key") as refused:
            await client.v1.customers.list_async()
    assert key not in str(refused.value)


async def test_a_missing_key_is_401_and_basic_authentication_works(simulator: StripeSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.url) as http:
        assert (await http.get("/v1/customers")).status_code == 401
        assert (await http.get("/v1/customers", auth=("sk_test_x", ""))).status_code == 200


async def test_health_and_readiness_need_no_key(simulator: StripeSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.url) as http:
        assert [(await http.get(path)).status_code for path in ("/health", "/ready")] == [200, 200]


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ({"amount": "1200"}, "parameter_missing", "currency"),
        ({**CREATE, "colour": "red"}, "parameter_unknown", "colour"),
        ({**CREATE, "capture_method": "manual"}, "parameter_unknown", "capture_method"),
        ({**CREATE, "automatic_payment_methods[on]": "true"}, "parameter_unknown", "automatic_payment_methods[on]"),
        ({**CREATE, "amount": "12.5"}, "parameter_invalid_integer", "amount"),
        ({**CREATE, "amount": "0"}, "parameter_invalid_integer", "amount"),
        ({**CREATE, "amount": "1"}, "amount_too_small", "amount"),
        ({**CREATE, "currency": ""}, "parameter_invalid_empty", "currency"),
        ({**CREATE, "currency": "zzz"}, None, "currency"),
        ({**CREATE, "customer": "cus_nobody"}, "resource_missing", "customer"),
        ({**CREATE, "payment_method": "pm_card_imaginary"}, "resource_missing", "payment_method"),
        ({**CREATE, "receipt_email": "nowhere"}, "email_invalid", "receipt_email"),
        ({**CREATE, "metadata[k]": "v" * 501}, None, "metadata"),
        ({**CREATE, "confirm": "yes"}, None, "confirm"),
        ({**CREATE, "amount[x]": "1"}, None, "amount[x]"),
        ({**CREATE, "a]b": "1"}, None, "a]b"),
    ],
)
async def test_a_wrong_parameter_is_named(
    simulator: StripeSimulator, form: dict[str, str], code: str | None, param: str
) -> None:
    reply = await post(simulator, "/v1/payment_intents", form)
    error = reply.json()["error"]
    assert 400 <= reply.status_code < 500
    assert (error["type"], error.get("code"), error["param"]) == ("invalid_request_error", code, param)
    assert simulator.account.store.last() == 0


@pytest.mark.parametrize(
    ("path", "param"),
    [("/v1/payment_intents/pi_none", "intent"), ("/v1/customers/cus_none", "id"), ("/v1/refunds/re_none", "id")],
)
async def test_an_unknown_id_is_404(simulator: StripeSimulator, path: str, param: str) -> None:
    async with httpx.AsyncClient(base_url=simulator.url, headers=KEY) as http:
        reply = await http.get(path)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["param"]) == (404, "resource_missing", param)


async def test_what_is_not_simulated_is_refused_by_name(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="POST: /v1/subscriptions") as refused:
        await client.v1.subscriptions.create_async({"customer": "cus_x"})
    assert refused.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        await client.v1.payment_intents.create_async({"amount": 100, "currency": "usd", "expand": ["review"]})


async def test_there_are_no_connected_accounts(client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.PermissionError, match="Stripe-Account"):
        await client.v1.customers.list_async({}, {"stripe_account": "acct_1"})


async def test_a_refused_expansion_creates_nothing(simulator: StripeSimulator, client: stripe.StripeClient) -> None:
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_intents.create_async({"amount": 100, "currency": "usd", "expand": ["review"]})
    assert simulator.account.store.last() == 0


async def test_json_bodies_are_refused(simulator: StripeSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.url, headers=KEY) as http:
        reply = await http.post("/v1/customers", json={"email": "ada@example.com"})
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_every_reply_has_a_request_id(simulator: StripeSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.url, headers=KEY) as http:
        ids = {(await http.get(path)).headers["Request-Id"] for path in ("/v1/customers", "/v1/nonsense")}
    assert len(ids) == 2
    assert all(one.startswith("req_") for one in ids)
