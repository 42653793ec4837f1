"""Sales and scans of one hot event: ``python -m tests.bench.sales [orders]``.

The same work is done with and without group commit in one run, because only their ratio means anything on a machine
that others use too.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from deploy.local.firestore.fault_control import FaultControl
from services.checkout.batches import NewTickets
from services.checkout.buyers import Buyer
from services.checkout.fulfilment import FulfilOrder, PaidOrder
from shared.documents import OrderItem
from shared.firestore.client import Database
from shared.firestore.committer import Committer, Limits
from shared.firestore.metrics import CommitterMetrics
from tests.support.firestore_process import running
from tests.support.shop import check_invariants, event_on_sale

ORDERS = 400


@dataclass(frozen=True, slots=True)
class Figures:
    per_second: float
    median: float
    """Seconds."""
    commits: int


def order(event_id: str, number: int) -> FulfilOrder:
    buyer = Buyer(f"{event_id}-buyer{number}", None, None, None)
    paid = PaidOrder(f"pi_{event_id}_{number}", buyer, None, 2500, "usd", [OrderItem(event_id, 1, unit_cents=2500)])
    return FulfilOrder(paid, [NewTickets.draw()], datetime.now(UTC))


async def sell(database: Database, control: FaultControl, event_id: str, limits: Limits, orders: int) -> Figures:
    """All orders of one event at once."""
    await event_on_sale(database, event_id, orders)
    committer = Committer(database, CommitterMetrics(CollectorRegistry()), limits=limits)
    latencies: list[float] = []

    async def buy(number: int) -> None:
        since = time.perf_counter()
        fulfilled = await committer.run(order(event_id, number))
        assert fulfilled.ledger.status == "completed"
        latencies.append(time.perf_counter() - since)

    await control.calls(reset=True)
    since = time.perf_counter()
    await asyncio.gather(*map(buy, range(orders)))
    seconds = time.perf_counter() - since
    commits = (await control.calls())["Commit"]
    await check_invariants(database, event_id)
    return Figures(orders / seconds, sorted(latencies)[orders // 2], commits)


def told(name: str, figures: Figures) -> None:
    print(
        f"{name}: {figures.per_second:.0f} orders/s, median {figures.median * 1000:.0f} ms, {figures.commits} commits"
    )


async def measure(orders: int = ORDERS) -> None:
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as environment:
        async with running(Path(directory)) as (_, host), FaultControl(host) as control:
            environment.setenv("FIRESTORE_EMULATOR_HOST", host)
            database = Database.connect("demo-bench")
            patient = 300.0
            alone = await sell(database, control, "alone", Limits(operations=1, deadline=patient), orders)
            grouped = await sell(database, control, "grouped", Limits(deadline=patient), orders)
            told(f"{orders} orders of one event, one commit each", alone)
            told(f"{orders} orders of one event, group commit", grouped)
            print(f"group commit sells {grouped.per_second / alone.per_second:.1f} times as fast")
            await database.close()


def main(arguments: Sequence[str]) -> None:
    asyncio.run(measure(*map(int, arguments[:1])))


if __name__ == "__main__":
    main(sys.argv[1:])
