"""What a promo code takes off, and when it is good for nothing; as a table, and as the route tells it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.checkout.promos import InvalidPromoCode, check_usable, discount
from shared.documents import PromoCode
from shared.firestore.client import Database
from shared.operations import Value
from tests.support.services import Service
from tests.support.shop import put

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SPRING: dict[str, Value] = {"type": "percentage", "value": 10}


def code(**fields: Any) -> PromoCode:
    return PromoCode.of_fields({**SPRING, **fields}, path="promoCodes/SPRING")


@pytest.mark.parametrize(
    ("fields", "subtotal", "expected"),
    [
        ({}, 10_000, 1_000),
        ({"value": 12.5}, 999, 125),  # 124.875
        ({"value": 50}, 1, 1),  # half a cent is rounded up
        ({"value": 33.3}, 1_000, 333),
        ({"value": "15"}, 1_000, 150),
        ({"value": 150}, 1_000, 1_000),
        ({"value": 10}, 0, 0),
        ({"type": "fixed", "value": 5}, 2_500, 500),
        ({"type": "fixed", "value": 4.99}, 2_500, 499),
        ({"type": "fixed", "value": 0.005}, 2_500, 1),
        ({"type": "fixed", "value": 30}, 2_500, 2_500),
    ],
)
def test_a_discount_is_rounded_half_up_and_never_more_than_the_order(
    fields: dict[str, Any], subtotal: int, expected: int
) -> None:
    assert discount(code(**fields), subtotal) == expected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"active": False}, "inactive"),
        ({"type": "two for one"}, "inactive"),
        ({"value": 0}, "inactive"),
        ({"value": -10}, "inactive"),
        ({"value": None}, "inactive"),
        ({"value": "much"}, "inactive"),
        ({"value": float("nan")}, "inactive"),
        ({"type": "fixed", "value": 1e300}, "inactive"),
        ({"active": "false"}, "inactive"),
        ({"maxUses": "one", "uses": 5}, "inactive"),
        ({"maxUses": 5, "uses": "many"}, "inactive"),
        ({"maxUses": 5, "reservedUses": {}}, "inactive"),
        ({"minimumTotal": "a lot"}, "inactive"),
        ({"expiresAt": "12/31/2029"}, "inactive"),
        ({"expiresAt": 1e300}, "inactive"),
        ({"expiresAt": 1893455999999}, "expired"),
        ({"expiresAt": 1893456000}, "expired"),  # seconds, read as milliseconds: rather never than for ever
        ({"expiresAt": NOW}, "expired"),
        ({"expiresAt": "2029-12-31T23:59:59Z"}, "expired"),
        ({"maxUses": 3, "uses": 3}, "exhausted"),
        ({"maxUses": 3, "uses": 1, "reservedUses": 2}, "exhausted"),
        ({"maxUses": 0}, "exhausted"),
        ({"minimumTotal": 25.01}, "minimum"),
    ],
)
def test_a_code_that_is_not_good_is_refused_with_the_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidPromoCode) as refusal:
        check_usable(code(**fields), 2_500, NOW)
    assert refusal.value.fields["reason"] == reason
    assert refusal.value.error.endswith(".")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"active": True, "expiresAt": NOW + timedelta(seconds=1)},
        {"expiresAt": 1893456000001},
        {"displayCode": 2030, "maxUses": None, "expiresAt": None},
        {"maxUses": 3, "uses": 2},
        {"uses": 1_000_000},
        {"minimumTotal": "25"},
    ],
)
def test_a_code_without_a_reason_against_it_is_good(fields: dict[str, Any]) -> None:
    check_usable(code(**fields), 2_500, NOW)


def test_a_percentage_is_read_as_it_was_written() -> None:
    assert code(value=0.1).value == Decimal("0.1")


async def test_a_code_is_found_as_people_type_it(checkout: Service, database: Database) -> None:
    await put(database, "promoCodes/SPRING", {**SPRING, "displayCode": "Spring!"})
    await put(database, "promoCodes/ofAnn", {"type": "fixed", "value": 5})
    for typed in ("SPRING", "spring", "  Spring "):
        reply = await checkout.post("/validate-promo-code", {"code": typed, "cartTotal": 5_000})
        assert reply.status == 200
        assert reply.body == {
            "valid": True,
            "discountAmount": 500,
            "displayCode": "Spring!",
            "type": "percentage",
            "value": 10.0,
            "message": "Spring!: 10% off.",
        }
    reply = await checkout.post("/validate-promo-code", {"code": "ofAnn", "cartTotal": 5_000})
    assert (reply.body["discountAmount"], reply.body["message"]) == (500, "ofAnn: 5.00 USD off.")


async def test_a_promoters_code_is_found_after_the_houses_own(checkout: Service, database: Database) -> None:
    await put(database, "promoterCodes/DJ", {**SPRING, "value": 20})
    body = {"code": "dj", "cartTotal": 1_000}
    assert (await checkout.post("/validate-promo-code", body)).body["discountAmount"] == 200
    await put(database, "promoCodes/DJ", {**SPRING, "active": False})
    assert (await checkout.post("/validate-promo-code", body)).body["valid"] is False


@pytest.mark.parametrize("typed", ["nothing", "", "a/b", "__x__", "..", "x" * 400])
async def test_an_unknown_code_is_an_answer_and_not_an_error(checkout: Service, typed: str) -> None:
    reply = await checkout.post("/validate-promo-code", {"code": typed, "cartTotal": 1_000})
    assert reply.status == 200
    assert reply.body == {
        "valid": False,
        "discountAmount": 0,
        "displayCode": None,
        "type": None,
        "value": None,
        "message": "This promo code does not exist.",
    }


@pytest.mark.parametrize("total", [-1, "10", 10.5, None, 2**63])
async def test_a_total_that_is_no_amount_is_refused(checkout: Service, total: object) -> None:
    refused = await checkout.post("/validate-promo-code", {"code": "SPRING", "cartTotal": total})
    assert (refused.status, refused.code, refused.body["field"]) == (400, "invalid_request", "cartTotal")
