"""Between protobuf messages and plain values. Plain message classes only: proto-plus is ten times slower."""

from typing import Any, Final, TypeAlias

from google.cloud.firestore_v1.types import document
from google.protobuf.timestamp_pb2 import Timestamp as TimestampPb

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.names import parse_document
from deploy.local.firestore.values import Fields, GeoPoint, Reference, Timestamp, Value, Vector

Message: TypeAlias = Any  # the generated classes carry no annotations

MapValue: Final = document.MapValue.pb()
_TYPE: Final = "__type__"
_VECTOR: Final = "__vector__"
_ELEMENTS: Final = "value"
_EARLIEST: Final = -62_135_596_800  # 0001-01-01T00:00:00Z
_LATEST: Final = 253_402_300_799  # 9999-12-31T23:59:59Z
_MICROS: Final = 1_000_000
_NANOS: Final = 1_000_000_000


def decode_fields(fields: Message) -> Fields:
    """The plain form of a ``map<string, Value>``."""
    return {name: decode_value(value) for name, value in fields.items()}


def encode_fields(fields: Fields, into: Message) -> None:
    """Fill a ``map<string, Value>``."""
    for name, value in fields.items():
        encode_value(value, into[name])


def pack_fields(fields: Fields) -> bytes:
    """A serialized ``MapValue``; equal fields give equal bytes. Documents are answered from it as it is."""
    message = MapValue()
    encode_fields(fields, message.fields)
    blob: bytes = message.SerializeToString(deterministic=True)
    return blob


def unpack_fields(blob: bytes) -> Fields:
    return decode_fields(MapValue.FromString(blob).fields)


def decode_value(value: Message) -> Value:  # noqa: PLR0911  one return per type: this is a table
    """The plain form of a ``Value``; raises InvalidArgument for one that Firestore does not store."""
    kind = value.WhichOneof("value_type")
    plain: Value
    match kind:
        case "string_value" | "integer_value" | "boolean_value" | "double_value" | "bytes_value":
            plain = getattr(value, kind)
            return plain
        case "null_value":
            return None
        case "timestamp_value":
            return decode_timestamp(value.timestamp_value)
        case "map_value":
            return _decode_map(value.map_value.fields)
        case "array_value":
            return [decode_value(element) for element in value.array_value.values]
        case "reference_value":
            return _decode_reference(value.reference_value)
        case "geo_point_value":
            return _decode_geo_point(value.geo_point_value)
    raise InvalidArgument(
        f"A value has the type {kind or '(none)'}, which cannot be stored. Set one of Firestore's types."
    )


def encode_value(value: Value, into: Message) -> None:  # noqa: C901, PLR0912  one branch per type: this is a table
    """Fill an empty ``Value``."""
    match value:
        case str():
            into.string_value = value
        case None:
            into.null_value = 0
        case bool():
            into.boolean_value = value
        case int():
            into.integer_value = value
        case float():
            into.double_value = value
        case Timestamp():
            encode_timestamp(value, into.timestamp_value)
        case dict():
            into.map_value.SetInParent()
            encode_fields(value, into.map_value.fields)
        case list():
            into.array_value.SetInParent()
            for element in value:
                encode_value(element, into.array_value.values.add())
        case bytes():
            into.bytes_value = value
        case Reference():
            into.reference_value = value.name
        case GeoPoint():
            into.geo_point_value.latitude = value.latitude
            into.geo_point_value.longitude = value.longitude
        case Vector():
            _encode_vector(value, into.map_value.fields)


def decode_timestamp(message: TimestampPb) -> Timestamp:
    """Rounded down to microseconds, as production stores it."""
    if not (_EARLIEST <= message.seconds <= _LATEST and 0 <= message.nanos < _NANOS):
        raise InvalidArgument(
            f"Timestamp {message.seconds} s {message.nanos} ns is out of range: "
            "years 1 to 9999, nanos 0 to 999,999,999."
        )
    return Timestamp(message.seconds * _MICROS + message.nanos // 1000)


def encode_timestamp(timestamp: Timestamp, into: TimestampPb) -> None:
    into.seconds, micros = divmod(timestamp.micros, _MICROS)
    into.nanos = micros * 1000


def _decode_map(fields: Message) -> Value:
    if _TYPE in fields:
        return _decode_typed_map(fields)
    return decode_fields(fields)


def _decode_typed_map(fields: Message) -> Value:
    """A map with ``__type__`` is a value type of its own; vectors are the only one."""
    if fields[_TYPE].string_value != _VECTOR or set(fields) != {_TYPE, _ELEMENTS}:
        raise InvalidArgument('A map with the reserved key "__type__" must be a vector: "__vector__" and "value".')
    elements = [decode_value(element) for element in fields[_ELEMENTS].array_value.values]
    numbers = [float(element) for element in elements if isinstance(element, float | int)]
    if len(numbers) != len(elements):
        raise InvalidArgument("Every element of a vector must be a double.")
    return Vector(tuple(numbers))


def _encode_vector(vector: Vector, fields: Message) -> None:
    fields[_TYPE].string_value = _VECTOR
    elements = fields[_ELEMENTS].array_value
    elements.SetInParent()
    for number in vector.values:
        elements.values.add().double_value = number


def _decode_reference(name: str) -> Reference:
    parse_document(name)
    return Reference(name)


def _decode_geo_point(point: Message) -> GeoPoint:
    if not (-90 <= point.latitude <= 90 and -180 <= point.longitude <= 180):  # noqa: PLR2004  degrees
        raise InvalidArgument(
            f"Geo point {point.latitude}, {point.longitude} is not on Earth: latitude -90 to 90, longitude -180 to 180."
        )
    return GeoPoint(point.latitude, point.longitude)
