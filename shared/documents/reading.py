"""How fields are read that more than one record has."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from shared.operations import Value


def cents(value: Value) -> int:
    """Minor units from the dollars that existing documents hold, as number or text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    try:
        exact = Decimal(str(value)) * 100
        return int(exact.to_integral_value())
    except InvalidOperation as error:
        raise ValueError(value) from error


def exact(value: Value) -> Decimal:
    """A finite number as it was written, also one stored as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(value)
    try:
        number = Decimal(str(value))
    except InvalidOperation as error:
        raise ValueError(value) from error
    if not number.is_finite():
        raise ValueError(value)
    return number


def mapping(value: Value) -> Mapping[str, Value]:
    if isinstance(value, Mapping):
        return value
    raise TypeError(value)


def texts(value: Value) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(item for item in value if isinstance(item, str))
    raise TypeError(value)
