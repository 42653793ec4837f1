"""Stripe, as far as we need it: our refusals instead of its errors, our records instead of its objects."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import stripe
import structlog
from aiohttp import web
from stripe.params import (
    CustomerCreateParams,
    CustomerUpdateParams,
    PaymentIntentCreateParams,
    PaymentIntentRetrieveParams,
    RefundCreateParams,
)

from services.checkout.settings import CHECKOUT_SETTINGS
from shared.errors import BadRequest, Conflict, Unavailable

_log: Final = structlog.get_logger()
T = TypeVar("T")

_RETRIES: Final = 3
_TIMEOUT: Final = 20.0


class StripeDisabled(Unavailable):
    code = "stripe_disabled"


class StripeUnavailable(Unavailable):
    code = "stripe_unavailable"


class PaymentRefused(BadRequest):
    """Stripe does not take the request as it is, e.g. an amount below its minimum."""

    code = "payment_refused"


class RefundRefused(Conflict):
    code = "refund_refused"


class IdempotencyConflict(Conflict):
    code = "idempotency_conflict"


class InvalidPaymentIntent(BadRequest):
    code = "invalid_payment_intent"


@dataclass(frozen=True, slots=True)
class Payment:
    """A PaymentIntent. ``amount`` is in minor units of ``currency``."""

    id: str
    status: str
    amount: int
    currency: str
    client_secret: str | None
    receipt_email: str | None
    metadata: Mapping[str, str]
    refunded: int = 0
    """Minor units that have gone back already; known only where the payment was asked for."""

    @classmethod
    def of(cls, intent: stripe.PaymentIntent) -> "Payment":
        metadata = _texts(intent.metadata.to_dict() if intent.metadata else {})
        return cls(
            intent.id,
            intent.status,
            intent.amount,
            intent.currency,
            intent.client_secret,
            intent.receipt_email,
            metadata,
            charge.amount_refunded if isinstance(charge := intent.latest_charge, stripe.Charge) else 0,
        )


REFUND_KEY: Final = "refund"
_REFUND_STATES: Final = {"succeeded": "succeeded", "failed": "failed", "canceled": "failed"}
"""Everything else (pending, requires_action) is still on its way."""


@dataclass(frozen=True, slots=True)
class StripeRefund:
    """``key`` is our own name for it, None for one made in the dashboard."""

    id: str
    amount: int
    currency: str
    status: str
    key: str | None
    error: str | None

    @classmethod
    def of(cls, refund: stripe.Refund) -> "StripeRefund":
        metadata = _texts(refund.metadata.to_dict() if refund.metadata else {})
        status = _REFUND_STATES.get(refund.status or "", "pending")
        error = getattr(refund, "failure_reason", None)
        return cls(refund.id, refund.amount, refund.currency, status, metadata.get(REFUND_KEY), error)


def _texts(metadata: Mapping[str, object]) -> Mapping[str, str]:
    return {key: str(value) for key, value in metadata.items()}


class Payments:
    """What we ask of Stripe. ``live`` says whether it is about real money.

    Every method raises StripeUnavailable when Stripe cannot be reached or is failing.
    """

    def __init__(self, client: stripe.StripeClient, *, live: bool = False) -> None:
        self._stripe = client.v1
        self.live = live

    async def create_intent(self, params: PaymentIntentCreateParams, idempotency_key: str | None) -> Payment:
        """Raises PaymentRefused or IdempotencyConflict (the key was used for another cart, or is in use)."""
        options = {"idempotency_key": idempotency_key} if idempotency_key else {}
        with _refusals():
            intent = await self._stripe.payment_intents.create_async(params, cast("stripe.RequestOptions", options))
        return Payment.of(intent)

    async def payment(self, payment_intent_id: str) -> Payment:
        """Raises InvalidPaymentIntent if there is none with this id."""
        with _refusals():
            try:
                expanded: PaymentIntentRetrieveParams = {"expand": ["latest_charge"]}
                return Payment.of(await self._stripe.payment_intents.retrieve_async(payment_intent_id, expanded))
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    raise InvalidPaymentIntent("This payment is not known.") from error
                raise

    async def cancel(self, payment_intent_id: str) -> Payment:
        """Make sure that it is not paid any more, unless it has been."""
        with _refusals():
            try:
                return Payment.of(await self._stripe.payment_intents.cancel_async(payment_intent_id))
            except stripe.InvalidRequestError as error:
                if error.code != "payment_intent_unexpected_state":
                    raise
        return await self.payment(payment_intent_id)

    async def refund(self, payment_intent_id: str, key: str, amount: int) -> StripeRefund:
        """Send money back, once for each key. Raises RefundRefused when Stripe will not."""
        try:
            made = await self.refunds(payment_intent_id)  # Stripe forgets idempotency keys after a day
        except PaymentRefused as refused:
            raise RefundRefused("Stripe does not refund this.", message=refused.message) from refused
        for known in made:
            if known.key == key:
                return known
        params: RefundCreateParams = {
            "payment_intent": payment_intent_id,
            "amount": amount,
            "metadata": {REFUND_KEY: key},
        }
        with _refusals():
            try:
                created = await self._stripe.refunds.create_async(
                    params, {"idempotency_key": f"refund-{payment_intent_id}-{key}"}
                )
            except stripe.InvalidRequestError as error:
                raise RefundRefused("Stripe does not refund this.", message=error.user_message) from error
        return StripeRefund.of(created)

    async def refunds(self, payment_intent_id: str) -> Sequence[StripeRefund]:
        """All refunds of a payment, newest first."""
        with _refusals():
            page = await self._stripe.refunds.list_async({"payment_intent": payment_intent_id, "limit": 100})
            return [StripeRefund.of(refund) async for refund in page.auto_paging_iter()]

    async def dispute(self, dispute_id: str) -> tuple[str, str]:
        """Its reason, and how it stands."""
        with _refusals():
            found = await self._stripe.disputes.retrieve_async(dispute_id)
        return found.reason, found.status

    async def create_customer(self, params: CustomerCreateParams, idempotency_key: str) -> str:
        """The new customer's id."""
        with _refusals():
            created = await self._stripe.customers.create_async(params, {"idempotency_key": idempotency_key})
        return created.id

    async def update_customer(self, customer_id: str, params: CustomerUpdateParams) -> None:
        with _refusals():
            await self._stripe.customers.update_async(customer_id, params)


