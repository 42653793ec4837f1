"""What queries promise, over the wire, with both unchanged clients."""

import math
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1.base_query import And, BaseCompositeFilter, FieldFilter, Or
from google.cloud.firestore_v1.field_path import FieldPath

from deploy.local.firestore.server import EmbeddedFirestore
from tests.support.firestore_faces import Face, showing

NUMBERS: dict[str, dict[str, Any]] = {name: {"n": n} for n, name in enumerate("abcdef")}
MIXED: dict[str, dict[str, Any]] = {
    "missing": {},
    "null": {"v": None},
    "nan": {"v": math.nan},
    "zero": {"v": 0},
    "one": {"v": 1},
    "half": {"v": 0.5},
    "text": {"v": "1"},
    "list": {"v": [1, "x", None]},
}


@pytest.fixture(params=["sync", "async"])
async def face(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Face]:
    """A client of either kind of an empty Firestore that answers every query, indexed or not."""
    async with EmbeddedFirestore() as server:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", server.host)
        async with showing(request.param, "demo-test") as face:
            yield face


def where(field: str, op: str, value: Any) -> FieldFilter:
    return FieldFilter(field, op, value)


class TestFilters:
    @pytest.mark.parametrize(
        ("op", "value", "found"),
        [
            ("==", 1, {"one"}),
            ("==", None, {"null"}),
            ("==", math.nan, {"nan"}),
            ("!=", 1, {"nan", "zero", "half", "text", "list"}),
            ("!=", None, {"nan", "zero", "one", "half", "text", "list"}),
            ("!=", math.nan, {"zero", "one", "half", "text", "list"}),
            (">", 0, {"one", "half"}),
            (">=", 0, {"zero", "one", "half"}),
            ("<", 1, {"nan", "zero", "half"}),
            ("<=", "2", {"text"}),
            ("in", [0, "1", [1, "x", None]], {"zero", "text", "list"}),
            ("in", [None, math.nan, 0], {"zero"}),
            ("not-in", [0, 1], {"nan", "half", "text", "list"}),
            ("not-in", [0, None], set()),
            ("array_contains", "x", {"list"}),
            ("array_contains_any", ["y", 1.0], {"list"}),
        ],
    )
    async def test_each_operator(self, face: Face, op: str, value: Any, found: set[str]) -> None:
        await face.write(**MIXED)
        assert set(await face.ids(face.client.collection("c").where(filter=where("v", op, value)))) == found

    @pytest.mark.parametrize(
        ("both", "found"),
        [
            (And([where("n", ">", 1), where("n", "<", 4)]), ["c", "d"]),
            (Or([where("n", "==", 5), where("n", "<", 1)]), ["a", "f"]),
            (And([Or([where("n", "==", 1), where("n", "==", 3)]), where("n", ">", 2)]), ["d"]),
            (Or([And([where("n", ">", 0), where("n", "<", 2)]), where("n", "in", [4, 5])]), ["b", "e", "f"]),
        ],
    )
    async def test_filters_nest(self, face: Face, both: BaseCompositeFilter, found: list[str]) -> None:
        await face.write(**NUMBERS)
        assert await face.ids(face.client.collection("c").where(filter=both)) == found

    async def test_a_document_that_satisfies_two_alternatives_comes_once(self, face: Face) -> None:
        await face.write(**NUMBERS)
        either = Or([where("n", ">", 3), where("n", ">", 2)])
        assert await face.ids(face.client.collection("c").where(filter=either)) == ["d", "e", "f"]

    async def test_inequalities_on_several_fields(self, face: Face) -> None:
        await face.write(a={"p": 1, "q": 9}, b={"p": 5, "q": 1}, c={"p": 3, "q": 3}, d={"p": 9})
        query = face.client.collection("c").where(filter=where("p", ">", 1)).where(filter=where("q", "<", 9))
        assert await face.ids(query) == ["c", "b"]

    async def test_fields_of_maps_and_quoted_names(self, face: Face) -> None:
        await face.write(a={"m": {"x": 1, "y.z": 1}}, b={"m": {"x": 2, "y.z": 2}})
        collection = face.client.collection("c")
        assert await face.ids(collection.where(filter=where("m.x", "==", 2))) == ["b"]
        assert await face.ids(collection.where(filter=where("m.`y.z`", "==", 1))) == ["a"]
        assert await face.ids(collection.where(filter=where("m", "==", {"y.z": 2, "x": 2}))) == ["b"]

    async def test_names_can_be_filtered(self, face: Face) -> None:
        await face.write(**NUMBERS)
        collection, name = face.client.collection("c"), FieldPath.document_id()
        assert await face.ids(collection.where(filter=where(name, "==", collection.document("b")))) == ["b"]
        assert await face.ids(collection.where(filter=where(name, ">", collection.document("d")))) == ["e", "f"]
        wanted = [collection.document(each) for each in ("f", "a", "none")]
        assert await face.ids(collection.where(filter=where(name, "in", wanted))) == ["a", "f"]

    async def test_integers_beyond_doubles_are_told_apart(self, face: Face) -> None:
        await face.write(a={"n": 2**53}, b={"n": 2**53 + 1})
        assert await face.ids(face.client.collection("c").where(filter=where("n", ">", float(2**53)))) == ["b"]


