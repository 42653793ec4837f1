"""Everything at once: scans and uploads of them, transfers, refunds, undos, a running reconcile and a backfill, on a
Firestore that fails.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.mailbox import Mailbox
from shared.documents import TicketToken
from shared.firestore.client import Database
from tests.support.hands import Hands
from tests.support.services import Reply, Service
from tests.support.shop import Shop, check_invariants, event_on_sale
from tests.support.tickets import Tickets

BUYERS = 6
BATCHES = 40
EVENT = "gala"
STEPS = 240

ITEM_STATUSES = {
    "admitted",
    "already_used",
    "transferred",
    "refunded",
    "inactive",
    "ticket_not_found",
    "scan_id_reused",
}

Step = Callable[[int], Awaitable[Reply]]


class Night:
    """One evening at the door. ``draw`` decides everything, so that a seed repeats it, but for the network's timing."""

    def __init__(self, door: Service, shop: Shop, hands: Hands, draw: random.Random) -> None:
        self.door, self.shop, self.hands, self.draw = door, shop, hands, draw
        self.payments: list[str] = []
        self.batches: list[tuple[str, str, str]] = []
        self.items: Counter[str] = Counter()

    async def sell(self) -> None:
        for n in range(BATCHES):
            payment = await self.shop.paid(f"u{n % BUYERS}", EVENT, 4)
            await self.shop.finalize(f"u{n % BUYERS}", payment)
            self.payments.append(payment)
        ragers = await self.hands.tickets.ragers()
        self.batches = [(r.user_id or "", r.id, r.ticket_token or "") for r in ragers]

    async def lose_codes(self) -> None:
        """Leaves the backfill something to do."""
        for n, (_, rager_id, token) in enumerate(self.batches):
            if n % 4 == 0:
                await self.hands.tickets.forget_mapping(token)
            if n % 8 == 0:
                await self.hands.tickets.change(rager_id, ticket_token=None)

    async def by_token(self, n: int) -> Reply:
        *_, token = self.draw.choice(self.batches)
        asked: dict[str, object] = {"token": token, "scanId": f"s{n // 2}-{token[:4]}"}
        return await (self.scan(asked) if n % 4 < 2 else self.door.post("/scan-ticket", asked))

    async def by_user(self, n: int) -> Reply:
        user_id, *_ = self.draw.choice(self.batches)
        return await self.scan({"userId": user_id, "scanId": f"u{n}", "count": self.draw.choice((1, 1, 2))})

    async def by_rager(self, n: int) -> Reply:
        _, rager_id, _ = self.draw.choice(self.batches)
        return await self.scan({"ragerId": rager_id, "scanId": f"r{n // 2}-{rager_id}"})

    async def by_upload(self, n: int) -> Reply:
        """A few offline scans of the last hours; every second upload repeats the one before."""
        ways = random.Random(n // 2)
        scans = [
            {"scanId": f"o{n // 2}-{place}", "at": f"2026-03-01T{ways.randrange(24):02}:00:00Z", **self.way(ways)}
            for place in range(ways.randrange(1, 12))
        ]
        reply = await self.door.post("/scan-ticket/batch", {"eventId": EVENT, "scans": scans})
        self.items.update(result["status"] for result in reply.body.get("results", ()))
        return reply

    def way(self, draw: random.Random) -> dict[str, object]:
        user_id, rager_id, token = draw.choice(self.batches)
        return draw.choice([{"token": token}, {"ragerId": rager_id}, {"userId": user_id, "count": 2}])

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

    async def backfill(self, n: int) -> Reply:
        return await self.door.post("/backfill-ticket-tokens", {"eventId": EVENT, "dryRun": n % 2 == 0})

    def steps(self) -> list[Step]:
        weights = {
            self.by_token: 10,
            self.by_user: 6,
            self.by_rager: 4,
            self.by_upload: 4,
            self.undo: 2,
            self.transfer: 4,
            self.refund: 2,
            self.reconcile: 1,
            self.backfill: 1,
        }
        return self.draw.choices(list(weights), list(weights.values()), k=STEPS)


async def check_codes(night: Night, database: Database) -> None:
    """After a last backfill every code leads to its batch, and that of a claimed transfer nowhere."""
    await night.backfill(1)
    again = (await night.backfill(1)).body
    names = ("updated", "mappingsCreated", "mappingsRepaired", "disputed", "unusable")
    assert [again[name] for name in names] == [0] * 5
    for rager in await night.hands.tickets.ragers():
        mapping = TicketToken.of(await database.get(f"ticketTokens/{rager.ticket_token or 'none'}"))
        if rager.counts:
            assert mapping is not None
            assert (mapping.event_id, mapping.rager_id) == (EVENT, rager.id)
        elif rager.transferred:
            assert mapping is None, "a claimed transfer takes the mapping away for good"


@pytest.mark.parametrize("seed", [20260301, 7])
async def test_the_invariants_hold_whatever_happens_at_once(
    door: Service, shop: Shop, mailbox: Mailbox, database: Database, firestore: EmbeddedFirestore, *, seed: int
) -> None:
    print("seed", seed)
    hands = Hands(shop.checkout, database, mailbox, EVENT)
    await event_on_sale(database, EVENT, 200, dateTime="2030-05-01T19:00:00Z")
    night = Night(door, shop, hands, random.Random(seed))
    await night.sell()
    await night.lose_codes()
    firestore.faults.seed(seed)
    firestore.faults.set("Commit", Fault(aborted=0.1, lost_reply=0.05))
    firestore.faults.set("BatchGetDocuments", Fault(aborted=0.05, unavailable=0.02, lost_reply=0.02))
    free = asyncio.Semaphore(30)

    async def take(n: int, step: Step) -> Reply:
        async with free:
            return await step(n)

    replies = await asyncio.gather(*(take(n, step) for n, step in enumerate(night.steps())))
    firestore.faults.clear()
    told = sorted({(reply.status, reply.code or "") for reply in replies})
    print("answers", told, "items of uploads", dict(night.items))
    assert {status for status, _ in told} <= {200, 404, 409}
    admitted = await Tickets(database, EVENT).check()
    await check_invariants(database, EVENT)
    assert admitted > 0
    assert set(night.items) <= ITEM_STATUSES
    assert night.items["admitted"] > 0
    await check_codes(night, database)
    clean = await door.post("/reconcile-event-users", {"eventId": EVENT, "dryRun": True})
    drift = await door.post("/inventory-drift", {"eventId": EVENT})
    assert (clean.body["updatedUsers"], drift.body["drift"]) == (0, 0)
