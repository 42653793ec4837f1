"""https://docs.stripe.com/api/disputes"""

from dataclasses import replace
from typing import Literal

from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.ledger import Ledger, Page
from deploy.local.stripe.params import ListParams, Name, Params
from deploy.local.stripe.records import Charge, Dispute

WEEK = 7 * 24 * 3600
CLOSED = ("won", "lost")


class DisputeList(ListParams):
    payment_intent: Name | None = None
    charge: Name | None = None


def retrieve(ledger: Ledger, _params: Params, dispute_id: str) -> Dispute:
    return ledger.get(Dispute, dispute_id)


def list_all(ledger: Ledger, params: DisputeList, _id: str) -> Page:
    return ledger.page(Dispute, params, payment_intent=params.payment_intent, charge=params.charge)


def accept(ledger: Ledger, _params: Params, dispute_id: str) -> Dispute:
    """Close it as lost, which is how Stripe's API closes a dispute."""
    return decide(ledger, dispute_id, "lost")


def open_dispute(ledger: Ledger, charge: Charge, *, reason: str, amount: int | None = None) -> Dispute:
    """The cardholder asked the bank for the money; all of it when no amount is given."""
    if charge.disputed:
        raise StripeError(f"Charge {charge.id} is disputed already.", param="charge")
    ledger.put(replace(charge, disputed=True))
    dispute = Dispute(
        id=ledger.ids.new(Dispute.PREFIX),
        created=ledger.now,
        amount=amount or charge.amount,
        currency=charge.currency,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        reason=reason,
        evidence_details={"due_by": ledger.now + WEEK, "has_evidence": False, "submission_count": 0},
    )
    return ledger.put(dispute, "charge.dispute.created")


def decide(ledger: Ledger, dispute_id: str, status: Literal["won", "lost"]) -> Dispute:
    dispute = ledger.get(Dispute, dispute_id)
    if dispute.status in CLOSED:
        raise StripeError(f"This dispute is already closed: {dispute.status}.", param="id")
    return ledger.put(replace(dispute, status=status), "charge.dispute.closed")
