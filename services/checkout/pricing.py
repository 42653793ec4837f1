"""What a cart costs. Pure: the browser's prices are never asked for, only the event's own."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from shared.documents import Event, OrderItem
from shared.errors import BadRequest, Conflict

CURRENCY: Final = "usd"
"""The only one: the events' prices are dollars."""


@dataclass(frozen=True, slots=True)
class CartItem:
    event_id: str
    quantity: int
    ticket_type: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """Minor units. ``amount`` is what is charged."""

    items: tuple[OrderItem, ...]
    subtotal: int
    tax: int
    discount: int = 0

    @property
    def amount(self) -> int:
        return self.subtotal - self.discount + self.tax


class EmptyCart(BadRequest):
    code = "empty_cart"


class UnknownEvent(BadRequest):
    code = "unknown_event"


class UnknownTicketType(BadRequest):
    code = "unknown_ticket_type"


class AmountMismatch(BadRequest):
    code = "amount_mismatch"


class SoldOut(Conflict):
    code = "sold_out"


def price(cart: Sequence[CartItem], events: Mapping[str, Event], tax_percent: Decimal) -> Price:
    """The cart at the events' prices; tax is rounded half up, once for the whole order.

    Raises EmptyCart, UnknownEvent (an event that is not in ``events``) or UnknownTicketType.
    """
    if not cart:
        raise EmptyCart("Your cart is empty.")
    items = tuple(_priced(item, events.get(item.event_id)) for item in cart)
    subtotal = sum(item.unit_cents * item.quantity for item in items)
    return Price(items, subtotal, _tax(subtotal, tax_percent))


def discounted(full: Price, discount: int, tax_percent: Decimal) -> Price:
    """Less a discount (minor units, at most the subtotal); tax is on what remains."""
    return Price(full.items, full.subtotal, _tax(full.subtotal - discount, tax_percent), discount)


def _tax(net: int, percent: Decimal) -> int:
    return int((Decimal(net) * percent / 100).to_integral_value(ROUND_HALF_UP))


def _priced(item: CartItem, event: Event | None) -> OrderItem:
    if event is None:
        raise UnknownEvent("This event is not on sale.", fields={"eventId": item.event_id})
    offer = event.offer(item.ticket_type)
    if offer is None or offer.price_cents is None or offer.price_cents < 0:
        fields = {"eventId": event.id, "ticketTypes": [tier.name for tier in event.tiers]}
        raise UnknownTicketType(f"{event.name or 'This event'} does not sell this kind of ticket.", fields=fields)
    return OrderItem(event.id, item.quantity, offer.name or None, event.name or item.title, offer.price_cents)


def check_available(items: Iterable[OrderItem], events: Mapping[str, Event]) -> None:
    """Raises SoldOut for the first event that has fewer tickets left than the whole cart asks for, or is gone."""
    wanted: Counter[str] = Counter()
    for item in items:
        wanted[item.event_id] += item.quantity
    for event_id, quantity in wanted.items():
        event = events.get(event_id)
        available = max(0, event.quantity) if event else 0
        if quantity > available:
            left = f"has only {available} tickets left" if available else "is sold out"
            fields = {"eventId": event_id, "available": available}
            raise SoldOut(f"{(event and event.name) or 'This event'} {left}.", fields=fields)


def check_amount(given: int | None, expected: Price) -> None:
    """Raises AmountMismatch when the amount that the browser showed (minor units) is not what would be charged."""
    if given is not None and given != expected.amount:
        fields = {"expectedAmount": expected.amount}
        raise AmountMismatch("The price has changed. Please reload your cart.", fields=fields)


def shares(items: Sequence[OrderItem], amount: int) -> tuple[int, ...]:
    """What each item contributed to the amount that was paid (minor units), tax and discounts spread by price.

    They add up to the amount exactly: each share is the rounded running total less what went before it.
    """
    subtotal = sum(item.unit_cents * item.quantity for item in items)
    running, taken, result = 0, 0, []
    for item in items:
        running += item.unit_cents * item.quantity
        reached = (2 * amount * running + subtotal) // (2 * subtotal) if subtotal else 0
        result.append(reached - taken)
        taken = reached
    return tuple(result)
