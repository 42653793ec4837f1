"""What request and response models are made of.

Python names are snake_case, JSON names camelCase (give ``Field(alias=...)`` where the contract differs). Unknown
fields are ignored, because the web app sends more than we read; types are strict.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from shared.config import DEFAULT_MAX_TICKETS_PER_ITEM, Settings
from shared.firestore.paths import MAX_ID_BYTES, is_document_id

MAX_EMAIL_LENGTH = 254
"""RFC 5321, section 4.5.3.1.3, as corrected by erratum 1690."""

EMAIL = re.compile(r"[^\s@<>()\[\],;:\\\"\x00-\x1f\x7f]{1,64}@(?:[\w](?:[\w-]{0,61}\w)?\.)+[\w](?:[\w-]{0,61}\w)?")


class Model(BaseModel):
    """A request or a reply: immutable, camelCase on the wire."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        frozen=True,
        allow_inf_nan=False,
    )


class Caller:
    """Marks the field that holds the caller's own uid: with an ID token in the request, it must be the token's."""


def _one_document_id(text: str) -> str:
    if is_document_id(text):
        return text
    raise PydanticCustomError("document_id", "is not an id: it must be one document id, without a slash")


def _quantity(value: object) -> object:
    """Web carts send digits as a string; ``true`` and ``2.0`` are not quantities."""
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= len("9" * 6)
    if digits:
        return int(str(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("quantity", "must be a whole number")


def _within_limit(quantity: int, info: ValidationInfo) -> int:
    limit = info.context.max_tickets_per_item if isinstance(info.context, Settings) else DEFAULT_MAX_TICKETS_PER_ITEM
    if 1 <= quantity <= limit:
        return quantity
    raise PydanticCustomError("quantity", "must be from 1 to {limit}", {"limit": limit})


def _email(text: str) -> str:
    if len(text) <= MAX_EMAIL_LENGTH and EMAIL.fullmatch(text):
        return text
    raise PydanticCustomError("email", "is not an email address")


def _utc(moment: datetime) -> datetime:
    """Only its offset can take a moment out of the years that Firestore has, which are Python's: 1 to 9999."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("moment", "must lie in the years 1 to 9999, in UTC") from None


QUANTITY_SCHEMA: Final = {
    "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": "^0*[1-9][0-9]*$", "maxLength": 6}],
    "description": f"From 1 to MAX_TICKETS_PER_ITEM (default {DEFAULT_MAX_TICKETS_PER_ITEM}), or those digits.",
}

Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)]
"""A line of text, trimmed, possibly empty."""

RequiredText = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]

DocumentId = Annotated[
    str,
    AfterValidator(_one_document_id),
    Field(min_length=0, json_schema_extra={"minLength": 1, "maxLength": MAX_ID_BYTES, "pattern": "^[^/]+$"}),
]
"""A string that can be one Firestore document id (or uid, which is one)."""

CallerUid = Annotated[DocumentId, Caller()]

Quantity = Annotated[
    int,
    AfterValidator(_within_limit),
    BeforeValidator(_quantity),
    WithJsonSchema(dict(QUANTITY_SCHEMA)),
]
"""Tickets of one kind: ``quantity: Quantity = 1``. Its upper bound is the service's MAX_TICKETS_PER_ITEM."""

Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True),
    AfterValidator(_email),
    Field(json_schema_extra={"format": "email", "maxLength": MAX_EMAIL_LENGTH}),
]
"""An email address, trimmed, its case kept. Only the mail provider knows whether it exists."""

Moment = Annotated[AwareDatetime, AfterValidator(_utc)]
"""A time with its offset on the wire, in UTC here, that Firestore can hold."""
