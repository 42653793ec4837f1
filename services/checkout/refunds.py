"""Sending money back: whoever comes first asks Stripe, the admin's request or the job; both record what it says."""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

from services.checkout.letters import Letter
from services.checkout.mail import Mailer
from services.checkout.payments import Payments, RefundRefused, StripeRefund, StripeUnavailable
from services.checkout.refund_rules import (
    AdoptRefund,
    BatchesChanged,
    OrderNotFound,
    RecordRefund,
    Reinstate,
    RequestRefund,
)
from services.checkout.settlement import Settlement
from shared.documents import Fulfillment, Rager, Refund
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.query import Query
from shared.operations import Write
from shared.worker import Run

T = TypeVar("T")

_TAKEOVER: Final = timedelta(seconds=60)
"""When the job asks Stripe, in case the admin's request died before it could."""


@dataclass(frozen=True, slots=True)
class RefundAsked:
    """What an admin asks: the batches of some items, an amount (minor units), or, with neither, all that is left."""

    payment_intent_id: str
    key: str
    rager_ids: Sequence[str] | None
    amount: int | None
    reason: str
    note: str | None
    force: bool
    restock: bool

    @property
    def fingerprint(self) -> str:
        """Of what is asked, without the key it is asked under."""
        asked = (
            self.payment_intent_id,
            sorted(self.rager_ids or ()),
            self.amount,
            self.reason,
            self.force,
            self.restock,
        )
        return hashlib.sha256(repr(asked).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Refunds:
    database: Database
    committer: Committer
    payments: Payments
    settlement: Settlement

    async def refund(self, asked: RefundAsked, now: datetime) -> Refund:
        """Record the intent, then ask Stripe; raises the refusals of RequestRefund, UnknownItem or ItemSplit."""
        ledger = Fulfillment.of(await self.database.get(paths.fulfillment(asked.payment_intent_id)))
        if ledger is None:
            raise OrderNotFound("There is no such order.")
        amount = _extent(asked, ledger)
        refund = Refund(
            path=paths.refund(ledger.id, asked.key),
            amount=amount,
            status="requested" if amount else "succeeded",
            restock=asked.restock,
            request_hash=asked.fingerprint,
            currency=ledger.currency,
            reason=asked.reason,
            note=asked.note,
            rager_ids=tuple(dict.fromkeys(asked.rager_ids or ())),
            created_at=now,
        )

        async def request(rager_paths: Sequence[str], complete: bool) -> Refund:
            due = now + _TAKEOVER
            return await self.committer.run(
                RequestRefund(refund, rager_paths, complete, now, asked.force, asked.restock, due)
            )

        known = await self._with_batches(ledger, request)
        try:
            return await self.execute(known)
        except StripeUnavailable:  # the job goes on with it
            return known

    async def execute(self, refund: Refund) -> Refund:
        """Ask Stripe for a refund that it may not know yet, record what it says, and give back the tickets if it will
        not make it.
        """
        if refund.status == "requested":
            refund = await self._ask(refund)
        if refund.status == "failed" and refund.stripe_refund_id is None:
            await self._reinstate(refund)
        return refund

    async def _ask(self, refund: Refund) -> Refund:
        try:
            said = await self.payments.refund(refund.payment_intent_id, refund.id, refund.amount)
        except RefundRefused as refused:
            return await self._record(refund, "failed", None, refused.message)
        return await self._record(refund, said.status, said.id, said.error)

    async def _reinstate(self, refund: Refund) -> None:
        ledger = Fulfillment.of(await self.database.get(paths.fulfillment(refund.payment_intent_id)))
        if ledger is not None:
            taken = await self._batches(ledger)
            await self.committer.run(Reinstate(refund, taken, complete=True, now=datetime.now(UTC)))

    async def _record(self, refund: Refund, status: str, stripe_id: str | None, error: str | None) -> Refund:
        recorded = await self.committer.run(RecordRefund(refund.path, status, stripe_id, error, datetime.now(UTC)))
        return recorded or refund

    async def _with_batches(self, ledger: Fulfillment, run: Callable[[Sequence[str], bool], Awaitable[T]]) -> T:
        """Run something on all batches of an order, looking them up again when they change meanwhile.

        Batches that twice are the same and still do not add up are all there are: somebody changed them by hand.
        """
        seen: Sequence[str] | None = None
        while True:
            rager_paths = await self._batches(ledger)
            try:
                return await run(rager_paths, rager_paths == seen)
            except BatchesChanged:
                seen = rager_paths

    async def _batches(self, ledger: Fulfillment) -> Sequence[str]:
        """All batches that came of an order, also those that were split off or are somebody else's now."""
        bought = Rager.stored_name("payment_intent_id")
        return [
            document.path
            for event_id in sorted({detail.event_id for detail in ledger.details})
            for document in await self.database.query(Query(paths.ragers(event_id), where=((bought, "==", ledger.id),)))
        ]

    async def run(self, run: Run) -> Sequence[Write]:
        """The job that sees to one refund: payload ``paymentIntentId`` and ``key``."""
        payload = run.job.payload or {}
        path = paths.refund(str(payload["paymentIntentId"]), str(payload["key"]))
        refund = Refund.of(await self.database.get(path))
        if refund is not None:
            await self.execute(refund)
        return ()

    async def sync(self, payment_intent_id: str) -> None:
        """Take over what Stripe says of a payment's refunds, those from the dashboard too."""
        await self.settlement.settle(payment_intent_id, datetime.now(UTC))  # so that there is a ledger to note them in
        ledger = Fulfillment.of(await self.database.get(paths.fulfillment(payment_intent_id)))
        if ledger is None:
            return
        for said in reversed(await self.payments.refunds(payment_intent_id)):
            await self._take_over(ledger, said)

    async def _take_over(self, ledger: Fulfillment, said: StripeRefund) -> None:
        now = datetime.now(UTC)
        path = paths.refund(ledger.id, said.key or said.id)
        if said.key is None:
            refund = Refund(
                path=path,
                amount=said.amount,
                currency=said.currency,
                status=said.status,
                reason="dashboard",
                stripe_refund_id=said.id,
                error=said.error,
                created_at=now,
            )
            await self._adopt(ledger, refund, now)
        await self.committer.run(RecordRefund(path, said.status, said.id, said.error, now))

    async def _adopt(self, ledger: Fulfillment, refund: Refund, now: datetime) -> None:
        async def adopt(rager_paths: Sequence[str], complete: bool) -> None:
            await self.committer.run(AdoptRefund(refund, rager_paths, complete, now))

        await self._with_batches(ledger, adopt)


def _extent(asked: RefundAsked, ledger: Fulfillment) -> int:
    """How much goes back: what the items contributed, the amount asked for, or all that is left."""
    if asked.rager_ids is not None:
        sold = {detail.rager_id: detail.amount or 0 for detail in ledger.details}
        return sum(sold.get(rager_id, 0) for rager_id in dict.fromkeys(asked.rager_ids))
    left = ledger.amount - (ledger.refund.amount if ledger.refund else 0)
    return left if asked.amount is None else asked.amount


@dataclass(frozen=True, slots=True)
class RefundNotices:
    """Tells buyers that money is on its way back."""

    database: Database
    mailer: Mailer

    async def run(self, run: Run) -> Sequence[Write]:
        payload = run.job.payload or {}
        payment = str(payload["paymentIntentId"])
        refund_path, ledger_path = paths.refund(payment, str(payload["key"])), paths.fulfillment(payment)
        documents = await self.database.get_all([refund_path, ledger_path])
        refund, ledger = Refund.of(documents[refund_path]), Fulfillment.of(documents[ledger_path])
        to = ledger and (ledger.user_email or ledger.email or ledger.guest_email)
        if refund is None or ledger is None or not to:
            return ()
        subject = f"Your refund: order {ledger.order_number}"
        letter = Letter("refund", to, subject, {"order": ledger, "refund": refund})
        await self.mailer.send(letter, run.idempotency_key)
        return ()
