"""What the state of a payment at Stripe means for the order behind it.

The webhook, the hold's expiry and the sweeper all end here, and the browser's request shares ``fulfil``. They go by the
payment's present state, never by what an event said, so events may come twice, late, or in any order.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from services.checkout.batches import NewTickets
from services.checkout.buyers import Buyer
from services.checkout.fulfilment import SETTLED, Fulfilled, FulfilOrder, PaidOrder
from services.checkout.holds import OPEN, ReleaseHold
from services.checkout.orders import CartMismatch, paid_items
from services.checkout.payments import InvalidPaymentIntent, Payment
from services.checkout.pending_orders import CART, Till
from services.checkout.promos import Applied
from services.checkout.review import RaiseReview
from shared.documents import Fulfillment, Hold, PendingOrder
from shared.firestore import paths

_log: Final = structlog.get_logger()
_GIVEN_UP_AFTER: Final = timedelta(hours=1)
"""An order that nobody has paid for by then is cancelled, at Stripe too."""


@dataclass(frozen=True, slots=True)
class _Known:
    ledger: Fulfillment | None
    order: PendingOrder | None
    hold: Hold | None


@dataclass(frozen=True, slots=True)
class Settlement:
    till: Till

    async def settle(self, payment_intent_id: str, now: datetime, *, failed: bool = False) -> None:
        """Bring an order to where its payment is. ``failed``: an attempt to pay was declined."""
        known = await self._known(payment_intent_id)
        try:
            payment = await self.till.payments.payment(payment_intent_id)
        except InvalidPaymentIntent:
            await self._review(payment_intent_id, known, "unknown", "Stripe does not know this payment.", now)
            await self._release(known, None, now)
            return
        if payment.status == "succeeded":
            await self._succeeded(payment, known, now)
        elif payment.status == "canceled":
            await self._release(known, "canceled", now)
        elif payment.status not in {"processing", "requires_capture"}:  # the bank's to answer, not the buyer's
            await self._unpaid(payment, known, now, failed=failed)

    async def _known(self, payment_intent_id: str) -> _Known:
        ledger, order, hold = (at(payment_intent_id) for at in (paths.fulfillment, paths.pending_order, paths.hold))
        documents = await self.till.database.get_all([ledger, order, hold])
        return _Known(Fulfillment.of(documents[ledger]), PendingOrder.of(documents[order]), Hold.of(documents[hold]))

    async def _succeeded(self, payment: Payment, known: _Known, now: datetime) -> None:
        if known.ledger is not None and known.ledger.status in SETTLED:
            await self._release(known, known.ledger.status, now)  # somebody else made the tickets, from other stock
            return
        if known.order is None and CART not in payment.metadata:
            _log.info("payment_is_not_ours", payment_intent=payment.id)
            return
        try:
            await self._fulfil(payment, known.order, now)
        except CartMismatch as mismatch:
            await self._review(payment.id, known, "stuck", mismatch.message, now)
            if known.order is None:
                await self._release(known, None, now)

    async def _fulfil(self, payment: Payment, order: PendingOrder | None, now: datetime) -> Fulfilled:
        items = await paid_items(self.till, payment, order, ())
        buyer = Buyer(order.user_id, order.guest_email, order.email, order.name) if order else Buyer.of(payment)
        paid = PaidOrder(
            payment_intent_id=payment.id,
            buyer=buyer,
            user_email=None,
            amount=payment.amount,
            currency=payment.currency,
            items=items,
            address=order.address_details if order else None,
            refunded=payment.refunded,
            promo=Applied.of(order),
        )
        return await self.till.committer.run(FulfilOrder(paid, [NewTickets.draw() for _ in items], now))

    async def _unpaid(self, payment: Payment, known: _Known, now: datetime, *, failed: bool) -> None:
        created = known.order.created_at if known.order and known.order.status == OPEN else None
        if created is not None and created <= now - _GIVEN_UP_AFTER:
            await self._give_up(payment, known, now)
            return
        expired = known.hold is not None and known.hold.expires_at is not None and known.hold.expires_at <= now
        declined = failed and payment.status == "requires_payment_method"  # and not on its way again
        if declined or expired:
            await self._release(known, None, now)

    async def _give_up(self, payment: Payment, known: _Known, now: datetime) -> None:
        """Nobody has paid: cancel it, so that nobody can, and close the order."""
        last = await self.till.payments.cancel(payment.id)
        if last.status == "succeeded":
            await self._succeeded(last, known, now)
        elif last.status == "canceled":
            await self._release(known, "canceled", now)

    async def _release(self, known: _Known, status: str | None, now: datetime) -> None:
        """Give back the hold, if there is one, and close the order, if a status says how."""
        hold = known.hold
        if hold is None and known.order is not None:
            hold = Hold(paths.hold(known.order.id), status="released")
        open_order = known.order is not None and known.order.status == OPEN and status is not None
        if hold is not None and (hold.status == "held" or open_order):
            await self.till.committer.run(ReleaseHold(hold, status, now))

    async def _review(self, payment_intent_id: str, known: _Known, status: str, message: str, now: datetime) -> None:
        order = known.order.path if known.order else None
        await self.till.committer.run(RaiseReview(payment_intent_id, order, status, message, now))
