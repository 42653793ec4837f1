"""Tickets that change hands, as the web app asks for it: sent, claimed by the link in the mail, taken back."""

import re
from dataclasses import dataclass
from typing import Any

from deploy.local.mailbox import Mailbox
from shared.documents import Notification, TicketTransfer, User
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from tests.support.services import Reply, Service
from tests.support.shop import event_on_sale
from tests.support.tickets import Tickets

CLAIM_LINK = re.compile(r"/claim-ticket\?t=([A-Za-z0-9_=-]+)")


@dataclass(frozen=True, slots=True)
class Hands:
    checkout: Service
    database: Database
    mailbox: Mailbox
    event_id: str = "gala"

    @property
    def tickets(self) -> Tickets:
        return Tickets(self.database, self.event_id)

    async def sold(self, uid: str, quantity: int, rager_id: str, **changes: Any) -> None:
        """A batch of an event that began with a hundred tickets."""
        if not (await self.database.get(paths.event(self.event_id))).exists:
            date = "2030-05-01T19:00:00Z"
            await event_on_sale(self.database, self.event_id, 100 - quantity, seededQuantity=100, dateTime=date)
        await self.tickets.sell(uid, quantity, rager_id, email=f"{uid}@example.com", **changes)

    async def send(self, sender: str, rager_id: str, to: str, *, key: str | None = None, **fields: Any) -> Reply:
        """``to`` is an address, or a username with its @."""
        kind = "recipientUsername" if to.startswith("@") else "recipientEmail"
        body = {
            "ragerId": rager_id,
            "eventId": self.event_id,
            "senderUserId": sender,
            "senderEmail": f"{sender}@example.com",
            "senderName": sender.title(),
            kind: to,
            **fields,
        }
        headers = {"x-idempotency-key": key} if key else None
        return await self.checkout.post("/transfer-ticket", body, headers=headers)

    async def sent(self, sender: str, rager_id: str, to: str, **fields: Any) -> str:
        """The transfer's id."""
        reply = await self.send(sender, rager_id, to, **fields)
        assert reply.status == 200, reply
        transfer_id: str = reply.body["transferId"]
        return transfer_id

    async def token(self, to: str) -> str:
        """The claim token in the last offer that this address was sent."""
        await self.mailbox.arrived(1, to=to)
        found = [CLAIM_LINK.search(str(mail.fields["text"])) for mail in self.mailbox.mails(to)]
        return next(link[1] for link in found if link)

    async def claim(self, uid: str, token: str, **fields: Any) -> Reply:
        body = {
            "claimToken": token,
            "claimerUserId": uid,
            "claimerEmail": f"{uid}@example.com",
            "claimerName": uid.title(),
            **fields,
        }
        return await self.checkout.post("/claim-ticket", body)

    async def cancel(self, transfer_id: str, sender: str | None) -> Reply:
        sent_by = {"senderUserId": sender} if sender else {}
        return await self.checkout.post("/cancel-transfer", {"transferId": transfer_id, **sent_by})

    async def preview(self, token: str) -> Reply:
        return await self.checkout.request("GET", "/transfer-preview", params={"t": token})

    async def transfer(self, transfer_id: str) -> TicketTransfer:
        transfer = TicketTransfer.of(await self.database.get(paths.ticket_transfer(transfer_id)))
        assert transfer is not None
        return transfer

    async def news(self, uid: str) -> list[Notification]:
        """A user's notifications; the counter says how many are unread."""
        found = await self.database.query(Query(f"users/{uid}/notifications"))
        news = [notification for document in found if (notification := Notification.of(document))]
        user = User.of(await self.database.get(paths.user(uid)))
        assert (user.unread_notifications if user else 0) == sum(not notification.read for notification in news)
        return news
