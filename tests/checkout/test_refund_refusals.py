"""What is not refunded, over HTTP, and that nothing changes then."""

from typing import Any

import pytest

from deploy.local.mailbox import Mailbox
from shared.documents import Rager
from shared.firestore import paths
from shared.firestore.client import Database
from tests.support.hands import Hands
from tests.support.money import ledger_of, stripes_refunds
from tests.support.services import Reply
from tests.support.shop import Shop, event_on_sale, ragers_of
from tests.support.tickets import Tickets


@pytest.fixture(autouse=True)
async def on_sale(database: Database) -> None:
    await event_on_sale(database, "gala", 10, dateTime="2030-05-01T19:00:00Z")


async def bought(shop: Shop) -> tuple[str, str]:
    """The payment and its batch of two tickets."""
    payment = await shop.paid("ann", "gala", 2)
    details = (await shop.finalize("ann", payment)).body["details"]
    return payment, str(details[0]["ragerId"])


async def refund(shop: Shop, payment: str, **fields: Any) -> Reply:
    return await shop.checkout.post("/refund-order", {"paymentIntentId": payment, "reason": "other", **fields})


async def unchanged(shop: Shop, database: Database, payment: str) -> bool:
    ledger = await ledger_of(database, payment)
    ragers = [rager for rager in await ragers_of(database, "gala") if rager.counts]
    tickets = sum(rager.ticket_quantity for rager in ragers if rager.active)
    return (ledger.status, ledger.refund, tickets, await stripes_refunds(shop, payment)) == ("completed", None, 2, [])


def extents(rager_id: str) -> list[dict[str, Any]]:
    return [{}, {"items": [{"ragerId": rager_id}]}, {"amountCents": 5000}]


async def test_used_tickets_need_force(shop: Shop, database: Database) -> None:
    payment, rager_id = await bought(shop)
    tickets = Tickets(database, "gala")
    await tickets.change(rager_id, used_count=1)
    await tickets.summarise("ann")
    for extent in extents(rager_id):
        refused = await refund(shop, payment, **extent)
        assert (refused.status, refused.code) == (409, "tickets_used"), extent
    assert await unchanged(shop, database, payment)
    assert (await refund(shop, payment, force=True)).body["amount"] == 5000


async def test_tickets_that_somebody_else_has_now_need_force(shop: Shop, database: Database, mailbox: Mailbox) -> None:
    payment, rager_id = await bought(shop)
    hands = Hands(shop.checkout, database, mailbox)
    await hands.sent("ann", rager_id, "bob@example.com")
    assert (await hands.claim("bob", await hands.token("bob@example.com"))).status == 200
    for extent, code in zip(
        extents(rager_id), ("tickets_transferred", "item_split", "tickets_transferred"), strict=True
    ):
        refused = await refund(shop, payment, **extent)
        assert (refused.status, refused.code) == (409, code), extent
    assert await unchanged(shop, database, payment)
    assert (await refund(shop, payment, force=True)).body["amount"] == 5000
    assert not any(rager.counts for rager in await ragers_of(database, "gala") if rager.user_id == "bob")


async def test_tickets_made_by_hand_have_no_money_to_go_back(shop: Shop, database: Database) -> None:
    body = {"uid": "ann", "eventId": "gala", "qty": 2, "priceCents": 2500, "createFulfillment": True}
    made = await shop.checkout.post("/manual-create-ticket", body)
    ledgers = [document.id async for document in database.client.collection("fulfillments").stream()]
    assert [ledger[:7] for ledger in ledgers] == ["manual_"]
    refused = await refund(shop, ledgers[0])
    assert (refused.status, refused.code) == (409, "no_payment")
    rager = Rager.of(await database.get(paths.rager("gala", made.body["ragerId"])))
    assert rager is not None
    assert rager.active


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ("manual_" + "0" * 32, 404, "order_not_found"),
        ("manual_", 400, "invalid_payment_intent"),
        ("manual_/../x", 400, "invalid_payment_intent"),
        ("manual_0\n", 400, "invalid_payment_intent"),
        (None, 400, "invalid_request"),
        (7, 400, "invalid_request"),
    ],
)
async def test_an_id_of_no_order_is_refused(shop: Shop, order: Any, status: int, code: str) -> None:
    refused = await refund(shop, order)
    assert (refused.status, refused.code) == (status, code)