class TestOrder:
    async def test_documents_come_by_name_unless_told_otherwise(self, face: Face) -> None:
        await face.write(**{name: {} for name in ("b", "__id10__", "a", "B", "__id9__", "é")})
        assert await face.ids(face.client.collection("c").order_by("__name__")) == [
            "__id9__",
            "__id10__",
            "B",
            "a",
            "b",
            "é",
        ]

    async def test_values_of_all_types_are_sorted_and_missing_ones_left_out(self, face: Face) -> None:
        await face.write(**MIXED)
        ordered = ["null", "nan", "zero", "half", "one", "text", "list"]
        collection = face.client.collection("c")
        assert await face.ids(collection.order_by("v")) == ordered
        assert await face.ids(collection.order_by("v", direction="DESCENDING")) == ordered[::-1]

    async def test_ties_are_broken_by_name_in_the_same_direction(self, face: Face) -> None:
        await face.write(a={"n": 1}, b={"n": 1}, c={"n": 0})
        collection = face.client.collection("c")
        assert await face.ids(collection.order_by("n")) == ["c", "a", "b"]
        assert await face.ids(collection.order_by("n", direction="DESCENDING")) == ["b", "a", "c"]

    async def test_an_inequality_orders_by_its_field(self, face: Face) -> None:
        await face.write(a={"n": 3}, b={"n": 2}, c={"n": 1})
        assert await face.ids(face.client.collection("c").where(filter=where("n", ">", 1))) == ["b", "a"]


class TestPages:
    async def test_limit_and_offset(self, face: Face) -> None:
        await face.write(**NUMBERS)
        ordered = face.client.collection("c").order_by("n")
        assert await face.ids(ordered.limit(2)) == ["a", "b"]
        assert await face.ids(ordered.offset(4)) == ["e", "f"]
        assert await face.ids(ordered.offset(1).limit(2)) == ["b", "c"]

    async def test_the_last_ones(self, face: Face) -> None:
        await face.write(**NUMBERS)
        assert await face.ids(face.client.collection("c").order_by("n").limit_to_last(2)) == ["e", "f"]

    async def test_cursors_by_value(self, face: Face) -> None:
        await face.write(**NUMBERS)
        ordered = face.client.collection("c").order_by("n")
        assert await face.ids(ordered.start_at({"n": 4})) == ["e", "f"]
        assert await face.ids(ordered.start_after({"n": 4})) == ["f"]
        assert await face.ids(ordered.end_at({"n": 1})) == ["a", "b"]
        assert await face.ids(ordered.end_before({"n": 1})) == ["a"]
        assert await face.ids(ordered.start_at({"n": "text"})) == []

    async def test_a_cursor_may_name_the_first_fields_only(self, face: Face) -> None:
        await face.write(a={"p": 1, "q": 1}, b={"p": 1, "q": 2}, c={"p": 2, "q": 0})
        ordered = face.client.collection("c").order_by("p").order_by("q", direction="DESCENDING")
        assert await face.ids(ordered.start_at({"p": 1})) == ["b", "a", "c"]
        assert await face.ids(ordered.start_after({"p": 1})) == ["c"]
        assert await face.ids(ordered.end_at({"p": 1})) == ["b", "a"]

    async def test_pages_by_document_visit_every_document_once(self, face: Face) -> None:
        await face.write(**{f"{i:02}": {"n": i % 3} for i in range(20)})
        ordered = face.client.collection("c").where(filter=where("n", ">=", 0)).order_by("n").limit(3)
        seen: list[str] = []
        page: list[Any] = await face.call(ordered.get)
        while page:
            seen += [snapshot.id for snapshot in page]
            page = await face.call(ordered.start_after(page[-1]).get)
        assert seen == sorted((f"{i:02}" for i in range(20)), key=lambda name: (int(name) % 3, name))


