"""Carts, payments and orders."""

from datetime import UTC, datetime

from aiohttp import web

from services.checkout import limits, orders, pricing
from services.checkout.buyers import PaymentOwnerMismatch
from services.checkout.counter import till_of
from services.checkout.customers import Register, Registration
from services.checkout.idempotency import idempotency_key
from services.checkout.metrics import CHECKOUT_METRICS
from services.checkout.payments import (
    IdempotencyConflict,
    InvalidPaymentIntent,
    PaymentRefused,
    StripeDisabled,
    stripe_of,
)
from services.checkout.pending_orders import Order
from services.checkout.promos import InvalidPromoCode
from services.checkout.schedule import EventPast
from services.checkout.schemas.orders import (
    CreateCustomer,
    CreatePaymentIntent,
    CustomerCreated,
    FinalizeOrder,
    OrderFinalized,
    PaymentIntentCreated,
    UnsupportedCurrency,
)
from services.checkout.set_aside import TooManyTickets
from services.checkout.settings import CHECKOUT_SETTINGS
from shared.http import Routes
from shared.wiring import COMMITTER, DB

routes = Routes()

PRICING_REFUSALS = (pricing.EmptyCart, pricing.UnknownEvent, pricing.UnknownTicketType, pricing.AmountMismatch)


@routes.post(
    "/create-payment-intent",
    CreatePaymentIntent,
    PaymentIntentCreated,
    limits=limits.START_PAYMENT,
    refusals=[
        *PRICING_REFUSALS, InvalidPromoCode, pricing.SoldOut, EventPast, TooManyTickets, UnsupportedCurrency,
        PaymentRefused, IdempotencyConflict, StripeDisabled,
    ],
)  # fmt: skip
async def create_payment_intent(request: web.Request, asked: CreatePaymentIntent) -> PaymentIntentCreated:
    """Start paying for a cart, at the server's prices."""
    order = Order(
        asked.buyer(asked.customer_email, asked.name),
        [line.item() for line in asked.cart_items],
        asked.amount,
        asked.address_details,
        asked.promo_code,
    )
    key = idempotency_key(request)
    payment = await till_of(request.app).start(order, idempotency_key=key, now=datetime.now(UTC))
    request.app[CHECKOUT_METRICS].payments.inc()
    return PaymentIntentCreated(
        client_secret=payment.client_secret,
        payment_intent_id=payment.id,
        amount=payment.amount,
        currency=payment.currency,
    )


@routes.post(
    "/create-customer", CreateCustomer, CustomerCreated, limits=limits.CREATE_CUSTOMER, refusals=[StripeDisabled]
)
async def create_customer(request: web.Request, asked: CreateCustomer) -> CustomerCreated:
    """The Stripe customer of an account, made on first need."""
    app = request.app
    mirrored = app[CHECKOUT_SETTINGS].firebase_database_url is not None
    register = Register(app[DB], app[COMMITTER], stripe_of(app), mirrored)
    registered = await register(Registration(asked.uid, asked.email, asked.name or None), datetime.now(UTC))
    return CustomerCreated(
        id=registered.stripe_customer_id, reused=registered.reused, description=registered.description
    )


@routes.post(
    "/finalize-order",
    FinalizeOrder,
    OrderFinalized,
    limits=limits.FINALIZE,
    refusals=[
        InvalidPaymentIntent, PaymentOwnerMismatch, orders.PaymentNotSucceeded, orders.CartMismatch, StripeDisabled
    ],
)  # fmt: skip
async def finalize_order(request: web.Request, asked: FinalizeOrder) -> OrderFinalized:
    """Turn a paid order into tickets; the same order again answers what came of it."""
    finalization = orders.Finalization(
        asked.payment_intent_id,
        asked.buyer(asked.user_email, asked.user_name),
        asked.user_email,
        [line.item() for line in asked.cart_items],
        asked.address_details,
    )
    fulfilled = await orders.finalize(till_of(request.app), finalization, datetime.now(UTC))
    metrics, ledger = request.app[CHECKOUT_METRICS], fulfilled.ledger
    metrics.orders.labels(ledger.status, str(fulfilled.replayed).lower()).inc()
    metrics.tickets.inc(0 if fulfilled.replayed else ledger.created_tickets)
    return OrderFinalized.of(fulfilled)
