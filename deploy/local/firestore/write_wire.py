"""Between Write messages and plain writes."""

from collections.abc import Callable, Iterable
from typing import Final

from google.cloud.firestore_v1.types import write as write_types

from deploy.local.firestore import writes as rules
from deploy.local.firestore.commits import Written
from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import FieldPath, parse_field_path
from deploy.local.firestore.names import document_in
from deploy.local.firestore.values import Timestamp, Value
from deploy.local.firestore.wire import (
    Message,
    decode_fields,
    decode_timestamp,
    decode_value,
    encode_timestamp,
    encode_value,
)
from deploy.local.firestore.writes import Precondition, Transform, Write

MAX_TRANSFORMS: Final = 500
_REQUEST_TIME: Final = int(write_types.DocumentTransform.FieldTransform.ServerValue.REQUEST_TIME)
_NUMERIC: Final[dict[str, Callable[[int | float], rules.Rule]]] = {
    "increment": rules.increment,
    "maximum": rules.maximum,
    "minimum": rules.minimum,
}


def decode_writes(messages: Iterable[Message], database: str) -> list[Write]:
    return [decode_write(message, database) for message in messages]


def decode_write(message: Message, database: str) -> Write:
    precondition = decode_precondition(message.current_document)
    match message.WhichOneof("operation"):
        case "update":
            return Write(
                database,
                document_in(database, message.update.name),
                decode_fields(message.update.fields),
                decode_mask(message.update_mask) if message.HasField("update_mask") else None,
                decode_transforms(message.update_transforms),
                precondition,
            )
        case "delete":
            return Write(database, document_in(database, message.delete), None, precondition=precondition)
        case "transform":
            transform = message.transform
            transforms = decode_transforms(transform.field_transforms)
            return Write(database, document_in(database, transform.document), {}, (), transforms, precondition)
    raise InvalidArgument("A write is empty: set update, delete or transform.")


def decode_precondition(message: Message) -> Precondition:
    match message.WhichOneof("condition_type"):
        case "exists":
            return Precondition(exists=message.exists)
        case "update_time":
            return Precondition(update_time=decode_timestamp(message.update_time).micros)
    return Precondition()


def decode_mask(message: Message) -> tuple[FieldPath, ...]:
    return tuple(map(parse_field_path, message.field_paths))


def decode_transforms(messages: Iterable[Message]) -> tuple[Transform, ...]:
    transforms = tuple(map(_decode_transform, messages))
    if len(transforms) > MAX_TRANSFORMS:
        raise InvalidArgument(f"A write transforms at most {MAX_TRANSFORMS} fields.")
    return transforms


def _decode_transform(message: Message) -> Transform:
    path = parse_field_path(message.field_path)
    match message.WhichOneof("transform_type"):
        case "set_to_server_value":
            if message.set_to_server_value != _REQUEST_TIME:
                raise InvalidArgument(f"The server value of {message.field_path} must be REQUEST_TIME.")
            return Transform(path, rules.request_time)
        case "increment" | "maximum" | "minimum" as kind:
            return Transform(path, _NUMERIC[kind](_number(kind, getattr(message, kind))))
        case "append_missing_elements":
            return Transform(path, rules.append_missing(_elements(message.append_missing_elements)), reports=False)
        case "remove_all_from_array":
            return Transform(path, rules.remove_all(_elements(message.remove_all_from_array)), reports=False)
    raise InvalidArgument(f"The transform of {message.field_path} is empty: set one of the transform types.")


def _number(kind: str, message: Message) -> int | float:
    value = decode_value(message)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidArgument(f"The operand of {kind} must be an integer or a double.")
    return value


def _elements(message: Message) -> list[Value]:
    return [decode_value(element) for element in message.values]


def encode_written(written: Written, into: Message) -> None:
    """Fill a ``WriteResult``."""
    if written.document:
        encode_timestamp(Timestamp(written.document.update_time), into.update_time)
    for value in written.transform_results:
        encode_value(value, into.transform_results.add())
