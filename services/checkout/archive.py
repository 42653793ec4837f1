"""Finding the orders of the past: by payment, by number, by address."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.checkout.addresses import spellings
from shared.documents import FulfilledItem, Fulfillment, Purchase, Rager
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Operator, Query
from shared.operations import Value

_MOST: Final = 200
"""Orders of one address that are looked at."""
_MOST_BATCHES: Final = 50


@dataclass(frozen=True, slots=True)
class Archive:
    database: Database

    async def by_payment(self, payment_intent_id: str) -> Fulfillment | None:
        return Fulfillment.of(await self.database.get(paths.fulfillment(payment_intent_id)))

    async def by_number(self, order_number: str) -> Fulfillment | None:
        """Also an order that never had a ledger entry, such as tickets made by hand."""
        purchase = Purchase.of(await self.database.get(paths.purchase(order_number)))
        if purchase is not None:
            return await self.order_of(purchase)
        where: list[tuple[str, Operator, Value]] = [(Fulfillment.stored_name("order_number"), "==", order_number)]
        found = await self.database.query(Query("fulfillments", where=where, limit=1))
        return Fulfillment.of(found[0]) if found else None

    async def order_of(self, purchase: Purchase) -> Fulfillment:
        known = await self.by_payment(purchase.payment_intent_id) if purchase.payment_intent_id else None
        return known or _without_ledger(purchase, await self._batches(purchase.id))

    async def of_address(self, email: str) -> Sequence[Purchase]:
        """The newest first. Older documents are found only as they were typed, or in lower case."""
        lower, typed = Purchase.stored_name("email_lower"), Purchase.stored_name("email")
        queries: list[tuple[str, Operator, Value]] = [(lower, "==", email.lower()), (typed, "in", spellings(email))]
        found = [await self.database.query(Query("purchases", where=[where], limit=_MOST)) for where in queries]
        purchases = {document.path: Purchase.of(document) for documents in found for document in documents}
        known = [purchase for purchase in purchases.values() if purchase is not None]
        return sorted(known, key=lambda purchase: (purchase.date_time is not None, purchase.date_time), reverse=True)

    async def _batches(self, order_number: str) -> Sequence[Rager]:
        where: list[tuple[str, Operator, Value]] = [(Rager.stored_name("order_number"), "==", order_number)]
        found = await self.database.query(Query("ragers", where=where, group=True, limit=_MOST_BATCHES))
        return [rager for document in found if (rager := Rager.of(document))]


def _without_ledger(purchase: Purchase, batches: Sequence[Rager]) -> Fulfillment:
    return Fulfillment(
        path=paths.fulfillment(purchase.payment_intent_id or purchase.id),
        status=purchase.status,
        user_id=purchase.user_id,
        email=purchase.email,
        amount=purchase.amount,
        currency=purchase.currency,
        order_number=purchase.id,
        details=tuple(FulfilledItem(batch.event_id, batch.id, batch.ticket_quantity) for batch in batches),
        items=purchase.items,
        created_at=purchase.date_time,
    )
