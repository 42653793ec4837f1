"""https://docs.stripe.com/api/payment_intents

Confirming needs no ``return_url`` here: only payment methods that never redirect are simulated.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from deploy.local.stripe import payments
from deploy.local.stripe.cards import card_of
from deploy.local.stripe.errors import StripeError, no_such, unexpected_state
from deploy.local.stripe.ledger import Ledger, Page
from deploy.local.stripe.params import (
    Amount,
    Boolean,
    Email,
    ListParams,
    Metadata,
    Name,
    Names,
    Nested,
    Params,
    Text,
    merge_metadata,
)
from deploy.local.stripe.records import Customer, PaymentIntent

MINIMUM_CHARGE: Mapping[str, int] = {
    "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50, "gbp": 30, "inr": 50,
    "jpy": 50, "mxn": 1000, "nok": 300, "nzd": 50, "pln": 200, "sek": 300, "sgd": 50, "usd": 50,
}  # fmt: skip
"""The currencies that are simulated, with Stripe's least amount in minor units."""

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action", "processing")
TEXTS = ("description", "receipt_email", "shipping", "statement_descriptor_suffix")

Currency = Annotated[Name, BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)]


class AutomaticPaymentMethods(Nested):
    enabled: Boolean
    allow_redirects: Literal["always", "never"] = "always"


class Address(Nested):
    city: Text = None
    country: Text = None
    line1: Text = None
    line2: Text = None
    postal_code: Text = None
    state: Text = None


class Shipping(Nested):
    address: Address
    name: Name
    carrier: Text = None
    phone: Text = None
    tracking_number: Text = None


class UpdateIntent(Params):
    amount: Amount | None = None
    currency: Currency | None = None
    customer: Name | None = None
    description: Text = None
    metadata: Metadata = None
    payment_method: Name | None = None
    receipt_email: Email = None
    shipping: Shipping | None = None
    statement_descriptor_suffix: Text = None

    def texts(self) -> dict[str, Any]:
        """What may change in any status."""
        given = self.changes(*TEXTS)
        if self.shipping is not None:
            given["shipping"] = self.shipping.model_dump()
        return given


class ConfirmIntent(Params):
    payment_method: Name | None = None
    receipt_email: Email = None
    return_url: Name | None = None
    off_session: Boolean = False
    use_stripe_sdk: Boolean = False
    client_secret: Name | None = None


class CreateIntent(UpdateIntent):
    amount: Amount
    currency: Currency
    automatic_payment_methods: AutomaticPaymentMethods | None = None
    payment_method_types: Names = ("card",)
    confirm: Boolean = False
    return_url: Name | None = None
    off_session: Boolean = False


class RetrieveIntent(Params):
    client_secret: Name | None = None


class CancelIntent(Params):
    cancellation_reason: Literal["abandoned", "duplicate", "fraudulent", "requested_by_customer"] | None = None


class IntentList(ListParams):
    customer: Name | None = None


def create(ledger: Ledger, params: CreateIntent, _id: str) -> PaymentIntent | StripeError:
    _check_amount(params.amount, params.currency)
    _check_parties(ledger, params)
    if params.return_url and not params.confirm:
        raise StripeError("The parameter return_url can only be given together with confirm=true.", param="return_url")
    if params.payment_method_types != ("card",):
        raise StripeError(
            "This simulator of Stripe takes only payment_method_types[]=card.", param="payment_method_types"
        )
    intent_id = ledger.ids.new(PaymentIntent.PREFIX)
    automatic = params.automatic_payment_methods or AutomaticPaymentMethods.model_construct(enabled=True)
    intent = PaymentIntent(
        id=intent_id,
        created=ledger.now,
        amount=params.amount,
        currency=params.currency,
        client_secret=f"{intent_id}_secret_{ledger.ids.suffix()}",
        customer=params.customer,
        automatic_payment_methods=automatic.model_dump(),
        metadata=merge_metadata({}, params.metadata),
        **params.texts(),
    )
    created = ledger.put(_with_method(ledger, intent, params.payment_method), "payment_intent.created")
    return _confirmed(ledger, created) if params.confirm else created


def retrieve(ledger: Ledger, params: RetrieveIntent, intent_id: str) -> PaymentIntent:
    intent = ledger.get(PaymentIntent, intent_id, "intent")
    _check_secret(intent, params.client_secret)
    return intent


