"""Orders and refunds that nobody came back for: looked at again until something has come of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from services.checkout.holds import OPEN
from services.checkout.metrics import CheckoutMetrics
from services.checkout.refunds import Refunds
from services.checkout.settlement import Settlement
from shared.documents import Job, PendingOrder, Refund
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Write
from shared.worker import Run

SWEEP: Final = "sweep_orders"
_PAGE: Final = 50
_log: Final = structlog.get_logger()
_STUCK: Final = ("stuck",)
"""States of a remembered order whose money is here and whose tickets are not."""
_PATIENCE: Final = timedelta(minutes=5)
"""A refund that Stripe has not been told of for this long is asked for again."""


@dataclass(frozen=True, slots=True)
class AskForSweep:
    """One sweep in each span of time, whichever replica asks first; the job is the marker."""

    job_id: str
    now: datetime

    @property
    def lane(self) -> str:
        return SWEEP

    def reads(self) -> Sequence[str]:
        return (paths.job(self.job_id),)

    def decide(self, docs: Documents) -> Decision[None]:
        if Job.of(docs[paths.job(self.job_id)]) is not None:
            return Decision(None)
        return Decision(None, (enqueue(self.job_id, SWEEP, {}, now=self.now),))


@dataclass(frozen=True, slots=True)
class Sweeper:
    database: Database
    committer: Committer
    settlement: Settlement
    refunds: Refunds
    metrics: CheckoutMetrics
    every: float
    """Seconds between two sweeps."""
    older_than: timedelta

    async def serve(self) -> None:
        """Ask for sweeps and look at what is stuck, until cancelled."""
        while True:
            now = datetime.now(UTC)
            try:
                await self.committer.run(AskForSweep(f"sweep-{int(now.timestamp() // self.every)}", now))
                await self.look()
            except Exception:  # noqa: BLE001  the database may be away; the next look is soon
                _log.exception("sweep_failed")
            await asyncio.sleep(self.every)

    async def look(self) -> None:
        """Measure what has been paid for and is neither tickets nor money on its way back."""
        now = datetime.now(UTC)
        waiting = [
            *[order.created_at for order in await self._orders(_STUCK, now)],
            *[refund.created_at for refund in await self._refunds(now - _PATIENCE)],
        ]
        since = min((moment for moment in waiting if moment), default=now)
        self.metrics.paid_unfulfilled.set(len(waiting))
        self.metrics.paid_unfulfilled_seconds.set((now - since).total_seconds())

    async def run(self, run: Run) -> Sequence[Write]:
        """The job: bring every order that is old enough to where its payment is, and see to refunds left behind."""
        now = datetime.now(UTC)
        state, created = PendingOrder.stored_name("status"), PendingOrder.stored_name("created_at")
        waiting = Query(
            "pendingOrders",
            where=((state, "==", OPEN), (created, "<=", now - self.older_than)),
            order_by=(created,),
        )
        async for page in self.database.pages(waiting, _PAGE):
            for document in page:
                await self.settlement.settle(document.id, now)
            await run.checkpoint(page[-1].id)
        for refund in await self._refunds(now - _PATIENCE):
            await self.refunds.execute(refund)
        return ()

    async def _orders(self, states: Sequence[str], until: datetime) -> Sequence[PendingOrder]:
        state = PendingOrder.stored_name("status")
        found = await self.database.query(Query("pendingOrders", where=((state, "in", states),), limit=1000))
        orders = [order for document in found if (order := PendingOrder.of(document))]
        return [order for order in orders if order.created_at and order.created_at <= until]

    async def _refunds(self, until: datetime) -> Sequence[Refund]:
        """Refunds that Stripe has not been told of since ``until``."""
        status, created = Refund.stored_name("status"), Refund.stored_name("created_at")
        left = Query(
            "refunds", where=((status, "==", "requested"), (created, "<=", until)), order_by=(created,),
            limit=1000, group=True,
        )  # fmt: skip
        return [refund for document in await self.database.query(left) if (refund := Refund.of(document))]
