"""Stripe's test payment methods and what each one does: https://docs.stripe.com/testing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deploy.local.stripe.errors import no_such

Outcome = Literal["succeeds", "declines", "needs_action", "processes"]
DECLINED = "Your card was declined."


@dataclass(frozen=True, slots=True)
class Card:
    """A test payment method: how its payments end, and what happens to them afterwards."""

    outcome: Outcome = "succeeds"
    code: str | None = None
    decline_code: str | None = None
    message: str | None = None
    dispute: str | None = None
    """The reason of the dispute that follows the payment."""
    refund: Literal["succeeded", "pending"] = "succeeded"
    """The status in which its refunds begin."""
    brand: str = "visa"
    last4: str = "4242"
    method: Literal["card", "us_bank_account"] = "card"

    def details(self) -> dict[str, object]:
        if self.method == "us_bank_account":
            return {"type": self.method, self.method: {"bank_name": "STRIPE TEST BANK", "last4": self.last4}}
        card = {"brand": self.brand, "last4": self.last4, "country": "US", "funding": "credit"}
        return {"type": "card", "card": {**card, "exp_month": 12, "exp_year": 2034, "network": self.brand}}


def _declined(last4: str, decline_code: str, message: str = DECLINED, code: str = "card_declined") -> Card:
    return Card("declines", code, decline_code, message, last4=last4)


_PLAIN = _declined("0002", "generic_decline")
_FUNDS = _declined("9995", "insufficient_funds", "Your card has insufficient funds.")
_LOST = _declined("9987", "lost_card")
_STOLEN = _declined("9979", "stolen_card")
_VELOCITY = _declined(
    "6975", "card_velocity_exceeded", "Your card was declined for making repeated attempts too frequently."
)
_SECURE = Card("needs_action", last4="3220")

CARDS: Mapping[str, Card] = {
    "pm_card_visa": Card(),
    "pm_card_visa_debit": Card(last4="5556"),
    "pm_card_mastercard": Card(brand="mastercard", last4="4444"),
    "pm_card_amex": Card(brand="amex", last4="8431"),
    "pm_card_discover": Card(brand="discover", last4="9424"),
    "pm_card_chargeDeclined": _PLAIN,
    "pm_card_visa_chargeDeclined": _PLAIN,
    "pm_card_chargeDeclinedInsufficientFunds": _FUNDS,
    "pm_card_visa_chargeDeclinedInsufficientFunds": _FUNDS,
    "pm_card_visa_chargeDeclinedLostCard": _LOST,
    "pm_card_visa_chargeDeclinedStolenCard": _STOLEN,
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": _VELOCITY,
    "pm_card_chargeDeclinedFraudulent": _declined("0019", "fraudulent"),
    "pm_card_chargeDeclinedExpiredCard": Card("declines", "expired_card", None, "Your card has expired.", last4="0069"),
    "pm_card_chargeDeclinedIncorrectCvc": Card(
        "declines", "incorrect_cvc", None, "Your card's security code is incorrect.", last4="0127"
    ),
    "pm_card_chargeDeclinedProcessingError": Card(
        "declines",
        "processing_error",
        None,
        "An error occurred while processing your card. Try again in a little bit.",
        last4="0119",
    ),
    "pm_card_chargeCustomerFail": _declined("0341", "generic_decline"),
    "pm_card_createDispute": Card(dispute="fraudulent", last4="0259"),
    "pm_card_createDisputeProductNotReceived": Card(dispute="product_not_received", last4="2685"),
    "pm_card_pendingRefund": Card(refund="pending", last4="7726"),
    "pm_card_refundFail": Card(last4="5126"),
    "pm_card_authenticationRequired": _SECURE,
    "pm_card_threeDSecureRequired": _SECURE,
    "pm_card_threeDSecure2Required": _SECURE,
    "pm_usBankAccount_success": Card("processes", last4="6789", method="us_bank_account"),
}


def card_of(name: str) -> Card:
    """Raises StripeError for a payment method that is none of Stripe's test ones known here."""
    card = CARDS.get(name)
    if card is None:
        raise no_such("PaymentMethod", name, "payment_method")
    return card
