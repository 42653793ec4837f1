"""Nobody sets a whole event aside without paying for it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.checkout.buyers import Buyer
from services.checkout.set_aside import beyond, owner_of
from shared.documents import HeldItem, Hold
from shared.firestore import paths
from shared.firestore.client import Database
from tests.support.money import left
from tests.support.shop import Shop, check_invariants, event_on_sale

NOW = datetime(2030, 1, 1, tzinfo=UTC)


def hold(age: int, **quantities: int) -> Hold:
    """Made so many minutes ago."""
    items = tuple(HeldItem(event_id, quantity) for event_id, quantity in quantities.items())
    return Hold(f"holds/{age}", items=items, event_ids=tuple(quantities), created_at=NOW - timedelta(minutes=age))


@pytest.mark.parametrize(
    ("holds", "gone"),
    [
        ([], ""),
        ([hold(1, gala=5), hold(2, gala=5)], ""),
        ([hold(1, gala=5), hold(2, gala=6)], "2"),
        ([hold(2, gala=6), hold(1, gala=5)], "2"),
        ([hold(1, gala=5), hold(2, ball=6)], ""),
        ([hold(1, gala=5), hold(2, ball=6, gala=6)], "2"),
        ([hold(1, gala=5), hold(2, gala=6), hold(3, gala=5)], "2"),  # the third still fits
        ([hold(3, gala=4), hold(1, gala=4), hold(2, gala=4)], "3"),
        ([hold(1, gala=11)], "1"),
    ],
)
def test_the_oldest_holds_go_until_the_rest_is_within_the_most(holds: list[Hold], gone: str) -> None:
    assert " ".join(each.id for each in beyond(holds, 10)) == gone


def test_an_account_is_no_guest_and_a_guest_is_one_however_the_address_is_typed() -> None:
    guests = {owner_of(Buyer(None, email, email, None)) for email in ("Ann@Example.com", "ann@example.com")}
    assert len(guests) == 1
    assert owner_of(Buyer("ann@example.com", None, None, None)) not in guests


async def test_one_buyer_leaves_the_others_their_tickets(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 100)
    for _ in range(10):
        assert (await holding.start("mallory", "gala", 20)).status == 200
        assert await left(database, "gala") >= 60
    assert (await holding.start("ann", "gala", 20)).status == 200
    assert await left(database, "gala") == 40
    await check_invariants(database, "gala")


async def test_those_who_ask_at_the_same_time_are_counted_too(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 400)
    await asyncio.gather(*(holding.start("mallory", "gala", 20) for _ in range(15)))
    assert await left(database, "gala") == 360
    await check_invariants(database, "gala")


async def test_a_guest_is_one_buyer(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 100)
    for email in ("g@example.com", "G@example.com", "g@EXAMPLE.com"):
        guest = {"firebaseId": None, "isGuest": True, "guestEmail": email}
        assert (await holding.start("g", "gala", 20, **guest, customerEmail=None)).status == 200
    assert await left(database, "gala") == 60


async def test_what_was_given_back_can_still_be_paid_for(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 100)
    payments = [(await holding.start("ann", "gala", 20)).body["paymentIntentId"] for _ in range(3)]
    stored = [Hold.of(await database.get(paths.hold(payment))) for payment in payments]
    assert [each and each.status for each in stored] == ["released", "held", "held"]
    await holding.pay(payments[0])
    assert (await holding.finalize("ann", payments[0])).body["createdTickets"] == 20
    await check_invariants(database, "gala")


async def test_paid_orders_do_not_count(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 100)
    for _ in range(4):
        assert (await holding.buy("ann", "gala", 20)).body["createdTickets"] == 20
    assert await left(database, "gala") == 20


async def test_an_order_that_could_never_be_set_aside_is_refused(holding: Shop, database: Database) -> None:
    await event_on_sale(database, "gala", 100)
    cart = [{"productId": "gala", "quantity": 20}, {"productId": "gala", "quantity": 20}, {"productId": "gala"}]
    refused = await holding.start("ann", "gala", cartItems=cart)
    assert (refused.status, refused.code) == (409, "too_many_tickets")
    assert (refused.body["eventId"], refused.body["max"]) == ("gala", 40)
    assert await left(database, "gala") == 100
