"""PartitionQuery: where to cut a collection group so that workers can read its parts at the same time."""

from deploy.local.firestore.errors import InvalidArgument
from deploy.local.firestore.query import NAME_FIELD, Order, Query, View
from deploy.local.firestore.run import run_query


def partition_points(query: Query, view: View, count: int) -> list[str]:
    """At most ``count`` document paths, in order, that cut the group into parts of nearly equal size.

    ``count`` is one less than the number of parts, as the RPC has it. A part starts with its document. Reads the
    group once, which is fair for what one machine holds.
    """
    _check_partitionable(query)
    if count < 1:
        raise InvalidArgument(f"partition_count is {count}; it must be greater than zero.")
    paths = [document.path for document in run_query(query, view)]
    places = sorted({len(paths) * part // (count + 1) for part in range(1, count + 1)} - {0})
    return [paths[place] for place in places]


def _check_partitionable(query: Query) -> None:
    """The RPC's own conditions: a whole collection group, in the order of names."""
    if not query.scope.all_descendants:
        raise InvalidArgument("PartitionQuery requires a collection group query (all_descendants).")
    restricted = (query.where, query.start, query.end, query.limit, query.select)
    if query.orders != (Order(NAME_FIELD),) or query.offset or any(part is not None for part in restricted):
        raise InvalidArgument(
            "PartitionQuery requires an order by __name__ ascending and no filter, cursor, offset, limit or projection."
        )
