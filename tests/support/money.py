"""Looking after the money in tests: what Stripe, the ledger and the inventory say."""

from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.local.stripe import StripeSimulator
from services.checkout.counter import sweeper_of
from services.checkout.sweeper import AskForSweep
from shared.documents import Event, Fulfillment, Hold
from shared.firestore import paths
from shared.firestore.client import Database
from shared.wiring import COMMITTER, WORKER
from tests.support.services import Reply
from tests.support.shop import Shop


async def settled(shop: Shop, stripe: StripeSimulator) -> None:
    """Until every webhook was delivered and every job it asked for is done."""
    await stripe.webhooks.settled(20)
    await shop.checkout.app[WORKER].idle()
    await stripe.webhooks.settled(20)
    await shop.checkout.app[WORKER].idle()


async def left(database: Database, event_id: str) -> int:
    event = Event.of(await database.get(paths.event(event_id)))
    assert event is not None
    return event.quantity


async def ledger_of(database: Database, payment: str) -> Fulfillment:
    ledger = Fulfillment.of(await database.get(paths.fulfillment(payment)))
    assert ledger is not None
    return ledger


async def stripes_refunds(shop: Shop, payment: str) -> list[dict[str, Any]]:
    url = f"{shop.stripe_url}/v1/refunds?payment_intent={payment}"
    async with shop.session.get(url, headers={"Authorization": "Bearer sk_test_x"}) as response:
        refunds: list[dict[str, Any]] = (await response.json())["data"]
        return refunds


async def expiry_of(database: Database, payment: str) -> Any:
    hold = Hold.of(await database.get(paths.hold(payment)))
    assert hold is not None
    return hold.expires_at


AUTHORIZED = {"Authorization": "Bearer sk_test_x"}


async def simulate(shop: Shop, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    async with shop.session.post(f"{shop.stripe_url}/_sim/{path}", json=body or {}) as response:
        assert response.status == 200, await response.text()
        happened: dict[str, Any] = await response.json()
        return happened


async def at_stripe(shop: Shop, path: str, form: dict[str, str]) -> dict[str, Any]:
    async with shop.session.post(f"{shop.stripe_url}/v1/{path}", data=form, headers=AUTHORIZED) as response:
        assert response.status == 200, await response.text()
        made: dict[str, Any] = await response.json()
        return made


async def refund(shop: Shop, payment: str, key: str | None = None, **fields: Any) -> Reply:
    headers = {"x-idempotency-key": key} if key else {}
    body = {"paymentIntentId": payment, "reason": "other", **fields}
    return await shop.checkout.post("/refund-order", body, headers=headers)


async def bought(shop: Shop, stripe: StripeSimulator, uid: str = "ann", quantity: int = 2) -> str:
    payment = await shop.paid(uid, "gala", quantity)
    assert (await shop.finalize(uid, payment)).body["ok"] is True
    await settled(shop, stripe)
    return payment


async def sweep(shop: Shop) -> None:
    app = shop.checkout.app
    await app[WORKER].idle()
    assert await app[COMMITTER].run(AskForSweep(timedelta(0), datetime.now(UTC)))
    await app[WORKER].idle()


async def at_risk(shop: Shop) -> float:
    await sweeper_of(shop.checkout.app).look()
    return await shop.checkout.metric("checkout_paid_unfulfilled")
