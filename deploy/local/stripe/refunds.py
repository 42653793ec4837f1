"""https://docs.stripe.com/api/refunds"""

from dataclasses import replace
from typing import Literal

from deploy.local.stripe.cards import card_of
from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.ledger import Ledger, Page
from deploy.local.stripe.params import Amount, ListParams, Metadata, Name, Params, merge_metadata
from deploy.local.stripe.records import Charge, PaymentIntent, Refund

Reason = Literal["duplicate", "fraudulent", "requested_by_customer"]


class CreateRefund(Params):
    payment_intent: Name | None = None
    charge: Name | None = None
    amount: Amount | None = None
    """Minor units; what is left of the charge when not given."""
    reason: Reason | None = None
    metadata: Metadata = None


class UpdateRefund(Params):
    metadata: Metadata = None


class RefundList(ListParams):
    payment_intent: Name | None = None
    charge: Name | None = None


def create(ledger: Ledger, params: CreateRefund, _id: str) -> Refund:
    charge = charge_of(ledger, params.payment_intent, params.charge)
    amount = _refundable(charge, params.amount)
    refund = Refund(
        id=ledger.ids.new(Refund.PREFIX),
        created=ledger.now,
        amount=amount,
        currency=charge.currency,
        charge=charge.id,
        payment_intent=charge.payment_intent,
        status=card_of(charge.card).refund,
        reason=params.reason,
        metadata=merge_metadata({}, params.metadata),
    )
    ledger.put(refund, "refund.created")
    ledger.put(_with_refunded(charge, charge.amount_refunded + amount), "charge.refunded")
    return refund


def retrieve(ledger: Ledger, _params: Params, refund_id: str) -> Refund:
    return ledger.get(Refund, refund_id)


def update(ledger: Ledger, params: UpdateRefund, refund_id: str) -> Refund:
    refund = ledger.get(Refund, refund_id)
    changed = replace(refund, metadata=merge_metadata(refund.metadata, params.metadata))
    return ledger.put(changed, "refund.updated", "charge.refund.updated")


def list_all(ledger: Ledger, params: RefundList, _id: str) -> Page:
    return ledger.page(Refund, params, payment_intent=params.payment_intent, charge=params.charge)


def settle(ledger: Ledger, refund_id: str) -> Refund:
    """The bank took a pending refund."""
    refund = ledger.get(Refund, refund_id)
    if refund.status != "pending":
        raise StripeError(f"Only a pending refund can be settled, not one that is {refund.status}.", param="id")
    return ledger.put(replace(refund, status="succeeded"), "refund.updated", "charge.refund.updated")


def fail(ledger: Ledger, refund_id: str, reason: str) -> Refund:
    """The bank sent the money back, which may happen to a refund that had succeeded: it is ours again."""
    refund = ledger.get(Refund, refund_id)
    if refund.status not in ("pending", "succeeded"):
        raise StripeError(f"A refund that is {refund.status} cannot fail any more.", param="id")
    charge = ledger.get(Charge, refund.charge)
    ledger.put(_with_refunded(charge, charge.amount_refunded - refund.amount))
    failed = replace(refund, status="failed", failure_reason=reason)
    return ledger.put(failed, "refund.updated", "charge.refund.updated", "refund.failed")


def charge_of(ledger: Ledger, payment_intent: str | None, charge: str | None) -> Charge:
    """The charge that holds a payment's money. Raises StripeError where there is none."""
    if (payment_intent is None) == (charge is None):
        message = "One of the following params should be provided for this request: payment_intent or charge."
        raise StripeError(message, code="parameter_missing")
    if payment_intent is None:
        return _paid(ledger.get(Charge, charge or "", "charge"))
    intent = ledger.get(PaymentIntent, payment_intent, "payment_intent")
    if intent.latest_charge is None:
        raise _without_charge(intent.id)
    return _paid(ledger.get(Charge, intent.latest_charge, "charge"))


def _paid(charge: Charge) -> Charge:
    if not charge.paid:
        raise _without_charge(charge.payment_intent)
    return charge


def _without_charge(intent_id: str) -> StripeError:
    message = f"This PaymentIntent ({intent_id}) does not have a successful charge to refund."
    return StripeError(message, param="payment_intent")


def _refundable(charge: Charge, amount: int | None) -> int:
    left = charge.amount - charge.amount_refunded
    if charge.disputed:
        message = f"Charge {charge.id} has been charged back; cannot issue a refund."
        raise StripeError(message, code="charge_disputed")
    if left == 0:
        raise StripeError(f"Charge {charge.id} has already been refunded.", code="charge_already_refunded")
    if amount is not None and amount > left:
        against = "charge amount" if charge.amount_refunded == 0 else "unrefunded amount on charge"
        message = f"Refund amount ({_money(amount, charge)}) is greater than {against} ({_money(left, charge)})"
        raise StripeError(message, param="amount")
    return left if amount is None else amount


def _money(amount: int, charge: Charge) -> str:
    if charge.currency == "jpy":
        return f"¥{amount}"
    symbol = {"usd": "$", "eur": "€", "gbp": "£"}.get(charge.currency, charge.currency.upper() + " ")
    return f"{symbol}{amount / 100:,.2f}"


def _with_refunded(charge: Charge, amount: int) -> Charge:
    return replace(charge, amount_refunded=amount, refunded=amount == charge.amount)
