"""Stripe, as far as we need it: our refusals instead of its errors, our records instead of its objects."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar, cast

import stripe
from aiohttp import web
from stripe.params import CustomerCreateParams, CustomerUpdateParams, PaymentIntentCreateParams

from services.checkout.settings import CHECKOUT_SETTINGS
from shared.errors import BadRequest, Conflict, Unavailable

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
        )


def _texts(metadata: Mapping[str, object]) -> Mapping[str, str]:
    return {key: str(value) for key, value in metadata.items()}


class Payments:
    """What we ask of Stripe. Every method raises StripeUnavailable when Stripe cannot be reached or is failing."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._stripe = client.v1

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
                return Payment.of(await self._stripe.payment_intents.retrieve_async(payment_intent_id))
            except stripe.InvalidRequestError as error:
                if error.code == "resource_missing":
                    raise InvalidPaymentIntent("This payment is not known.") from error
                raise

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
    """Stripe's errors as ours: https://docs.stripe.com/error-handling."""
    try:
        yield
    except stripe.IdempotencyError as error:
        raise IdempotencyConflict(
            "This order was already started with another cart. Please start again.", message=error.user_message
        ) from error
    except (stripe.CardError, stripe.InvalidRequestError) as error:
        if error.http_status == web.HTTPConflict.status_code:
            raise IdempotencyConflict("This order is being started already.", message=error.user_message) from error
        raise PaymentRefused("The payment could not be started.", message=error.user_message) from error
    except stripe.AuthenticationError as error:
        raise StripeDisabled("Payments are not available.", message="Stripe refused the key.") from error
    except stripe.StripeError as error:
        raise StripeUnavailable("Payments are not available at the moment. Please try again.") from error


PAYMENTS: Final = web.AppKey("payments", Payments)


async def payments(app: web.Application) -> AsyncIterator[None]:
    """Opens the connection to Stripe, where a key is configured."""
    settings = app[CHECKOUT_SETTINGS]
    if settings.stripe_secret is None:
        yield
        return
    http = stripe.HTTPXClient(timeout=_TIMEOUT)
    client = stripe.StripeClient(
        settings.stripe_secret.get_secret_value(),
        http_client=http,
        max_network_retries=_RETRIES,
        base_addresses={"api": settings.stripe_api_base.rstrip("/")},
    )
    app[PAYMENTS] = Payments(client)
    yield
    await http.close_async()  # type: ignore[no-untyped-call]  # the library left this one without types


def stripe_of(app: web.Application) -> Payments:
    """Raises StripeDisabled when no key is configured."""
    if PAYMENTS not in app:
        raise StripeDisabled("Payments are not available.", message="STRIPE_SECRET is not set.")
    return app[PAYMENTS]