@contextmanager
def _refusals() -> Iterator[None]:
    """Stripe's errors as ours: https://docs.stripe.com/error-handling. Its own words name parameters and ids of the
    account, so they are for the log.
    """
    try:
        yield
    except stripe.IdempotencyError as error:
        raise IdempotencyConflict(
            "This order was already started with another cart. Please start again.",
            message="The idempotency key was used for another request.",
        ) from error
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        _log.warning("stripe_refused", code=error.code, param=error.param, stripe_request=error.request_id)
        raise PaymentRefused("The payment could not be started.", message=_detail(error)) from error
    except stripe.AuthenticationError as error:
        raise StripeDisabled("Payments are not available.", message="Stripe refused the key.") from error
    except stripe.StripeError as error:
        if error.http_status == web.HTTPConflict.status_code:
            raise IdempotencyConflict("This is being done already.") from error
        raise StripeUnavailable("Payments are not available at the moment. Please try again.") from error


def _detail(error: stripe.StripeError) -> str:
    """``code`` is from Stripe's closed set, such as ``amount_too_small``."""
    return f"Stripe refuses it: {error.code or 'no code given'}."


PAYMENTS: Final = web.AppKey("payments", Payments)


async def payments(app: web.Application) -> AsyncIterator[None]:
    """Opens the connection to Stripe, where a key is configured."""
    settings = app[CHECKOUT_SETTINGS]
    if settings.stripe_secret is None:
        yield
        return
    http = stripe.HTTPXClient(timeout=_TIMEOUT)
    key = settings.stripe_secret.get_secret_value()
    client = stripe.StripeClient(
        key,
        http_client=http,
        max_network_retries=_RETRIES,
        base_addresses={"api": settings.stripe_api_base.rstrip("/")},
    )
    app[PAYMENTS] = Payments(client, live="_live_" in key)
    yield
    await http.close_async()  # type: ignore[no-untyped-call]  # the library left this one without types


def stripe_of(app: web.Application) -> Payments:
    """Raises StripeDisabled when no key is configured."""
    if PAYMENTS not in app:
        raise StripeDisabled("Payments are not available.", message="STRIPE_SECRET is not set.")
    return app[PAYMENTS]
