"""How fields are read that more than one record has."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from shared.operations import INT64, Value
from shared.records import moment


def cents(value: Value) -> int:
    """Minor units from the dollars that existing documents hold, as number or text."""
    units = int((exact(value) * 100).to_integral_value())
    if units not in INT64:
        raise ValueError(value)
    return units


def exact(value: Value) -> Decimal:
    """A number as it was written, also one stored as text, of a size that an integer can have."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    try:
        number = Decimal(str(value))
        countable = INT64[0] <= number <= INT64[-1]  # before any arithmetic: a text can name any power of ten
    except InvalidOperation as error:
        raise ValueError(value) from error
    if not countable:
        raise ValueError(value)
    return number


def moment_or_millis(value: Value) -> datetime:
    """A time, also as the milliseconds since 1970 that JavaScript counts."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value / 1000, UTC)
    return moment(value)


def mapping(value: Value) -> Mapping[str, Value]:
    if isinstance(value, Mapping):
        return value
    raise TypeError(value)


def texts(value: Value) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(item for item in value if isinstance(item, str))
    raise TypeError(value)
