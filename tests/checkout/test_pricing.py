"""What a cart costs, as a table."""

from decimal import Decimal

import pytest

from services.checkout.pricing import CartItem, UnknownTicketType, price
from shared.documents import Event
from shared.operations import Value

NO_TAX = Decimal(0)


def event(**fields: Value) -> dict[str, Event]:
    return {"e": Event.of_fields({"name": "E", "quantity": 10, **fields}, path="events/e")}


TIERS: Value = [{"name": "VIP", "price": 99.5}, {"name": "Floor", "price": "10"}]


@pytest.mark.parametrize(
    ("fields", "ticket_type", "quantity", "amount", "sold_as"),
    [
        ({"price": 25}, None, 2, 5000, None),
        ({"price": 25.0}, None, 1, 2500, None),
        ({"price": "19.99"}, None, 3, 5997, None),
        ({"price": 0.1 + 0.2}, None, 1, 30, None),
        ({"price": 25}, "Backstage", 1, 2500, None),
        ({"ticketTiers": TIERS}, "VIP", 1, 9950, "VIP"),
        ({"ticketTiers": TIERS}, "floor", 2, 2000, "Floor"),
        ({"ticketTiers": TIERS, "price": 5}, None, 1, 500, None),
        ({"ticketTiers": TIERS[:1]}, None, 1, 9950, "VIP"),  # type: ignore[index]  # a list of maps
    ],
)
def test_a_cart_costs_what_the_event_says(
    fields: dict[str, Value], ticket_type: str | None, quantity: int, amount: int, sold_as: str | None
) -> None:
    priced = price([CartItem("e", quantity, ticket_type)], event(**fields), NO_TAX)
    assert priced.amount == amount
    assert priced.items[0].ticket_type == sold_as


@pytest.mark.parametrize(
    ("fields", "ticket_type"),
    [
        ({}, None),
        ({"price": "free"}, None),
        ({"price": -1}, None),
        ({"price": True}, None),
        ({"ticketTiers": TIERS}, None),
        ({"ticketTiers": TIERS}, "Pit"),
        ({"ticketTiers": [{"name": "VIP"}]}, "VIP"),
    ],
)
def test_what_has_no_price_is_not_sold(fields: dict[str, Value], ticket_type: str | None) -> None:
    with pytest.raises(UnknownTicketType):
        price([CartItem("e", 1, ticket_type)], event(**fields), NO_TAX)


@pytest.mark.parametrize(
    ("cents", "percent", "tax"), [(1000, "8.25", 83), (10, "5", 1), (9, "5", 0), (2500, "0", 0), (30, "5", 2)]
)
def test_tax_is_rounded_half_up_once_for_the_order(cents: int, percent: str, tax: int) -> None:
    priced = price([CartItem("e", 1)], event(price=cents / 100), Decimal(percent))
    assert (priced.subtotal, priced.tax, priced.amount) == (cents, tax, cents + tax)
