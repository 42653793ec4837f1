"""Fields as other programs wrote them: understood, or read as their default, but never a failure."""

import math

import pytest

from shared.documents import Event, PromoCode
from shared.operations import Value

HUGE: list[Value] = [
    *("1e999999", "-1e999999", "1e500", "9" * 5000, "9" * 30, "1e-99999999999999999999", 1e300, -1e300, float(2**63)),
    *("NaN", "sNaN", "Infinity", "-inf", math.nan, math.inf),
]
WRONG: list[Value] = [*HUGE, "", "many", True, None, [1], {"a": 1}, b"1"]


@pytest.mark.parametrize(
    ("dollars", "cents"),
    [(25, 2500), (19.99, 1999), ("19.99", 1999), (" 5 ", 500), (0.1, 10), (0, 0), ("1e2", 10000), ("1e-999999", 0)],
)
def test_a_price_in_dollars_is_read_in_cents(dollars: Value, cents: int) -> None:
    assert Event.of_fields({"price": dollars}, path="events/e").price_cents == cents


@pytest.mark.parametrize("value", [*WRONG, 2**63 - 1], ids=lambda value: repr(value)[:20])
def test_a_price_that_cannot_be_understood_is_no_price(value: Value) -> None:
    assert Event.of_fields({"price": value}, path="events/e").price_cents is None


@pytest.mark.parametrize(("stored", "number"), [(7, 7), (7.0, 7), ("7", 7), (-(2**63), -(2**63)), ("0", 0)])
def test_a_count_may_be_stored_as_a_double_or_as_digits(stored: Value, number: int) -> None:
    assert Event.of_fields({"quantity": stored}, path="events/e").quantity == number


@pytest.mark.parametrize("value", [*WRONG, 1.5, "1.5", str(2**63)], ids=lambda value: repr(value)[:20])
def test_a_count_that_cannot_be_understood_is_none_left(value: Value) -> None:
    assert Event.of_fields({"quantity": value}, path="events/e").quantity == 0


@pytest.mark.parametrize("value", WRONG, ids=lambda value: repr(value)[:20])
def test_a_promo_code_whose_value_cannot_be_understood_takes_nothing_off(value: Value) -> None:
    assert PromoCode.of_fields({"value": value}, path="promoCodes/p").value == 0
