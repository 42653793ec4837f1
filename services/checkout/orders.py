"""Finalizing an order: is it paid, is it the caller's, and what was it that was paid for?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.checkout.batches import NewTickets
from services.checkout.buyers import Buyer
from services.checkout.fulfilment import SETTLED, Fulfilled, FulfilOrder, PaidOrder
from services.checkout.payments import Payment
from services.checkout.pending_orders import CART, Till, fingerprint
from services.checkout.pricing import CURRENCY, CartItem, EmptyCart, UnknownEvent, UnknownTicketType
from services.checkout.promos import Applied
from shared.documents import Fulfillment, OrderItem, PendingOrder
from shared.errors import Conflict
from shared.firestore import paths
from shared.operations import Value


class PaymentNotSucceeded(Conflict):
    code = "payment_not_succeeded"


class CartMismatch(Conflict):
    code = "cart_mismatch"


@dataclass(frozen=True, slots=True)
class Finalization:
    """What the browser asks once its payment went through."""

    payment_intent_id: str
    buyer: Buyer
    user_email: str | None
    cart: Sequence[CartItem]
    address: Mapping[str, Value] | None


async def finalize(till: Till, asked: Finalization, now: datetime) -> Fulfilled:
    """Fulfil a paid order, or answer from its ledger.

    Raises InvalidPaymentIntent, PaymentOwnerMismatch, PaymentNotSucceeded or CartMismatch, and writes nothing then.
    """
    payment = await till.payments.payment(asked.payment_intent_id)
    asked.buyer.check_owns(payment)
    ledger_path, pending_path = paths.fulfillment(payment.id), paths.pending_order(payment.id)
    documents = await till.database.get_all([ledger_path, pending_path])
    ledger, pending = Fulfillment.of(documents[ledger_path]), PendingOrder.of(documents[pending_path])
    if ledger is not None and ledger.status in SETTLED and (ledger.user_email or ledger.email or not asked.user_email):
        return Fulfilled(ledger, replayed=True)
    check_paid(payment)
    items = await paid_items(till, payment, pending, asked.cart)
    order = PaidOrder(
        payment_intent_id=payment.id,
        buyer=asked.buyer,
        user_email=asked.user_email,
        amount=payment.amount,
        currency=payment.currency,
        items=items,
        address=asked.address or (pending.address_details if pending else None),
        refunded=payment.refunded,
        promo=Applied.of(pending),
    )
    return await till.committer.run(FulfilOrder(order, [NewTickets.draw() for _ in items], now))


def check_paid(payment: Payment) -> None:
    if payment.status != "succeeded":
        fields = {"status": payment.status}
        raise PaymentNotSucceeded("The payment has not succeeded (yet).", fields=fields)


async def paid_items(
    till: Till, payment: Payment, pending: PendingOrder | None, cart: Sequence[CartItem]
) -> Sequence[OrderItem]:
    """The items that were paid for: the remembered cart, or one that costs just what was paid.

    Raises CartMismatch when neither is there.
    """
    if payment.currency != CURRENCY:
        raise CartMismatch("The payment is in another currency than the order.")
    if pending is not None and pending.items:
        _check_same(pending.amount, payment)
        return pending.items
    try:
        priced, _ = await till.price(cart)
    except (EmptyCart, UnknownEvent, UnknownTicketType) as refusal:
        raise CartMismatch("The cart is not what was paid for.", message=refusal.error) from refusal
    _check_same(priced.amount, payment)
    if payment.metadata.get(CART, fingerprint(priced)) != fingerprint(priced):
        raise CartMismatch("The cart is not what was paid for.", message="Another cart was paid for.")
    return priced.items


def _check_same(amount: int, payment: Payment) -> None:
    if amount != payment.amount:
        raise CartMismatch("The cart is not what was paid for.", message=f"{amount} is not {payment.amount}")
