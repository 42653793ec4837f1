"""An attempt to pay that a browser sends again under the same idempotency key."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.checkout.buyers import Buyer
from services.checkout.holds import OPEN
from shared.documents import PendingOrder
from shared.firestore.client import Database
from shared.firestore.query import Query

_REPEATABLE: Final = timedelta(hours=23)
"""Stripe answers a key with the same payment for a day, by its own clock; after that the attempt is a new one."""
_FEW: Final = 100


@dataclass(frozen=True, slots=True)
class Attempt:
    """``key`` is the browser's own; None is an attempt that can never be known again."""

    buyer: Buyer
    key: str | None
    now: datetime

    @property
    def stripes_key(self) -> str | None:
        """What Stripe, which has one space of keys for all of our account, is told: another buyer's is another, and
        none is one of those that we make for refunds and customers.
        """
        if self.key is None:
            return None
        return "order-" + hashlib.sha256(repr((self.buyer.metadata(), self.key)).encode()).hexdigest()

    async def is_repeated(self, database: Database, promo_path: str | None) -> bool:
        """Whether it was made before, with the same promo code, and Stripe will answer with the payment made then."""
        if self.key is None:
            return False
        attempt = PendingOrder.stored_name("idempotency_key")
        found = await database.query(Query("pendingOrders", where=((attempt, "==", self.key),), limit=_FEW))
        return any(
            self._is_of(order, promo_path) for document in found if (order := PendingOrder.of(document)) is not None
        )

    def _is_of(self, order: PendingOrder, promo_path: str | None) -> bool:
        same_buyer = (order.user_id, order.guest_email) == (self.buyer.user_id, self.buyer.guest_email)
        young = order.created_at is not None and self.now - order.created_at < _REPEATABLE
        return same_buyer and young and order.status == OPEN and order.promo_path == promo_path
