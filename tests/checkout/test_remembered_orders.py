"""What a payment is for is what was remembered when it was started."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.checkout.holds import RememberOrder, hold_for
from shared.documents import Hold, OrderItem, PendingOrder
from shared.firestore import paths
from shared.firestore.client import Database
from shared.wiring import COMMITTER
from tests.support.money import left
from tests.support.shop import Shop, collections, event_on_sale, put

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ORDER = PendingOrder(paths.pending_order("pi_1"), items=(OrderItem("gala", 2, unit_cents=2500),), created_at=NOW)


@pytest.mark.parametrize("status", ["completed", "partial", "refunded", "stuck", "unknown"])
async def test_nothing_is_set_aside_for_an_order_that_something_has_come_of(
    shop: Shop, database: Database, status: str
) -> None:
    await event_on_sale(database, "gala", 10)
    committer, hold = shop.checkout.app[COMMITTER], hold_for(ORDER, NOW + timedelta(minutes=10), NOW)
    await committer.run(RememberOrder(ORDER, None, NOW))
    await put(database, ORDER.path, replace(ORDER, status=status).fields())
    await committer.run(RememberOrder(ORDER, hold, NOW))
    assert await left(database, "gala") == 10
    assert Hold.of(await database.get(hold.path)) is None
    kept = PendingOrder.of(await database.get(ORDER.path))
    assert kept is not None
    assert kept.status == status


async def test_a_payment_in_another_currency_is_not_what_was_ordered(shop: Shop, database: Database) -> None:
    """The remembered cart has the same number, of something that is worth less."""
    await event_on_sale(database, "gala", 10)
    form = {
        "amount": "5000", "currency": "jpy", "metadata[firebaseId]": "ann",
        "automatic_payment_methods[enabled]": "true",
    }  # fmt: skip
    headers = {"Authorization": "Bearer sk_test_x"}
    async with shop.session.post(f"{shop.stripe_url}/v1/payment_intents", data=form, headers=headers) as response:
        payment = (await response.json())["id"]
    assert (await shop.pay(payment))["status"] == "succeeded"
    order = PendingOrder(paths.pending_order(payment), user_id="ann", amount=5000, items=ORDER.items, created_at=NOW)
    await put(database, order.path, order.fields())
    refused = await shop.finalize("ann", payment)
    assert (refused.status, refused.code) == (409, "cart_mismatch")
    assert await collections(database) == {"events", "pendingOrders"}


@pytest.mark.parametrize(("hours", "sold"), [(-300 * 24, False), (-25, False), (-23, True), (24, True)])
async def test_nothing_is_sold_for_an_event_that_is_over(
    shop: Shop, database: Database, hours: int, *, sold: bool
) -> None:
    await event_on_sale(database, "gala", 10)
    await event_on_sale(database, "past", 10, dateTime=datetime.now(UTC) + timedelta(hours=hours))
    reply = await shop.start("ann", "gala", cartItems=[{"productId": "gala"}, {"productId": "past"}])
    assert (reply.status, reply.code) == ((200, None) if sold else (409, "event_past"))
    if not sold:
        assert reply.body["eventId"] == "past"
        assert await collections(database) == {"events"}
