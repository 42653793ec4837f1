"""Receipts that somebody asks for again: by an admin for any order, by anybody for their own address.

Both only put a job in the queue. For ``/my-receipts`` that is what keeps its secret: the answer and the work behind it
are the same whether or not the address is known, and what is found goes to the addresses the orders have, never to the
one that was typed.
"""

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

from services.checkout.archive import Archive
from services.checkout.letters import Letter
from services.checkout.mail import Mailer
from services.checkout.receipts import Receipts, address_of, noted
from shared.documents import Fulfillment, Job, Purchase
from shared.errors import Conflict, NotFound
from shared.firestore.committer import Committer
from shared.jobs import enqueue
from shared.operations import Decision, Documents, Put, Value, Write
from shared.worker import Run

AGAIN: Final = "receipt_again"
MINE: Final = "my_receipts"
_LISTED: Final = 20
_ADDRESSES: Final = 5
"""To how many spellings of one address mails go."""


class OrderNotFound(NotFound):
    code = "order_not_found"


class NoAddress(Conflict):
    """The order has no address, and the request gave none."""

    code = "no_address"


class KeyUsedBefore(Conflict):
    code = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class AskOnce:
    """Put a job in the queue unless it is or was there; the job is its own marker."""

    job: Put

    @property
    def lane(self) -> str:
        return self.job.path

    def reads(self) -> Sequence[str]:
        return (self.job.path,)

    def decide(self, docs: Documents) -> Decision[None]:
        earlier, wanted = Job.of(docs[self.job.path]), Job.of_fields(self.job.fields, path=self.job.path)
        if earlier is None:
            return Decision(None, (self.job,))
        if earlier.payload != wanted.payload:
            raise KeyUsedBefore("This idempotency key was used for another request.")
        return Decision(None)


@dataclass(frozen=True, slots=True)
class WhichOrder:
    """By any of these."""

    payment_intent_id: str | None
    order_number: str | None


@dataclass(frozen=True, slots=True)
class ReceiptDesk:
    archive: Archive
    committer: Committer

    async def again(self, which: WhichOrder, email: str | None, key: str | None, now: datetime) -> None:
        """Have the order's receipt sent, to ``email`` or to the order's address.

        Raises OrderNotFound, NoAddress or KeyUsedBefore.
        """
        order = await self._order(which)
        if order is None:
            raise OrderNotFound("There is no such order.")
        if email is None and address_of(order) is None:
            raise NoAddress("This order has no email address. Please give one.")
        payload = {"paymentIntentId": order.id, "orderNumber": order.order_number, "to": email}
        await self.committer.run(AskOnce(_job(AGAIN, payload, key, now)))

    async def mine(self, email: str, order_number: str | None, now: datetime) -> None:
        """Have the orders of an address mailed to it, or the receipt of the one with this number."""
        payload = {"email": email, "orderNumber": order_number}
        await self.committer.run(AskOnce(_job(MINE, payload, None, now)))

    async def _order(self, which: WhichOrder) -> Fulfillment | None:
        if which.payment_intent_id is not None:
            return await self.archive.by_payment(which.payment_intent_id)
        return await self.archive.by_number(which.order_number or "")


def _job(kind: str, payload: Mapping[str, Value], key: str | None, now: datetime) -> Put:
    """A job of its own for each request, so that it really sends again; the same one for the same idempotency key."""
    suffix = sha256(key.encode()).hexdigest()[:32] if key else secrets.token_hex(16)
    return enqueue(f"{kind}-{suffix}", kind, payload, now=now)


@dataclass(frozen=True, slots=True)
class RequestedReceipts:
    """Does what was asked for."""

    archive: Archive
    receipts: Receipts
    mailer: Mailer

    async def again(self, run: Run) -> Sequence[Write]:
        """The job: payload ``paymentIntentId``, ``orderNumber``, ``to``."""
        payload = run.job.payload or {}
        ledger = await self.archive.by_payment(str(payload["paymentIntentId"]))
        order = ledger or await self.archive.by_number(str(payload["orderNumber"]))
        to = payload.get("to") or (address_of(order) if order else None)
        if order is None or to is None:
            return ()
        message_id = await self.receipts.send(order, str(to), run.idempotency_key)
        return [noted(ledger.path, message_id)] if ledger and to == address_of(ledger) else ()

    async def mine(self, run: Run) -> Sequence[Write]:
        """The job: payload ``email``, ``orderNumber``. Nothing is sent where there is nothing to be told."""
        payload = run.job.payload or {}
        purchases = await self.archive.of_address(str(payload["email"]))
        number = payload.get("orderNumber")
        if number is None:
            await self._list(purchases, run)
            return ()
        for purchase in purchases:
            if purchase.id == number and purchase.email:
                await self.receipts.send(await self.archive.order_of(purchase), purchase.email, run.idempotency_key)
        return ()

    async def _list(self, purchases: Sequence[Purchase], run: Run) -> None:
        """Each spelling is told of its own orders only: who knows whether they are one mailbox."""
        orders: dict[str, list[Purchase]] = defaultdict(list)
        for purchase in purchases:
            orders[purchase.email or ""].append(purchase)
        for number, (to, theirs) in enumerate(list(orders.items())[:_ADDRESSES]):
            context = {"orders": theirs[:_LISTED], "more": max(0, len(theirs) - _LISTED)}
            await self.mailer.send(Letter("my_receipts", to, "Your orders", context), f"{run.idempotency_key}-{number}")
            await run.checkpoint()
