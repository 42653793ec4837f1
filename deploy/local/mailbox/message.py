"""A mail as Resend takes it: https://resend.com/docs/api-reference/emails/send-email.

Fields that Resend has and this mailbox does not act on are refused by name, not ignored.
"""

import base64
import binascii
import mimetypes
import re
from email.utils import parseaddr
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from deploy.local.mailbox.errors import ResendError, invalid, missing

MAX_RECIPIENTS = 50
MAX_ATTACHMENTS_BYTES = 40 * 1024 * 1024
"""After base64, all attachments of a mail together."""
ADDRESS = re.compile(r"[^@\s<>]+@[^@\s<>]+\.[^@\s<>.]+")
FORMAT = "The email address needs to follow the `email@example.com` or `Name <email@example.com>` format."


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _address(text: str) -> str:
    _, address = parseaddr(text)
    if "\n" in text or "\r" in text or not ADDRESS.fullmatch(address):
        raise PydanticCustomError("address", FORMAT)
    return text


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise PydanticCustomError("line", "It must not contain line breaks.")
    return text


def _content(value: object) -> object:
    """Base64 in a string, or the bytes as a list of numbers, which the Python client's documentation suggests."""
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
        if isinstance(value, list):
            return bytes(value)
    except (binascii.Error, ValueError, TypeError):
        pass
    raise PydanticCustomError("content", "The content must be base64.")


Address = Annotated[str, AfterValidator(_address)]
Addresses = Annotated[list[Address], Field(max_length=MAX_RECIPIENTS), BeforeValidator(_one_or_more)]
Line = Annotated[str, AfterValidator(_one_line)]
TagText = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,256}$")]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Tag(Part):
    name: TagText
    value: TagText = ""


class Attachment(Part):
    filename: Line
    content: Annotated[bytes, BeforeValidator(_content)]
    content_type: Line | None = None
    content_id: Annotated[Line | None, Field(max_length=128)] = None
    """Set, it makes the attachment an inline image that the HTML refers to as ``cid:<content_id>``."""
    inline_content_id: Annotated[Line | None, Field(max_length=128)] = None

    @property
    def media_type(self) -> str:
        return self.content_type or mimetypes.guess_type(self.filename)[0] or "application/octet-stream"

    @property
    def cid(self) -> str | None:
        return self.content_id or self.inline_content_id


class Message(Part):
    sender: Address = Field(alias="from")
    to: Annotated[Addresses, Field(min_length=1)]
    subject: Line
    html: str | None = None
    text: str | None = None
    cc: Addresses = []
    bcc: Addresses = []
    reply_to: Addresses = []
    headers: dict[Line, Line] = {}
    tags: list[Tag] = []
    attachments: list[Attachment] = []

    @model_validator(mode="after")
    def _has_a_body(self) -> Self:
        if self.html is None and self.text is None:
            raise PydanticCustomError("no_body", "Missing `html` or `text` field.")
        if sum(len(a.content) * 4 // 3 for a in self.attachments) > MAX_ATTACHMENTS_BYTES:
            raise PydanticCustomError("too_large", "Attachments may not exceed 40MB per email after base64 encoding.")
        return self


def read_message(body: object) -> Message:
    """Raises ResendError in Resend's words."""
    try:
        return Message.model_validate(body)
    except ValidationError as wrong:
        raise _refusal(wrong.errors(include_url=False)[0]) from None


def read_batch_message(body: object) -> Message:
    """In a batch Resend takes no attachments."""
    if isinstance(body, dict) and body.get("attachments"):
        raise invalid("The `attachments` field is not supported when sending in batch.")
    return read_message(body)


def _refusal(error: ErrorDetails) -> ResendError:
    if not error["loc"]:
        if error["type"] == "no_body":
            return ResendError(422, "missing_required_field", error["msg"])
        return invalid(error["msg"])
    field = _field(error["loc"])
    match error["type"]:
        case "missing":
            return missing(field)
        case "extra_forbidden":
            return invalid(f"The mailbox does not support the `{field}` field. Leave it out, or send it to Resend.")
    return invalid(f"Invalid `{field}` field. {error['msg']}")


def _field(location: tuple[Any, ...]) -> str:
    """``to`` rather than ``to[0]``: Resend names the list."""
    *outer, last = location
    return ".".join(str(step) for step in (outer if isinstance(last, int) and outer else location))
