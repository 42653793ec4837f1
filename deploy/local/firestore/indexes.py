"""Whether production could answer a query with the indexes it has been given.

The rules are those of https://firebase.google.com/docs/firestore/query-data/index-overview: an index serves a query
when its last fields are the query's order, in the same directions, and the fields before them are compared for
equality. Indexes with the same ending merge, so that together they need to cover all equalities.

The documentation is silent on whether array-contains merges with equalities. Production does it: among the tests that
firebase-js-sdk runs against it without composite indexes (packages/firestore/test/integration/api/query.test.ts,
"supports using in with array contains"; those that want an index are kept apart) are ``a in [2, 3] and b
array-contains 7`` and ``b array-contains 3 and a == 1``.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from deploy.local.firestore.errors import FailedPrecondition
from deploy.local.firestore.field_paths import NAME, FieldPath, render_field_path
from deploy.local.firestore.index_file import Index, IndexDefinitions, IndexField, Mode, QueryScope
from deploy.local.firestore.normal_form import disjuncts
from deploy.local.firestore.query import NAME_FIELD, FieldFilter, Op, Query

_EQUALITIES: Final = frozenset({Op.EQUAL, Op.IN})
_CONTAINMENT: Final = frozenset({Op.ARRAY_CONTAINS, Op.ARRAY_CONTAINS_ANY})


@dataclass(frozen=True, slots=True)
class _Wanted:
    """``mode`` None: any."""

    path: str
    mode: Mode | None

    def is_met_by(self, field: IndexField) -> bool:
        return field.path == self.path and self.mode in (None, field.mode)


@dataclass(frozen=True, slots=True)
class _Need:
    """What one term of a query asks of the indexes; ``ending`` is the order, and the name in it."""

    collection: str
    scope: QueryScope
    equalities: frozenset[str]
    contained: str | None
    ending: tuple[_Wanted, ...]

    @property
    def is_free(self) -> bool:
        """Documents are stored by name: that order costs nothing, forwards."""
        return not self.equalities and self.contained is None and self.ending == (_Wanted(NAME, "ASCENDING"),)


def check_indexes(query: Query, definitions: IndexDefinitions, aggregated: Sequence[FieldPath] = ()) -> None:
    """Raise FailedPrecondition, with the index to add, where production would; ``aggregated`` are summed fields."""
    if query.scope.collection_id is None:
        return  # such queries only know names
    for term in disjuncts(query.where):
        if any(test.field == NAME_FIELD and test.op in _EQUALITIES for test in term):
            continue
        need = _need(query, query.scope.collection_id, term, aggregated)
        if not _is_met(need, definitions):
            raise FailedPrecondition(_advice(need, definitions))


def _need(query: Query, collection: str, term: Sequence[FieldFilter], aggregated: Sequence[FieldPath]) -> _Need:
    equalities = frozenset(render_field_path(test.field) for test in term if test.op in _EQUALITIES)
    contained = [render_field_path(test.field) for test in term if test.op in _CONTAINMENT]
    scope: QueryScope = "COLLECTION_GROUP" if query.scope.all_descendants else "COLLECTION"
    ending = tuple(_ending(query, equalities, [render_field_path(field) for field in aggregated]))
    return _Need(collection, scope, equalities, contained[0] if contained else None, ending)


def _ending(query: Query, equalities: frozenset[str], aggregated: Sequence[str]) -> Iterator[_Wanted]:
    ordered = {render_field_path(order.field) for order in query.orders}
    summed = [_Wanted(path, None) for path in aggregated if path not in ordered | equalities]
    for order in query.orders:
        path, mode = render_field_path(order.field), _mode(order.descending)
        if path == NAME:
            yield from summed
            yield _Wanted(NAME, None if aggregated else mode)
        elif path not in equalities:
            yield _Wanted(path, mode)


def _mode(descending: bool) -> Mode:
    return "DESCENDING" if descending else "ASCENDING"


def _is_met(need: _Need, definitions: IndexDefinitions) -> bool:
    covered: set[str] = set()
    found = need.is_free
    for index in (*_single(need, definitions), *definitions.composite):
        beginning = _beginning(index, need)
        if beginning is not None:
            covered |= {field.path for field in beginning}
            found = True
    return found and covered >= need.equalities and (need.contained is None or need.contained in covered)


def _single(need: _Need, definitions: IndexDefinitions) -> Iterator[Index]:
    """The single-field indexes that could play a part."""
    leading = {wanted.path for wanted in need.ending} - {NAME}
    for path in need.equalities | leading | ({need.contained} if need.contained else set()):
        for scope, mode in definitions.single(need.collection, path):
            yield Index.over(need.collection, scope, (IndexField(path, mode),))


def _beginning(index: Index, need: _Need) -> tuple[IndexField, ...] | None:
    """The fields before the order, where the index can play a part in the query."""
    split = len(index.fields) - len(need.ending)
    if split < 0 or (index.collection, index.scope) != (need.collection, need.scope):
        return None
    pairs = zip(need.ending, index.fields[split:], strict=True)
    fits = all(wanted.is_met_by(field) for wanted, field in pairs) and _are_equalities(index.fields[:split], need)
    return index.fields[:split] if fits else None


def _are_equalities(fields: Iterable[IndexField], need: _Need) -> bool:
    return all(
        field.path == need.contained if field.mode == "CONTAINS" else field.path in need.equalities for field in fields
    )


def _advice(need: _Need, definitions: IndexDefinitions) -> str:
    fields = _missing_fields(need)
    listed = ", ".join(f"{field.path} {field.mode}" for field in fields)
    return f"The query requires an index. Missing on {need.collection} ({need.scope}): {listed}. " + _remedy(
        need, fields, definitions
    )


def _missing_fields(need: _Need) -> tuple[IndexField, ...]:
    """The smallest index that serves the query alone; the name is left out where it follows by itself."""
    contained = [IndexField(need.contained, "CONTAINS")] if need.contained else []
    equalities = [IndexField(path, "ASCENDING") for path in sorted(need.equalities)]
    ending = [IndexField(wanted.path, wanted.mode or "ASCENDING") for wanted in need.ending]
    fields = (*contained, *equalities, *ending)
    implied = len(fields) > 1 and Index.over(need.collection, need.scope, fields[:-1]).fields == fields
    return fields[:-1] if implied else fields


def _remedy(need: _Need, fields: tuple[IndexField, ...], definitions: IndexDefinitions) -> str:
    own = [field for field in fields if field.path != NAME]
    if len(own) > 1:
        return f'Add to "indexes" in firestore.indexes.json: {_composite_json(need, fields)}'
    if len(fields) == 1 and own:
        return f'Add to "fieldOverrides" in firestore.indexes.json: {_override_json(need, fields[0], definitions)}'
    return "No index can be created for it: order by __name__ in the direction of the field before it, or ascending."


def _composite_json(need: _Need, fields: Iterable[IndexField]) -> str:
    listed = [{"fieldPath": field.path, **_mode_json(field.mode)} for field in fields]
    return json.dumps({"collectionGroup": need.collection, "queryScope": need.scope, "fields": listed})


def _override_json(need: _Need, field: IndexField, definitions: IndexDefinitions) -> str:
    """An override replaces what the field had, so it repeats that."""
    modes = definitions.single(need.collection, field.path) | {(need.scope, field.mode)}
    listed = [{**_mode_json(mode), "queryScope": scope} for scope, mode in sorted(modes)]
    return json.dumps({"collectionGroup": need.collection, "fieldPath": field.path, "indexes": listed})


def _mode_json(mode: Mode) -> dict[str, str]:
    return {"arrayConfig": mode} if mode == "CONTAINS" else {"order": mode}
