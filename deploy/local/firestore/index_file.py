"""A ``firestore.indexes.json`` (https://firebase.google.com/docs/reference/firestore/indexes) as plain values."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.field_paths import NAME, parse_field_path, render_field_path

Mode: TypeAlias = Literal["ASCENDING", "DESCENDING", "CONTAINS"]
QueryScope: TypeAlias = Literal["COLLECTION", "COLLECTION_GROUP"]

DEFAULT_SINGLE: Final[frozenset[tuple[QueryScope, Mode]]] = frozenset(
    {("COLLECTION", "ASCENDING"), ("COLLECTION", "DESCENDING"), ("COLLECTION", "CONTAINS")}
)
"""The indexes that every field has unless an override says otherwise: none of them for collection groups."""


@dataclass(frozen=True, slots=True)
class IndexField:
    """``path`` is a rendered field path."""

    path: str
    mode: Mode


@dataclass(frozen=True, slots=True)
class Index:
    """``fields`` end with the name."""

    collection: str
    scope: QueryScope
    fields: tuple[IndexField, ...]

    @classmethod
    def over(cls, collection: str, scope: QueryScope, fields: tuple[IndexField, ...]) -> Self:
        """Append the name where it is missing, in the last field's direction, as production does."""
        if fields[-1].path == NAME:
            return cls(collection, scope, fields)
        mode: Mode = "DESCENDING" if fields[-1].mode == "DESCENDING" else "ASCENDING"
        return cls(collection, scope, (*fields, IndexField(NAME, mode)))


@dataclass(frozen=True, slots=True)
class IndexDefinitions:
    """``overrides`` replace the single-field indexes of (collection id, field path) and of the fields below it."""

    composite: tuple[Index, ...] = ()
    overrides: tuple[tuple[str, str, frozenset[tuple[QueryScope, Mode]]], ...] = ()

    def single(self, collection: str, path: str) -> frozenset[tuple[QueryScope, Mode]]:
        """The single-field indexes of a field."""
        return max(
            (
                (len(overridden), modes)
                for of, overridden, modes in self.overrides
                if of == collection and (path == overridden or path.startswith(overridden + "."))
            ),
            key=lambda found: found[0],
            default=(0, DEFAULT_SINGLE),
        )[1]


def load_indexes(path: Path) -> IndexDefinitions:
    """Raises ValueError, naming the file and every mistake in it."""
    try:
        file = _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is not a valid index file: {error}") from error
    composite = tuple(index.plain() for index in file.indexes if not index.is_vector)
    overrides = tuple(
        (override.collection_group, override.field_path, frozenset(index.plain() for index in override.indexes))
        for override in file.field_overrides
    )
    return IndexDefinitions(composite, overrides)


def _normal_path(path: str) -> str:
    try:
        return render_field_path(parse_field_path(path))
    except InvalidArgument as mistake:
        raise ValueError(str(mistake)) from mistake  # which pydantic collects, with the place


_FieldPath: TypeAlias = Annotated[str, AfterValidator(_normal_path), Field(alias="fieldPath")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # density, ttl and the like do not decide about queries


class _Moded(_Model):
    order: Literal["ASCENDING", "DESCENDING"] | None = None
    array_config: Literal["CONTAINS"] | None = Field(None, alias="arrayConfig")
    vector_config: object = Field(None, alias="vectorConfig")

    @property
    def mode(self) -> Mode:
        return self.array_config or self.order or "ASCENDING"


class _Field(_Moded):
    path: _FieldPath


class _Composite(_Model):
    collection_group: str = Field(alias="collectionGroup")
    query_scope: QueryScope = Field("COLLECTION", alias="queryScope")
    fields: tuple[_Field, ...] = Field(min_length=1)

    @property
    def is_vector(self) -> bool:
        return any(field.vector_config is not None for field in self.fields)

    def plain(self) -> Index:
        fields = tuple(IndexField(field.path, field.mode) for field in self.fields)
        return Index.over(self.collection_group, self.query_scope, fields)


class _Single(_Moded):
    query_scope: QueryScope = Field("COLLECTION", alias="queryScope")

    def plain(self) -> tuple[QueryScope, Mode]:
        return self.query_scope, self.mode


class _Override(_Model):
    collection_group: str = Field(alias="collectionGroup")
    field_path: _FieldPath
    indexes: tuple[_Single, ...]


class _File(_Model):
    indexes: tuple[_Composite, ...]
    field_overrides: tuple[_Override, ...] = Field((), alias="fieldOverrides")
