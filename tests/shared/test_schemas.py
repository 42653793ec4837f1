from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.schemas import DocumentId, Email, Moment, Quantity
from tests.support.web import settings

QUANTITY: TypeAdapter[int] = TypeAdapter(Quantity)
EMAIL: TypeAdapter[str] = TypeAdapter(Email)
MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)
DOCUMENT_ID: TypeAdapter[str] = TypeAdapter(DocumentId)


@pytest.mark.parametrize(("given", "meant"), [(1, 1), (20, 20), ("1", 1), ("20", 20), ("007", 7)])
def test_a_quantity_is_a_whole_number_or_its_digits(given: object, meant: int) -> None:
    assert QUANTITY.validate_python(given, strict=True) == meant


@pytest.mark.parametrize(
    "given", [0, -1, 21, True, 1.0, "", "1.0", "-1", "+1", " 1", "²", "٣", "9" * 5000, None, [1], 2**80]
)
def test_what_is_not_a_quantity_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        QUANTITY.validate_python(given, strict=True)


def test_the_largest_quantity_is_configuration() -> None:
    few = settings(max_tickets_per_item=4)
    assert QUANTITY.validate_python(4, context=few) == 4
    with pytest.raises(ValidationError, match="from 1 to 4"):
        QUANTITY.validate_python(5, context=few)


@pytest.mark.parametrize("given", ["a", "a.b", "...", "__", "ünï", "x" * 1500, "a b", "__x", "x__"])
def test_one_document_id_is_accepted(given: str) -> None:
    assert DOCUMENT_ID.validate_python(given) == given


@pytest.mark.parametrize("given", ["", ".", "..", "a/b", "/", "x" * 1501, "é" * 751, "__x__", "____", "__a\nb__"])
def test_what_cannot_be_one_document_id_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        DOCUMENT_ID.validate_python(given)


@pytest.mark.parametrize(
    "given", ["a@b.co", " a@b.co\n", "first.last+tag@sub.example.com", "o'neil@exämple.de", "A@B.CO"]
)
def test_an_email_address_is_accepted_and_trimmed(given: str) -> None:
    assert EMAIL.validate_python(given) == given.strip()


@pytest.mark.parametrize(
    "given",
    [
        "",
        "a",
        "a@b",
        "@b.co",
        "a@",
        "a b@c.de",
        "a@b..co",
        "a@-b.co",
        "a@b.co,c@d.ef",
        "a\n@b.co",
        "<a@b.co>",
        "a@b@c.de",
        "x" * 65 + "@b.co",
        "a@" + "b." * 126 + "co",
    ],
)
def test_what_is_not_an_email_address_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        EMAIL.validate_python(given)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-03-01T20:00:00+02:00", datetime(2026, 3, 1, 18, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime.max.replace(tzinfo=UTC)),
    ],
)
def test_a_moment_is_taken_to_utc(given: str, meant: datetime) -> None:
    moment = MOMENT.validate_json(f'"{given}"', strict=True)
    assert (moment, moment.tzinfo) == (meant, UTC)


@pytest.mark.parametrize(
    "given",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-03-01T20:00:00", "+010000-01-01T00:00:00Z", "now"],
)
def test_what_the_database_cannot_hold_as_a_moment_is_refused(given: str) -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_json(f'"{given}"', strict=True)
