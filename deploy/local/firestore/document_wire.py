"""Documents as messages; the whole document is answered from its blob, without decoding it."""

from collections.abc import Sequence

from deploy.local.firestore.documents import Document
from deploy.local.firestore.field_paths import FieldPath, Missing, get_field
from deploy.local.firestore.values import Fields, Timestamp
from deploy.local.firestore.wire import MapValue, Message, encode_fields, encode_timestamp
from deploy.local.firestore.writes import put_field


def encode_document(document: Document, select: Sequence[FieldPath] | None, into: Message) -> None:
    """Fill a ``Document``; ``select`` None is all fields."""
    into.name = document.name
    encode_timestamp(Timestamp(document.create_time), into.create_time)
    encode_timestamp(Timestamp(document.update_time), into.update_time)
    if select is None:
        into.fields.MergeFrom(MapValue.FromString(document.blob).fields)
    else:
        encode_fields(project(document.fields, select), into.fields)


def project(fields: Fields, select: Sequence[FieldPath]) -> Fields:
    """The selected fields that exist, in their maps."""
    chosen: Fields = {}
    for path in select:
        value = get_field(fields, path)
        if not isinstance(value, Missing):
            put_field(chosen, path, value)
    return chosen
