"""``make demo``: the main job from an empty system to its end, each step a line, and what must hold afterwards.

Exit code 0 if every step went as it should and every invariant holds, 1 with the reason otherwise.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import aiohttp
from google.cloud.firestore import AsyncClient

from deploy.local.stack import Stack, StackFailed
from shared.documents import Event, Rager, Summary
from shared.firestore import paths
from shared.operations import Document

EVENT: Final = "launch-night"
USER: Final = "ada"
TICKETS: Final = 100
CARTS: Final = (2, 3)
HEADERS: Final = {"x-proxy-key": "dev-proxy"}
INTERRUPTED: Final = 128 + signal.SIGINT
STRIPE: Final = {"Authorization": "Bearer sk_test_local"}


class DemoFailed(Exception):  # noqa: N818  the sentence that ends the demo
    """A step did not go as it should, or an invariant does not hold."""


@dataclass(slots=True)
class Narrator:
    """Prints steps with the time they took."""

    since: float = field(default_factory=time.perf_counter)

    def step(self, what: str, outcome: str) -> None:
        now = time.perf_counter()
        print(f"  {what:<34} {outcome:<58} {(now - self.since) * 1000:7.0f} ms", flush=True)
        self.since = now

    def heading(self, text: str) -> None:
        print(f"\n{text}", flush=True)
        self.since = time.perf_counter()


@dataclass(frozen=True, slots=True)
class Demo:
    urls: Mapping[str, str]
    session: aiohttp.ClientSession
    database: AsyncClient
    narrator: Narrator

    async def post(self, path: str, body: Mapping[str, Any], *, expected: int = 200) -> dict[str, Any]:
        async with self.session.post(self.urls["gateway"] + path, json=body, headers=HEADERS) as response:
            reply: dict[str, Any] = await response.json()
            if response.status != expected:
                raise DemoFailed(f"{path} answered {response.status} instead of {expected}: {reply}")
            return reply

    async def confirm(self, payment: str) -> str:
        url = f"{self.urls['stripe']}/v1/payment_intents/{payment}/confirm"
        form = {"payment_method": "pm_card_visa", "return_url": self.urls["gateway"]}
        async with self.session.post(url, data=form, headers=STRIPE) as response:
            return str((await response.json())["status"])

    async def play(self) -> None:
        await self.sell()
        ragers = await self.buy()
        await self.scan(ragers)
        await self.look_back()
        await self.check()

    async def sell(self) -> None:
        self.narrator.heading("Selling")
        event = {
            "name": "Launch Night",
            "dateTime": datetime.now(UTC) + timedelta(days=7),
            "price": 25.0,
            "quantity": TICKETS,
            "seededQuantity": TICKETS,
        }
        await self.database.document(paths.event(EVENT)).set(event)
        self.narrator.step("event", f"Launch Night, {TICKETS} tickets at 25.00 USD")

    async def buy(self) -> list[str]:
        """Two carts for one user; the ids of the batches that come of them."""
        ragers = []
        for number, quantity in enumerate(CARTS, 1):
            cart = [{"productId": EVENT, "quantity": quantity}]
            buyer = {"firebaseId": USER, "customerEmail": "ada@example.com", "name": "Ada"}
            started = await self.post("/create-payment-intent", {**buyer, "cartItems": cart})
            payment = started["paymentIntentId"]
            self.narrator.step(f"cart {number}", f"{quantity} tickets, {started['amount'] / 100:.2f} USD to pay")
            self.narrator.step(f"payment {number}", await self.confirm(payment))
            order = {"paymentIntentId": payment, "firebaseId": USER, "userEmail": "ada@example.com", "userName": "Ada"}
            done = await self.post("/finalize-order", order)
            self.narrator.step(f"order {number}", f"{done['orderNumber']}, {done['createdTickets']} tickets created")
            again = await self.post("/finalize-order", order)
            if not again.get("idempotent") or again["orderNumber"] != done["orderNumber"]:
                raise DemoFailed(f"Finalizing again was not recognised: {again}")
            self.narrator.step(f"order {number} again", f"{again['message']}, nothing new")
            ragers += [detail["ragerId"] for detail in done["details"]]
        return ragers

    async def scan(self, ragers: list[str]) -> None:
        self.narrator.heading("At the door")
        who = {"userId": USER, "eventId": EVENT}
        seen = await self.post("/scan-ticket/preview", who)
        self.narrator.step("preview", f"{seen['remainingTotal']} tickets in {len(seen['items'])} batches")
        first = await self.post("/scan-ticket", {**who, "scannerId": "north-door", "scanId": "demo-1"})
        self.narrator.step("scan by user", f"admitted, {first['remainingTotal']} left")
        replay = await self.post("/scan-ticket", {**who, "scannerId": "north-door", "scanId": "demo-1"})
        if not replay.get("replayed") or replay["remainingTotal"] != first["remainingTotal"]:
            raise DemoFailed(f"The same scan again consumed a ticket: {replay}")
        self.narrator.step("the same scan again", "the same answer, nothing consumed")
        for rager in ragers:
            await self.empty(rager)
        denied = await self.post("/scan-ticket", who, expected=409)
        self.narrator.step("scan by user", f"{denied['code']}: {denied['error']}")

    async def empty(self, rager_id: str) -> None:
        """Scan one batch by its token until the door refuses it."""
        stored = await self.database.document(paths.rager(EVENT, rager_id)).get()
        token = stored.get("ticketToken")
        admitted = 0
        for _ in range(stored.get("ticketQuantity") - stored.get("usedCount")):
            await self.post("/scan-ticket", {"token": token, "eventId": EVENT, "scannerId": "south-door"})
            admitted += 1
        denied = await self.post("/scan-ticket", {"token": token, "eventId": EVENT}, expected=409)
        if denied["code"] != "already_used":
            raise DemoFailed(f"A used-up batch was refused as {denied['code']}")
        self.narrator.step("scan by token until refused", f"{admitted} admitted, then {denied['code']}")

    async def look_back(self) -> None:
        self.narrator.heading("Afterwards")
        summary = await self.summary()
        self.narrator.step("summary", f"{summary.used_count} of {summary.total_tickets} tickets used")
        for mail in await self.mails(len(CARTS)):
            self.narrator.step("mailbox", f"{mail['subject']} -> {', '.join(mail['to'])}")

    async def mails(self, count: int) -> list[dict[str, Any]]:
        """Receipts are sent in the background, so wait a little for them."""
        for _ in range(100):
            async with self.session.get(self.urls["mailbox"] + "/emails") as response:
                mails: list[dict[str, Any]] = (await response.json())["data"]
            if len(mails) >= count:
                return mails
            await asyncio.sleep(0.1)
        raise DemoFailed(f"{len(mails)} receipts arrived instead of {count}.")

    async def summary(self) -> Summary:
        path = paths.summary(EVENT, USER)
        found = Summary.of(Document(path, (await self.database.document(path).get()).to_dict()))
        if found is None:
            raise DemoFailed("There is no summary for the buyer.")
        return found

    async def check(self) -> None:
        self.narrator.heading("What must hold")
        path = paths.event(EVENT)
        event = Event.of(Document(path, (await self.database.document(path).get()).to_dict()))
        batches = [
            Rager.of_fields(stored.to_dict() or {}, path=stored.reference.path)
            async for stored in self.database.collection(paths.ragers(EVENT)).stream()
        ]
        sold, used = sum(batch.ticket_quantity for batch in batches), sum(batch.used_count for batch in batches)
        left, bought = event.quantity if event else -1, sum(CARTS)
        summary = await self.summary()
        summed = (summary.total_tickets, summary.used_count)
        self.hold("inventory + tickets = seeded", left + sold == TICKETS, f"{left} + {sold} = {TICKETS}")
        self.hold("tickets = tickets paid for", sold == bought, f"{sold} = {bought}")
        self.hold("summary = sum of batches", summed == (sold, used), f"{sold}, {used} used")
        self.hold("every ticket was admitted once", used == sold, f"{used} = {sold}")

    def hold(self, name: str, holds: bool, figures: str) -> None:
        self.narrator.step(name, f"{figures}  {'holds' if holds else 'BROKEN'}")
        if not holds:
            raise DemoFailed(f"Broken: {name} ({figures}).")


async def demo() -> None:
    narrator = Narrator()
    narrator.heading("Starting the whole system on free ports")
    async with Stack() as stack, aiohttp.ClientSession() as session:
        narrator.step("system", f"ready at {stack.urls['gateway']}")
        os.environ["FIRESTORE_EMULATOR_HOST"] = stack.urls["firestore"]  # the client library asks nowhere else
        database = AsyncClient(project=stack.urls["project"])
        await Demo(stack.urls, session, database, narrator).play()
    narrator.heading("Done: sold, fulfilled and scanned, and the numbers are right.")


def main() -> int:
    argparse.ArgumentParser(
        prog="python -m deploy.local.demo",
        description="Sells, fulfils and scans on a system of its own, and checks the numbers. Leaves nothing behind.",
    ).parse_args()
    try:
        asyncio.run(demo())
    except (DemoFailed, StackFailed) as failed:
        print(f"\nThe demo failed. {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was interrupted; what it had started is stopped.", file=sys.stderr)
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
