"""Stripe's events: each is taken in once, in the same commit as the job that acts on it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import stripe

from services.checkout.refunds import Refunds
from services.checkout.settlement import Settlement
from shared.documents import AdminAlert, Fulfillment, StripeEvent
from shared.errors import BadRequest
from shared.firestore import paths
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Merge, Put, Write
from shared.worker import Run

SETTLE: Final = "settle_payment"
SYNC: Final = "sync_refunds"
DISPUTE: Final = "dispute"
TOLERANCE: Final = 300
"""Seconds between Stripe's signing and our reading: https://docs.stripe.com/webhooks#replay-attacks."""
_KEPT: Final = timedelta(days=30)

KINDS: Final[Mapping[str, str]] = {
    "payment_intent.succeeded": SETTLE,
    "payment_intent.payment_failed": SETTLE,
    "payment_intent.canceled": SETTLE,
    "charge.refunded": SYNC,
    "refund.created": SYNC,
    "refund.updated": SYNC,
    "refund.failed": SYNC,
    "charge.dispute.created": DISPUTE,
    "charge.dispute.closed": DISPUTE,
}
"""The events that mean something to us, and the job each asks for. All others are acknowledged and forgotten."""


class BadSignature(BadRequest):
    code = "bad_signature"


class BadEvent(BadRequest):
    code = "bad_event"


@dataclass(frozen=True, slots=True)
class Received:
    """An event whose signature was right."""

    id: str
    type: str
    live: bool
    object: Mapping[str, Any]

    @classmethod
    def verified(cls, body: bytes, signature: str, secrets: Sequence[str]) -> Self:
        """Raises BadSignature unless one of the secrets signed it lately, BadEvent if it is no event."""
        if not any(_signed(body, signature, secret) for secret in secrets):
            raise BadSignature("The signature does not fit.")
        try:
            event = json.loads(body)
            return cls(str(event["id"]), str(event["type"]), bool(event["livemode"]), dict(event["data"]["object"]))
        except (ValueError, TypeError, KeyError) as error:
            raise BadEvent("This is no event.") from error

    @property
    def payment_intent_id(self) -> str | None:
        own = self.object.get("id") if self.type.startswith("payment_intent.") else self.object.get("payment_intent")
        return own if isinstance(own, str) else None


def _signed(body: bytes, signature: str, secret: str) -> bool:
    try:
        return bool(stripe.WebhookSignature.verify_header(body.decode(), signature, secret, TOLERANCE))
    except (stripe.SignatureVerificationError, UnicodeDecodeError):
        return False


@dataclass(frozen=True, slots=True)
class TakeIn:
    """Remember an event and ask for its job; the event is the marker. False if it was known."""

    event: Received
    now: datetime

    @property
    def lane(self) -> str:
        return "stripeEvents"

    def reads(self) -> Sequence[str]:
        return (paths.stripe_event(self.event.id),)

    def decide(self, docs: Documents) -> Decision[bool]:
        path = paths.stripe_event(self.event.id)
        if docs[path].exists:
            return Decision(False)
        payment = self.event.payment_intent_id
        record = StripeEvent(path, self.event.type, payment, self.now, self.now + _KEPT)
        disputed = self.event.object if KINDS[self.event.type] == DISPUTE else {}
        payload = {
            "paymentIntentId": payment,
            "failed": self.event.type == "payment_intent.payment_failed",
            "disputeId": disputed.get("id"),
        }
        job = enqueue(f"stripe-{self.event.id}", KINDS[self.event.type], payload, now=self.now)
        return Decision(True, (Put(path, record.fields()), job))


@dataclass(frozen=True, slots=True)
class Reactions:
    """What the events' jobs do."""

    settlement: Settlement
    refunds: Refunds

    async def settle(self, run: Run) -> Sequence[Write]:
        payload = run.job.payload or {}
        if isinstance(payment := payload.get("paymentIntentId"), str):
            await self.settlement.settle(payment, datetime.now(UTC), failed=payload.get("failed") is True)
        return ()

    async def sync(self, run: Run) -> Sequence[Write]:
        if isinstance(payment := (run.job.payload or {}).get("paymentIntentId"), str):
            await self.refunds.sync(payment)
        return ()

    async def dispute(self, run: Run) -> Sequence[Write]:
        """A person answers disputes: an alert that says how it stands now, and a mark on the order."""
        payload = run.job.payload or {}
        payment, dispute = str(payload.get("paymentIntentId")), str(payload.get("disputeId"))
        reason, status = await self.refunds.payments.dispute(dispute)
        ledger = Fulfillment.of(await self.refunds.database.get(paths.fulfillment(payment)))
        order = f"order {ledger.order_number}" if ledger else f"payment {payment}"
        alert = AdminAlert(
            path=paths.admin_alert(f"dispute-{dispute}"),
            kind="dispute",
            message=f"The {order} is disputed ({reason}); Stripe says {status}.",
            subject=paths.fulfillment(payment),
            created_at=datetime.now(UTC),
        )
        mark = [Merge(ledger.path, Fulfillment.patch(needs_admin_review=True))] if ledger else []
        return (Put(alert.path, alert.fields()), *mark)