def list_all(ledger: Ledger, params: IntentList, _id: str) -> Page:
    return ledger.page(PaymentIntent, params, customer=params.customer)


def update(ledger: Ledger, params: UpdateIntent, intent_id: str) -> PaymentIntent:
    intent = ledger.get(PaymentIntent, intent_id, "intent")
    priced = params.changes("amount", "currency", "customer")
    for name in (*priced, *params.changes("payment_method")):
        _check_updatable(intent, name)
    changed = replace(intent, **priced, **params.texts())
    _check_amount(changed.amount, changed.currency)
    _check_parties(ledger, params)
    if "metadata" in params.model_fields_set:
        changed = replace(changed, metadata=merge_metadata(intent.metadata, params.metadata))
    return ledger.put(_with_method(ledger, changed, params.payment_method))


def confirm(ledger: Ledger, params: ConfirmIntent, intent_id: str) -> PaymentIntent | StripeError:
    intent = ledger.get(PaymentIntent, intent_id, "intent")
    _check_secret(intent, params.client_secret)
    if intent.status == "succeeded":
        message = (
            "You cannot confirm this PaymentIntent because it has already succeeded after being previously confirmed."
        )
        raise unexpected_state(message, intent.render())
    if intent.status not in OPEN:
        raise unexpected_state(_not_while(intent, "confirm", "confirmed", OPEN), intent.render())
    intent = replace(intent, **params.changes("receipt_email"))
    return _confirmed(ledger, _with_method(ledger, intent, params.payment_method))


def cancel(ledger: Ledger, params: CancelIntent, intent_id: str) -> PaymentIntent:
    intent = ledger.get(PaymentIntent, intent_id, "intent")
    if intent.status not in CANCELABLE:
        raise unexpected_state(_not_while(intent, "cancel", "canceled", CANCELABLE), intent.render())
    canceled = replace(
        intent,
        status="canceled",
        canceled_at=ledger.now,
        cancellation_reason=params.cancellation_reason,
        next_action=None,
    )
    return ledger.put(canceled, "payment_intent.canceled")


def _confirmed(ledger: Ledger, intent: PaymentIntent) -> PaymentIntent | StripeError:
    if intent.card is None:
        message = (
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken."
        )
        raise unexpected_state(message, intent.render())
    return payments.attempt(ledger, intent)


def _with_method(ledger: Ledger, intent: PaymentIntent, card: str | None) -> PaymentIntent:
    """A test payment method's name stands for a new payment method, as at Stripe."""
    if card is None:
        return intent
    card_of(card)
    method = ledger.ids.new("pm")
    return replace(intent, card=card, payment_method=method, status="requires_confirmation")


def _check_amount(amount: int, currency: str) -> None:
    least = MINIMUM_CHARGE.get(currency)
    if least is None:
        known = ", ".join(MINIMUM_CHARGE)
        raise StripeError(f"Invalid currency: {currency}. This simulator of Stripe supports: {known}", param="currency")
    if amount < least:
        message = f"Amount must be at least {least} {currency} in minor units"
        raise StripeError(message, code="amount_too_small", param="amount")


def _check_parties(ledger: Ledger, params: UpdateIntent) -> None:
    if params.customer is not None:
        ledger.get(Customer, params.customer, "customer")


def _check_secret(intent: PaymentIntent, secret: str | None) -> None:
    if secret is not None and secret != intent.client_secret:
        raise no_such("payment_intent", intent.id, "intent")


def _check_updatable(intent: PaymentIntent, name: str) -> None:
    if intent.status not in OPEN:
        message = (
            f"This PaymentIntent's {name} could not be updated because it has a status of {intent.status}. You may "
            f"only update the {name} of a PaymentIntent with one of the following statuses: {', '.join(OPEN)}."
        )
        raise unexpected_state(message, intent.render())


def _not_while(intent: PaymentIntent, verb: str, past: str, statuses: tuple[str, ...]) -> str:
    return (
        f"You cannot {verb} this PaymentIntent because it has a status of {intent.status}. Only a PaymentIntent with "
        f"one of the following statuses may be {past}: {', '.join(statuses)}."
    )
