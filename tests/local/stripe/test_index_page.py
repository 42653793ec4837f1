"""What a browser finds at the simulator's address."""

import httpx

from deploy.local.stripe import StripeSimulator
from deploy.local.stripe.api import ROUTES
from deploy.local.stripe.cards import CARDS


async def test_the_page_tells_every_card_every_route_and_the_controls(simulator: StripeSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.url) as http:
        reply = await http.get("/")
        linked = [await http.get(path) for path in ("/_sim/deliveries", "/_sim/faults")]
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert all(f"<code>{card}</code>" in reply.text for card in CARDS)
    assert all(f"<code>{route.method} {route.path}</code>" in reply.text for route in ROUTES)
    assert "disputes/{id}/close" in reply.text
    assert f"curl -sS {simulator.url}/v1/payment_intents/" in reply.text
    assert [answer.status_code for answer in linked] == [200, 200]


async def test_the_page_says_what_a_card_does(simulator: StripeSimulator) -> None:
    async with httpx.AsyncClient(base_url=simulator.url) as http:
        page = (await http.get("/")).text
    for card, outcome in {
        "pm_card_visa": "pays",
        "pm_card_chargeDeclinedInsufficientFunds": "is declined: insufficient_funds",
        "pm_card_chargeDeclinedExpiredCard": "is declined: expired_card",
        "pm_card_createDispute": "pays, and is disputed as fraudulent",
        "pm_card_pendingRefund": "pays; a refund stays pending until it is settled below",
        "pm_usBankAccount_success": "is processing for days: complete it below",
    }.items():
        assert f"<code>{card}</code></td><td>{outcome}</td>" in page
