"""Looking after the money in tests: what Stripe, the ledger and the inventory say."""

from typing import Any

from deploy.local.stripe import StripeSimulator
from shared.documents import Event, Fulfillment, Hold
from shared.firestore import paths
from shared.firestore.client import Database
from shared.wiring import WORKER
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
