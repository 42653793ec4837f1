"""What becomes of a payment once it is confirmed: charges, declines, the actions in between."""

from dataclasses import replace
from typing import Any

from deploy.local.stripe.cards import Card, card_of
from deploy.local.stripe.disputes import open_dispute
from deploy.local.stripe.errors import StripeError
from deploy.local.stripe.ledger import Ledger
from deploy.local.stripe.records import Charge, PaymentIntent

AUTHENTICATION_FAILED = Card(
    "declines",
    "payment_intent_authentication_failure",
    None,
    "The provided PaymentMethod has failed authentication. You can provide payment_method_data or a new "
    "PaymentMethod to attempt to fulfill this PaymentIntent again.",
)
BANK_FAILED = Card("declines", "payment_method_provider_decline", None, "The payment failed at the customer's bank.")


def attempt(ledger: Ledger, intent: PaymentIntent) -> PaymentIntent | StripeError:
    """Try to take the money with the intent's payment method. A decline is returned, as it leaves a record."""
    card = card_of(intent.card or "")
    match card.outcome:
        case "succeeds":
            return succeed(ledger, intent)
        case "needs_action":
            action = {"type": "use_stripe_sdk", "use_stripe_sdk": {"type": "three_d_secure_redirect"}}
            waiting = replace(intent, status="requires_action", next_action=action, last_payment_error=None)
            return ledger.put(waiting, "payment_intent.requires_action")
        case "processes":
            return ledger.put(replace(intent, status="processing"), "payment_intent.processing")
        case "declines":
            return decline(ledger, intent, card)


def complete(ledger: Ledger, intent: PaymentIntent, *, succeeds: bool) -> PaymentIntent:
    """End what waits for the customer (requires_action) or the bank (processing); raises for any other status."""
    if intent.status not in ("requires_action", "processing"):
        message = f"Only a PaymentIntent that is requires_action or processing can be completed, not {intent.status}"
        raise StripeError(message, param="id")
    if succeeds:
        return succeed(ledger, intent)
    decline(ledger, intent, AUTHENTICATION_FAILED if intent.status == "requires_action" else BANK_FAILED)
    return ledger.get(PaymentIntent, intent.id)


def succeed(ledger: Ledger, intent: PaymentIntent) -> PaymentIntent:
    card = card_of(intent.card or "")
    outcome = {"network_status": "approved_by_network", "type": "authorized", "risk_level": "normal"}
    charge = _charge(ledger, intent, card, paid=True, outcome=outcome)
    ledger.put(charge, "charge.succeeded")
    paid = replace(
        intent,
        status="succeeded",
        amount_received=intent.amount,
        latest_charge=charge.id,
        last_payment_error=None,
        next_action=None,
    )
    ledger.put(paid, "payment_intent.succeeded")
    if card.dispute:
        open_dispute(ledger, charge, reason=card.dispute)
    return paid


def decline(ledger: Ledger, intent: PaymentIntent, card: Card) -> StripeError:
    """Record the failure and word it. The intent can be confirmed again with another payment method."""
    message = card.message or "Your card was declined."
    outcome = {"network_status": "declined_by_network", "type": "issuer_declined", "reason": card.decline_code}
    charge = _charge(ledger, intent, card, paid=False, outcome=outcome)
    ledger.put(replace(charge, failure_code=card.code, failure_message=message), "charge.failed")
    error = {"code": card.code, "message": message, "type": "card_error", "charge": charge.id}
    if card.decline_code:
        error["decline_code"] = card.decline_code
    failed = replace(
        intent,
        status="requires_payment_method",
        payment_method=None,
        card=None,
        latest_charge=charge.id,
        last_payment_error=error,
        next_action=None,
    )
    ledger.put(failed, "payment_intent.payment_failed")
    extra = {"charge": charge.id, "payment_intent": failed.render()}
    if card.decline_code:
        extra["decline_code"] = card.decline_code
    return StripeError(message, status=402, kind="card_error", code=card.code, extra=extra)


def _charge(ledger: Ledger, intent: PaymentIntent, card: Card, *, paid: bool, outcome: dict[str, Any]) -> Charge:
    return Charge(
        id=ledger.ids.new(Charge.PREFIX),
        created=ledger.now,
        amount=intent.amount,
        currency=intent.currency,
        status="succeeded" if paid else "failed",
        paid=paid,
        captured=paid,
        amount_captured=intent.amount if paid else 0,
        payment_intent=intent.id,
        payment_method=intent.payment_method or "",
        payment_method_details=card.details(),
        customer=intent.customer,
        description=intent.description,
        metadata=intent.metadata,
        outcome=outcome,
        receipt_email=intent.receipt_email,
        shipping=intent.shipping,
        card=intent.card or "",
    )
