"""Plain protobuf messages to Python values and back, without proto-plus (10 to 20 times its cost on hot paths)."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.cloud.firestore_v1.types import document as document_types
from google.cloud.firestore_v1.types import write as write_types

from shared.operations import (
    Delete,
    Document,
    Fields,
    GeoPoint,
    Increment,
    Merge,
    Put,
    Reference,
    Remove,
    Value,
    Write,
)

ValuePb: Final = document_types.Value.pb()
DocumentPb: Final = document_types.Document.pb()
WritePb: Final = write_types.Write.pb()

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SIMPLE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


def moment(timestamp: Any) -> datetime:
    """A protobuf Timestamp as an aware UTC time, to the microsecond, which is Firestore's precision."""
    return _EPOCH + timedelta(seconds=timestamp.seconds, microseconds=timestamp.nanos // 1000)


def field_path(name: str) -> str:
    """A top-level field's name as a field path, quoted where it must be."""
    if _SIMPLE_NAME.fullmatch(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def decode(value: Any) -> Value:
    return _DECODERS[value.WhichOneof("value_type")](value)


def decode_fields(fields: Any) -> Fields:
    return {name: decode(value) for name, value in fields.items()}


_DECODERS: Final[Mapping[str | None, Callable[[Any], Value]]] = {
    "null_value": lambda _: None,
    "boolean_value": lambda v: bool(v.boolean_value),
    "integer_value": lambda v: int(v.integer_value),
    "double_value": lambda v: float(v.double_value),
    "timestamp_value": lambda v: moment(v.timestamp_value),
    "string_value": lambda v: str(v.string_value),
    "bytes_value": lambda v: bytes(v.bytes_value),
    "reference_value": lambda v: Reference(v.reference_value),
    "geo_point_value": lambda v: GeoPoint(v.geo_point_value.latitude, v.geo_point_value.longitude),
    "array_value": lambda v: [decode(item) for item in v.array_value.values],
    "map_value": lambda v: decode_fields(v.map_value.fields),
}


def encode(value: Value) -> Any:
    """TypeError for what Firestore has no type for, a naive datetime included."""
    pb = ValuePb()
    encode_into(pb, value)
    return pb


def encode_into(pb: Any, value: Value) -> None:
    match value:
        case None:
            pb.null_value = 0
        case bool():  # before int: a bool is one
            pb.boolean_value = value
        case int():
            pb.integer_value = value
        case float():
            pb.double_value = value
        case str():
            pb.string_value = value
        case _:
            _encode_composite(pb, value)


def _encode_composite(pb: Any, value: Value) -> None:
    match value:
        case datetime():
            _encode_moment(pb.timestamp_value, value)
        case bytes():
            pb.bytes_value = value
        case Reference():
            pb.reference_value = value.name
        case GeoPoint():
            pb.geo_point_value.latitude, pb.geo_point_value.longitude = value.latitude, value.longitude
        case Mapping():
            pb.map_value.SetInParent()
            encode_fields(pb.map_value.fields, value)
        case list() | tuple():
            pb.array_value.SetInParent()
            for item in value:
                encode_into(pb.array_value.values.add(), item)
        case _:
            raise TypeError(f"Firestore has no type for {type(value).__name__}")


def _encode_moment(pb: Any, value: datetime) -> None:
    if value.tzinfo is None:
        raise TypeError("a time without a zone cannot be stored")
    since = value - _EPOCH
    pb.SetInParent()
    pb.seconds, pb.nanos = since.days * 86_400 + since.seconds, since.microseconds * 1000


def encode_fields(pb: Any, fields: Fields) -> None:
    for name, value in fields.items():
        encode_into(pb[name], value)


def decode_document(pb: Any, root: str) -> Document:
    """``root`` is the database's documents prefix with its slash, taken off the document's name."""
    return Document(pb.name.removeprefix(root), decode_fields(pb.fields), moment(pb.update_time))


def encode_write(write: Write, root: str) -> Any:
    pb = WritePb()
    match write:
        case Delete(path):
            pb.delete = root + path
        case Put(path, fields):
            pb.update.name = root + path
            encode_fields(pb.update.fields, fields)
        case Merge(path, _):
            pb.update.name = root + path
            _encode_merge(pb, write)
    return pb


def _encode_merge(pb: Any, write: Merge) -> None:
    pb.update_mask.SetInParent()  # an empty mask changes only what the transforms name
    for name, change in write.fields.items():
        match change:
            case Increment(by):
                pb.update_transforms.add(field_path=field_path(name), increment={"integer_value": by})
            case Remove():
                pb.update_mask.field_paths.append(field_path(name))
            case _:
                pb.update_mask.field_paths.append(field_path(name))
                encode_into(pb.update.fields[name], change)