class TestResults:
    async def test_a_projection_keeps_the_shape(self, face: Face) -> None:
        await face.write(a={"n": 1, "m": {"x": 1, "y": 2}})
        [chosen] = await face.call(face.client.collection("c").select(["m.x", "none"]).get)
        assert chosen.to_dict() == {"m": {"x": 1}}
        [named] = await face.call(face.client.collection("c").select([]).get)
        assert (named.id, named.to_dict()) == ("a", {})

    async def test_a_collection_is_not_its_namesakes(self, face: Face) -> None:
        for path in ("c/a", "c/a/c/b", "d/x/c/y", "d/x/e/z"):
            await face.call(face.client.document(path).set, {"n": 1})
        assert await face.ids(face.client.collection("c").where(filter=where("n", "==", 1))) == ["a"]
        assert await face.ids(face.client.collection("c/a/c").order_by("n")) == ["b"]
        group = face.client.collection_group("c")
        assert await face.ids(group.where(filter=where("n", "==", 1))) == ["a", "b", "y"]
        assert await face.ids(group.order_by("n", direction="DESCENDING")) == ["y", "b", "a"]

    async def test_projects_and_databases_are_apart(self, face: Face) -> None:
        await face.write(a={})
        other = type(face.client)(project="other")
        try:
            assert await Face(other).ids(other.collection("c").order_by("__name__")) == []
        finally:
            closed = other._firestore_api.transport.close()
            if closed is not None:
                await closed

    async def test_a_change_is_found_under_its_new_value_only(self, face: Face) -> None:
        await face.write(a={"n": 1, "t": ["x"]})
        await face.write(a={"n": 2, "t": ["y"]})
        collection = face.client.collection("c")
        assert await face.ids(collection.where(filter=where("n", "==", 1))) == []
        assert await face.ids(collection.where(filter=where("t", "array_contains", "x"))) == []
        assert await face.ids(collection.where(filter=where("t", "array_contains", "y"))) == ["a"]
        await face.call(collection.document("a").delete)
        assert await face.ids(collection.where(filter=where("n", "==", 2))) == []


class TestAggregations:
    async def test_several_at_once(self, face: Face) -> None:
        await face.write(**NUMBERS)
        query = face.client.collection("c").where(filter=where("n", ">", 0))
        results = await face.aggregate(query.count(alias="all").sum("n", alias="sum").avg("n", alias="mean"))
        assert results == {"all": 5, "sum": 15, "mean": 3.0}

    async def test_nothing_to_aggregate(self, face: Face) -> None:
        collection = face.client.collection("c")
        results = await face.aggregate(collection.count(alias="all").sum("n", alias="sum").avg("n", alias="mean"))
        assert results == {"all": 0, "sum": 0, "mean": 0.0}  # the client reads the null of the average as zero

    async def test_limits_apply_before_counting(self, face: Face) -> None:
        await face.write(**NUMBERS)
        assert await face.aggregate(face.client.collection("c").limit(4).count(alias="all")) == {"all": 4}


class TestGroups:
    async def test_partitions_cover_a_group_once(self, face: Face) -> None:
        await face.write(**{f"{i:03}": {} for i in range(200)})
        group = face.client.collection_group("c")
        parts = group.get_partitions(4)  # points, so five parts
        listed = [part async for part in parts] if hasattr(parts, "__aiter__") else await face.call(list, parts)
        pages = [await face.ids(part.query()) for part in listed]
        assert [len(page) for page in pages] == [40] * 5
        assert [name for page in pages for name in page] == [f"{i:03}" for i in range(200)]

    @pytest.mark.parametrize("face", ["sync"], indirect=True)  # the asynchronous client's own blocks its event loop
    async def test_a_recursive_delete_leaves_the_neighbours(self, face: Face) -> None:
        for path in ("c/a", "c/a/d/b", "c/a/d/b/e/f", "cc/a", "d/a"):
            await face.call(face.client.document(path).set, {"n": 1})
        await face.call(face.client.recursive_delete, face.client.collection("c"))
        left = [await face.call(face.client.document(path).get) for path in ("c/a", "c/a/d/b", "c/a/d/b/e/f")]
        assert not any(snapshot.exists for snapshot in left)
        assert (await face.call(face.client.document("cc/a").get)).exists


class TestRefusals:
    @pytest.mark.parametrize(
        ("refused", "sentence"),
        [
            (where("n", "in", list(range(31))), "'IN' supports up to 30 comparison values."),
            (where("n", "not-in", list(range(11))), "'NOT_IN' supports up to 10 comparison values."),
            (And([where("n", "!=", 1), where("n", "not-in", [2])]), "Only a single 'NOT_EQUAL', 'NOT_IN'"),
            (And([where("n", "array_contains", 1), where("n", "array_contains", 2)]), "A maximum of 1"),
        ],
    )
    async def test_filters_that_production_refuses(self, face: Face, refused: Any, sentence: str) -> None:
        with pytest.raises(exceptions.InvalidArgument, match=sentence):
            await face.ids(face.client.collection("c").where(filter=refused))

    async def test_vector_search_is_refused_by_name(self, face: Face) -> None:
        from google.cloud.firestore_v1.base_vector_query import DistanceMeasure  # noqa: PLC0415  only here
        from google.cloud.firestore_v1.vector import Vector  # noqa: PLC0415  only here

        query = face.client.collection("c").find_nearest(
            "v", Vector([1.0]), limit=1, distance_measure=DistanceMeasure.COSINE
        )
        with pytest.raises(exceptions.MethodNotImplemented, match="find_nearest"):
            await face.ids(query)
