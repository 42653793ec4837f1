"""Orders and refunds that nobody came back for: looked at again until something has come of them."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from services.checkout.holds import OPEN
from services.checkout.metrics import CheckoutMetrics
from services.checkout.refund_rules import all_back
from services.checkout.refunds import Refunds
from services.checkout.review import RaiseReview
from services.checkout.settlement import Settlement
from shared.documents import AdminAlert, Fulfillment, Job, PendingOrder, Refund
from shared.errors import Unavailable
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Write
from shared.worker import Run

SWEEP: Final = "sweep_orders"
_SWEEP_JOB: Final = "sweep-orders"
_PAGE: Final = 50
_AT_ONCE: Final = 8
"""Orders that are asked about at the same time."""
_PATIENCE: Final = timedelta(minutes=5)
"""A refund that Stripe has not been told of for this long is asked for again."""
_UNRESOLVED: Final = ("payment_needs_review", "refund_failed")
"""Alerts about money that is here without tickets; a person sets ``resolvedAt``."""
_log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class AskForSweep:
    """One sweep at a time, and none sooner than ``every`` after the last was asked for; the job is the marker."""

    every: timedelta
    now: datetime

    @property
    def lane(self) -> str:
        return SWEEP

    def reads(self) -> Sequence[str]:
        return (paths.job(_SWEEP_JOB),)

    def decide(self, docs: Documents) -> Decision[bool]:
        last = Job.of(docs[paths.job(_SWEEP_JOB)])
        under_way = last is not None and last.state in {"ready", "running"}
        recent = last is not None and last.created_at is not None and last.created_at > self.now - self.every
        if under_way or recent:
            return Decision(False)
        return Decision(True, (enqueue(_SWEEP_JOB, SWEEP, {}, now=self.now),))


@dataclass(frozen=True, slots=True)
class Sweeper:
    database: Database
    committer: Committer
    settlement: Settlement
    refunds: Refunds
    metrics: CheckoutMetrics
    every: timedelta
    older_than: timedelta

    async def serve(self) -> None:
        """Ask for sweeps and look at what is stuck, until cancelled."""
        while True:
            try:
                await self.committer.run(AskForSweep(self.every, datetime.now(UTC)))
                await self.look()
            except Exception:  # noqa: BLE001  the database may be away; the next look is soon
                _log.exception("sweep_failed")
            await asyncio.sleep(self.every.total_seconds())

    async def look(self) -> None:
        """Measure what has been paid for and is neither tickets nor money on its way back, and what is not decided."""
        now = datetime.now(UTC)
        since = [
            *[alert.created_at for alert in await self._alerts()],
            *[refund.created_at for refund in await self._refunds(now - _PATIENCE)],
        ]
        self.metrics.paid_unfulfilled.set(len(since))
        self.metrics.paid_unfulfilled_seconds.set(_age(since, now))
        oldest = [PendingOrder.of(document) for document in await self.database.query(self._open(now).page(1))]
        self.metrics.undecided_seconds.set(_age([order.created_at for order in oldest if order], now))

    async def run(self, run: Run) -> Sequence[Write]:
        """The job: bring every order that is old enough to where its payment is, and see to refunds left behind."""
        now = datetime.now(UTC)
        async for page in self.database.pages(self._open(now - self.older_than), _PAGE):
            for start in range(0, len(page), _AT_ONCE):
                some = page[start : start + _AT_ONCE]
                await asyncio.gather(*(self._settle(document.id, document.path, now) for document in some))
            await run.checkpoint()
        for refund in await self._refunds(now - _PATIENCE):
            await self._execute(refund)
            await run.checkpoint()
        return ()

    async def _execute(self, refund: Refund) -> None:
        """One refund that cannot be asked for must not stop the others; the gauge counts it."""
        try:
            await self.refunds.execute(refund)
        except Unavailable:
            _log.warning("refund_waits", refund=refund.path)
        except Exception:  # noqa: BLE001  whatever Stripe makes of this one, the others are to be asked for
            _log.exception("refund_undecided", refund=refund.path)

    async def _settle(self, payment_intent_id: str, order_path: str, now: datetime) -> None:
        """One order that cannot be decided must not stop the others."""
        try:
            await self.settlement.settle(payment_intent_id, now)
        except Unavailable:
            _log.warning("order_waits", payment_intent=payment_intent_id)
        except Exception as error:  # noqa: BLE001  whatever is wrong with it, a person has to look at this order
            _log.exception("order_undecided", payment_intent=payment_intent_id)
            message = f"It cannot be decided what became of it: {type(error).__name__}."
            await self.committer.run(RaiseReview(payment_intent_id, order_path, "stuck", message, now))

    def _open(self, until: datetime) -> Query:
        state, created = PendingOrder.stored_name("status"), PendingOrder.stored_name("created_at")
        return Query("pendingOrders", where=((state, "==", OPEN), (created, "<=", until)), order_by=(created,))

    async def _alerts(self) -> Sequence[AdminAlert]:
        kind, resolved = AdminAlert.stored_name("kind"), AdminAlert.stored_name("resolved_at")
        unresolved = Query("adminAlerts", where=((kind, "in", _UNRESOLVED), (resolved, "==", None)), limit=1000)
        alerts = [alert for document in await self.database.query(unresolved) if (alert := AdminAlert.of(document))]
        back = await self._all_back(alert.order_id for alert in alerts)
        return [alert for alert in alerts if alert.order_id not in back]

    async def _all_back(self, payment_intent_ids: Iterable[str]) -> Collection[str]:
        """Those of which nothing is left, by whatever way it went back."""
        documents = await self.database.get_all(paths.fulfillment(known) for known in payment_intent_ids if known)
        ledgers = map(Fulfillment.of, documents.values())
        return {ledger.id for ledger in ledgers if ledger and all_back(ledger, ledger.refund)}

    async def _refunds(self, until: datetime) -> Sequence[Refund]:
        """Refunds that Stripe has not been told of since ``until``."""
        status, created = Refund.stored_name("status"), Refund.stored_name("created_at")
        left = Query(
            "refunds",
            where=((status, "==", "requested"), (created, "<=", until)),
            order_by=(created,),
            limit=1000,
            group=True,
        )
        return [refund for document in await self.database.query(left) if (refund := Refund.of(document))]


def _age(since: Sequence[datetime | None], now: datetime) -> float:
    """Seconds since the earliest."""
    return (now - min((moment for moment in since if moment), default=now)).total_seconds()
