"""Field paths: dotted names, with backticks around the names that are not plain identifiers.

The grammar is that of ``google.firestore.v1.StructuredQuery.FieldReference``.
"""

import re
from enum import Enum
from typing import Final, TypeAlias

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.values import Fields, Value

FieldPath: TypeAlias = tuple[str, ...]

NAME: Final = "__name__"
"""The field reference that stands for the document's own name."""

_SIMPLE: Final = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_SEGMENT: Final = re.compile(r"(?:([A-Za-z_][A-Za-z_0-9]*)|`((?:[^`\\]|\\.)+)`)(?:\.(?=.)|\Z)", re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


class Missing(Enum):
    """No field at all, which is not null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


def parse_field_path(text: str) -> FieldPath:
    """Split a path like ``a.`b.c`.d`` into its names."""
    names: list[str] = []
    position = 0
    while position < len(text) or not names:
        segment = _SEGMENT.match(text, position)
        if segment is None:
            raise InvalidArgument(
                f'Invalid property path "{text}". Separate names with dots; put a name that is not '
                "made of letters, digits and underscores between backticks."
            )
        names.append(segment[1] or _ESCAPED.sub(r"\1", segment[2]))
        position = segment.end()
    return tuple(names)


def render_field_path(path: FieldPath) -> str:
    return ".".join(map(render_name, path))


def render_name(name: str) -> str:
    if _SIMPLE.fullmatch(name):
        return name
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def get_field(fields: Fields, path: FieldPath) -> Value | Missing:
    """The value at the path, or ``MISSING`` where a name on the way is absent or not in a map."""
    value: Value = fields
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return MISSING
        value = value[name]
    return value
