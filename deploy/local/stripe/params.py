"""Parameters of the API's endpoints: typed, closed, and refused in Stripe's words."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.forms import Form

MAX_METADATA = 50
MAX_METADATA_KEY = 40
MAX_METADATA_VALUE = 500


def _integer(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,18}", value):
        raise PydanticCustomError("parameter_invalid_integer", "Invalid integer: {value}", {"value": value})
    return int(value)


def _boolean(value: object) -> object:
    if value not in ("true", "false"):
        raise PydanticCustomError("no_code", "Invalid boolean: {value}", {"value": value})
    return value == "true"


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("no_code", "Invalid string: {value}", {"value": str(value)})
    return value or None


def _name(value: object) -> object:
    if value == "":
        message = (
            "You passed an empty string. We assume empty values are an attempt to unset a parameter; however this one "
            "cannot be unset. You should remove it from your request or supply a non-empty value."
        )
        raise PydanticCustomError("parameter_invalid_empty", message)
    return _text(value)


def _email(value: object) -> object:
    text = _text(value)
    if isinstance(text, str) and not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", text):
        raise PydanticCustomError("email_invalid", "Invalid email address: {value}", {"value": text})
    return text


def _array(value: object) -> object:
    if not isinstance(value, dict):
        raise PydanticCustomError("no_code", "Invalid array: send name[] or name[0]")
    return tuple(value.values())


def _metadata(value: object) -> object:
    """An empty string for the whole clears it, for one key removes that key: the update applies that."""
    if value == "":
        return None
    if not isinstance(value, dict) or len(value) > MAX_METADATA:
        raise PydanticCustomError("no_code", f"Invalid metadata: send a hash of up to {MAX_METADATA} keys")
    for key, text in value.items():
        if not isinstance(text, str) or len(key) > MAX_METADATA_KEY or len(text) > MAX_METADATA_VALUE:
            message = (
                "Metadata keys can have up to 40 characters and values, which are strings, up to 500 characters. "
                "Invalid key: {key}"
            )
            raise PydanticCustomError("no_code", message, {"key": key})
    return value


def _hash(value: object) -> object:
    if not isinstance(value, Mapping | BaseModel):
        raise PydanticCustomError("no_code", "Invalid object: send name[key]=value")
    return value


Integer = Annotated[int, BeforeValidator(_integer)]
Amount = Annotated[Integer, Field(ge=1, le=99_999_999)]
"""In the currency's minor units; Stripe's own bounds."""
Boolean = Annotated[bool, BeforeValidator(_boolean)]
Text = Annotated[str | None, BeforeValidator(_text)]
"""An empty string unsets it."""
Name = Annotated[str, BeforeValidator(_name)]
"""May not be empty."""
Email = Annotated[str | None, BeforeValidator(_email)]
Names = Annotated[tuple[str, ...], BeforeValidator(_array)]
Metadata = Annotated[dict[str, str] | None, BeforeValidator(_metadata)]


class Nested(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Params(Nested):
    """What every endpoint takes. A subclass names all it understands: anything else is refused, never ignored."""

    expand: Names = ()

    def changes(self, *names: str) -> dict[str, Any]:
        """The named parameters that the request gave, an unset one as None."""
        return {name: getattr(self, name) for name in names if name in self.model_fields_set}


P = TypeVar("P", bound=Params)


class Created(Nested):
    gt: Integer | None = None
    gte: Integer | None = None
    lt: Integer | None = None
    lte: Integer | None = None


class ListParams(Params):
    limit: Annotated[Integer, Field(ge=1, le=100)] = 10
    starting_after: Name | None = None
    ending_before: Name | None = None
    created: Annotated[Created | None, BeforeValidator(_hash)] = None


def merge_metadata(current: Mapping[str, str], change: Mapping[str, str] | None) -> dict[str, str]:
    """Metadata updates merge; an empty value removes its key; None (the whole unset) clears."""
    merged = {**current, **change} if change is not None else {}
    return {key: value for key, value in merged.items() if value != ""}


def read(model: type[P], form: Form) -> P:
    """Raises StripeError for the first parameter that is wrong; unknown ones first, as Stripe does."""
    try:
        return model.model_validate(form)
    except ValidationError as invalid:
        raise _refusal(model, invalid.errors(include_url=False)) from None


def _refusal(model: type[Params], errors: list[ErrorDetails]) -> StripeError:
    unknown = [_param(e) for e in errors if e["type"] == "extra_forbidden"]
    if unknown:
        known = ", ".join(sorted(model.model_fields))
        plural = "s" if len(unknown) > 1 else ""
        message = f"Received unknown parameter{plural}: {', '.join(unknown)}. This simulator of Stripe takes: {known}"
        return StripeError(message, code="parameter_unknown", param=unknown[0])
    return _invalid(errors[0])


def _invalid(error: ErrorDetails) -> StripeError:
    param = _param(error)
    match error["type"]:
        case "missing":
            return StripeError(f"Missing required param: {param}.", code="parameter_missing", param=param)
        case "greater_than_equal" | "less_than_equal":
            return StripeError(error["msg"], code="parameter_invalid_integer", param=param)
        case "literal_error":
            expected = error.get("ctx", {}).get("expected", "")
            return StripeError(f"Invalid {param}: must be one of {expected}", param=param)
        case str(kind) if kind.startswith(("parameter_", "email_")):
            return StripeError(error["msg"], code=kind, param=param)
    return StripeError(f"{error['msg']} (parameter {param})", param=param)


def _param(error: ErrorDetails) -> str:
    first, *rest = (str(step) for step in error["loc"])
    return first + "".join(f"[{step}]" for step in rest)
