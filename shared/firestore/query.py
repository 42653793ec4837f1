"""A query as plain data, built straight into the protobuf message."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Self

from google.cloud.firestore_v1.types import query as query_types

from shared.firestore import codec
from shared.operations import Document, Reference, Value

Operator = Literal["==", "<", "<=", ">", ">=", "!=", "in", "array-contains"]
NAME: Final = "__name__"

_StructuredQuery: Final = query_types.StructuredQuery.pb()
_OPERATORS: Final[dict[Operator, str]] = {
    "==": "EQUAL",
    "<": "LESS_THAN",
    "<=": "LESS_THAN_OR_EQUAL",
    ">": "GREATER_THAN",
    ">=": "GREATER_THAN_OR_EQUAL",
    "!=": "NOT_EQUAL",
    "in": "IN",
    "array-contains": "ARRAY_CONTAINS",
}


@dataclass(frozen=True, slots=True)
class Query:
    """``collection`` is a path (``events/e1/ragers``) or, with ``group``, a collection id at any depth.

    All conditions must hold. Without ``order_by`` results come by name.
    """

    collection: str
    where: Sequence[tuple[str, Operator, Value]] = ()
    order_by: Sequence[str] = ()
    descending: bool = False
    limit: int | None = None
    group: bool = False
    select: Sequence[str] = ()
    """The fields that are wanted; all when empty. The fields of the order are added, for the pages."""
    cursor: Document | None = None

    @property
    def parent(self) -> str:
        """The document that holds the collection, empty for the root."""
        return "" if self.group else self.collection.rpartition("/")[0]

    def page(self, size: int) -> Self:
        return replace(self, limit=size)

    def after(self, document: Document) -> Self:
        """The results that follow this one."""
        return replace(self, cursor=document)

    def to_pb(self, root: str) -> Any:
        pb = _StructuredQuery()
        pb.from_.add(collection_id=self.collection.rpartition("/")[2], all_descendants=self.group)
        self._add_filters(pb)
        direction = "DESCENDING" if self.descending else "ASCENDING"
        for field in (*self.order_by, NAME):
            pb.order_by.add(field={"field_path": field}, direction=direction)
        for field in dict.fromkeys((*self.select, *self.order_by)) if self.select else ():
            pb.select.fields.add(field_path=field)
        if self.limit is not None:
            pb.limit.value = self.limit
        if self.cursor is not None:
            self._add_cursor(pb, self.cursor, root)
        return pb

    def _add_filters(self, pb: Any) -> None:
        if self.where:
            pb.where.composite_filter.op = "AND"
        for field, operator, value in self.where:
            condition = pb.where.composite_filter.filters.add()
            if value is None and operator == "==":
                condition.unary_filter.field.field_path = field
                condition.unary_filter.op = "IS_NULL"
                continue
            condition.field_filter.field.field_path = field
            condition.field_filter.op = _OPERATORS[operator]
            codec.encode_into(condition.field_filter.value, value)

    def _add_cursor(self, pb: Any, last: Document, root: str) -> None:
        for field in self.order_by:
            codec.encode_into(pb.start_at.values.add(), (last.fields or {}).get(field))
        codec.encode_into(pb.start_at.values.add(), Reference(root + last.path))
        pb.start_at.before = False
