"""A stored document."""

from dataclasses import dataclass, field

from deploy.local.firestore.values import Fields
from deploy.local.firestore.wire import unpack_fields


@dataclass(frozen=True, slots=True)
class Document:
    """One version of a document; its fields are decoded when they are first asked for.

    ``database`` is ``projects/{project}/databases/{database}``, ``path`` is relative to its root (``events/e1``),
    ``blob`` a serialized ``MapValue``, the times are microseconds since 1970 UTC.
    """

    database: str
    path: str
    blob: bytes
    create_time: int
    update_time: int
    _fields: list[Fields] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def fields(self) -> Fields:
        """Shared by all who ask: never change it."""
        if not self._fields:
            self._fields.append(unpack_fields(self.blob))
        return self._fields[0]

    @property
    def name(self) -> str:
        return resource_name(self.database, self.path)


def resource_name(database: str, path: str) -> str:
    """The full name that clients use, of a document or of the root (an empty path)."""
    return f"{database}/documents/{path}" if path else f"{database}/documents"
