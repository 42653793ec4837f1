"""Everything at once: scans, transfers, refunds, undos and a running reconcile, on a Firestore that fails."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.mailbox import Mailbox
from shared.firestore.client import Database
from tests.support.hands import Hands
from tests.support.services import Reply, Service
from tests.support.shop import Shop, check_invariants, event_on_sale
from tests.support.tickets import Tickets

BUYERS = 6
BATCHES = 40
EVENT = "gala"
STEPS = 240

Step = Callable[[int], Awaitable[Reply]]


class Night:
    """One evening at the door. ``draw`` decides everything, so that a seed repeats it, but for the network's timing."""

    def __init__(self, door: Service, shop: Shop, hands: Hands, draw: random.Random) -> None:
        self.door, self.shop, self.hands, self.draw = door, shop, hands, draw
        self.payments: list[str] = []
        self.batches: list[tuple[str, str, str]] = []

    async def sell(self) -> None:
        for n in range(BATCHES):
            payment = await self.shop.paid(f"u{n % BUYERS}", EVENT, 4)
            await self.shop.finalize(f"u{n % BUYERS}", payment)
            self.payments.append(payment)
        ragers = await self.hands.tickets.ragers()
        self.batches = [(r.user_id or "", r.id, r.ticket_token or "") for r in ragers]

    async def by_token(self, n: int) -> Reply:
        *_, token = self.draw.choice(self.batches)
        return await self.scan({"token": token, "scanId": f"s{n // 2}-{token[:4]}"})

    async def by_user(self, n: int) -> Reply:
        user_id, *_ = self.draw.choice(self.batches)
        return await self.scan({"userId": user_id, "scanId": f"u{n}", "count": self.draw.choice((1, 1, 2))})

    async def scan(self, asked: dict[str, object]) -> Reply:
        return await self.door.post("/scan-ticket", {"eventId": EVENT, **asked})

    async def undo(self, _n: int) -> Reply:
        scans = await self.hands.tickets.scans()
        scan_id = self.draw.choice(scans).id if scans else "none"
        return await self.door.post("/scan-ticket/undo", {"eventId": EVENT, "scanId": scan_id})

    async def transfer(self, n: int) -> Reply:
        owner, rager_id, _ = self.draw.choice(self.batches)
        to = f"v{n}"
        sent = await self.hands.send(owner, rager_id, f"{to}@example.com", quantity=self.draw.choice((1, 2, 4)))
        if sent.status != 200:
            return sent
        return await self.hands.claim(to, await self.hands.token(f"{to}@example.com"))

    async def refund(self, n: int) -> Reply:
        body = {"paymentIntentId": self.draw.choice(self.payments), "reason": "other", "force": n % 2 == 0}
        return await self.shop.checkout.post("/refund-order", body, headers={"x-idempotency-key": f"refund-{n}"})

    async def reconcile(self, n: int) -> Reply:
        return await self.door.post("/reconcile-event-users", {"eventId": EVENT, "dryRun": n % 2 == 0})

    def steps(self) -> list[Step]:
        weights = {
            self.by_token: 10,
            self.by_user: 6,
            self.undo: 2,
            self.transfer: 4,
            self.refund: 2,
            self.reconcile: 1,
        }
        return self.draw.choices(list(weights), list(weights.values()), k=STEPS)


@pytest.mark.parametrize("seed", [20260301, 7])
async def test_the_invariants_hold_whatever_happens_at_once(
    door: Service, shop: Shop, mailbox: Mailbox, database: Database, firestore: EmbeddedFirestore, *, seed: int
) -> None:
    print("seed", seed)
    hands = Hands(shop.checkout, database, mailbox, EVENT)
    await event_on_sale(database, EVENT, 200, dateTime="2030-05-01T19:00:00Z")
    night = Night(door, shop, hands, random.Random(seed))
    await night.sell()
    firestore.faults.seed(seed)
    firestore.faults.set("Commit", Fault(aborted=0.1, lost_reply=0.05))
    free = asyncio.Semaphore(30)

    async def take(n: int, step: Step) -> Reply:
        async with free:
            return await step(n)

    replies = await asyncio.gather(*(take(n, step) for n, step in enumerate(night.steps())))
    firestore.faults.clear()
    told = sorted({(reply.status, reply.code or "") for reply in replies})
    print("answers", told)
    assert {status for status, _ in told} <= {200, 404, 409}
    admitted = await Tickets(database, EVENT).check()
    await check_invariants(database, EVENT)
    assert admitted > 0
    clean = await door.post("/reconcile-event-users", {"eventId": EVENT, "dryRun": True})
    drift = await door.post("/inventory-drift", {"eventId": EVENT})
    assert (clean.body["updatedUsers"], drift.body["drift"]) == (0, 0)
