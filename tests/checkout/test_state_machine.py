"""Random ways through the life of orders, with faults; whatever happened, the numbers are right once it is quiet.

Hypothesis chooses the steps and shrinks what breaks. Each run has a system of its own in this process, and the real
clients and sockets between its parts.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import SecretStr

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.mailbox import Mailbox
from deploy.local.parts import INDEXES
from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app as checkout_app
from services.checkout.counter import settlement_of, sweeper_of
from services.checkout.settings import CheckoutSettings
from services.scanning.app import create_app as scanning_app
from services.scanning.settings import ScanningSettings
from shared.documents import Fulfillment, Hold, Job, Rager
from shared.errors import Unavailable
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.wiring import WORKER
from tests.support.hands import CLAIM_LINK, Hands
from tests.support.services import PROXY_KEY, Service, serving
from tests.support.shop import STRIPE_KEY, Shop, check_invariants, event_on_sale, put

T = TypeVar("T")
EVENT = "gala"
TICKETS = 12
SECRET = "whsec_test"
USERS = ("ann", "bob", "cid")
STORM = Fault(aborted=0.2, unavailable=0.1, lost_reply=0.15)
AUTHORIZED = {"Authorization": f"Bearer {STRIPE_KEY}"}


@dataclass
class World:
    """The whole system in this process, and what was done to it."""

    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    payments: dict[str, str] = field(default_factory=dict)
    """Whose each payment is."""
    paid: set[str] = field(default_factory=set)
    transfers: list[tuple[str, str]] = field(default_factory=list)
    """Sender and transfer."""

    async def open(self) -> None:
        enter = self.stack.enter_async_context
        self.firestore = await enter(EmbeddedFirestore(indexes=INDEXES))
        environment = pytest.MonkeyPatch()
        environment.setenv("FIRESTORE_EMULATOR_HOST", self.firestore.host)
        self.stack.callback(environment.undo)
        self.stripe = await enter(StripeSimulator())
        self.mailbox = await enter(Mailbox())
        self.session = await enter(aiohttp.ClientSession())
        self.database = Database.connect("demo-test")
        self.stack.push_async_callback(self.database.close)
        common: dict[str, Any] = {
            "proxy_key": SecretStr(PROXY_KEY),
            "admin_auth": "proxy",
            "google_cloud_project": "demo-test",
        }
        self.scanning = await enter(serving(scanning_app(ScanningSettings(**common))))
        self.settings = CheckoutSettings(
            **common,
            stripe_secret=SecretStr(STRIPE_KEY),
            stripe_webhook_secret=SecretStr(SECRET),
            stripe_api_base=self.stripe.url,
            resend_api_key=SecretStr("re_test"),
            resend_api_url=self.mailbox.url,
            claim_token_secret=SecretStr("the same for every process"),
            hold_minutes=10,
            job_poll_seconds=0.5,
            commit_deadline_seconds=2,
        )
        await event_on_sale(self.database, EVENT, TICKETS, dateTime=datetime.now(UTC) + timedelta(days=9))
        await self.start()

    async def start(self) -> None:
        self.running = AsyncExitStack()
        self.checkout: Service = await self.running.enter_async_context(serving(checkout_app(self.settings)))
        self.stripe.set_webhook_endpoints([(f"{self.checkout.url}/stripe/webhook", SECRET)])
        self.shop = Shop(self.checkout, self.stripe.url, self.session)
        self.hands = Hands(self.checkout, self.database, self.mailbox, EVENT)

    async def close(self) -> None:
        await self.running.aclose()
        await self.stack.aclose()

    async def quiet(self) -> None:
        """Good weather, and nothing left to be done."""
        self.firestore.faults.clear()
        self.stripe.faults.clear()
        self.stripe.webhooks.release("shuffled", 1)
        for _ in range(100):
            await self.stripe.webhooks.settled(30)
            await self.checkout.app[WORKER].idle()
            jobs = [job for document in await self.database.query(Query("jobs")) if (job := Job.of(document))]
            soon = datetime.now(UTC) + timedelta(minutes=5)
            assert not [job for job in jobs if job.state == "dead"]
            if not [job for job in jobs if job.next_at and job.next_at < soon]:
                return
            await self.time_passes(soon)
        raise AssertionError("there is always something left to be done")

    async def expire(self, payment: str) -> None:
        """The hold's time runs out, and its job comes round."""
        stored = await self.database.get(paths.hold(payment))
        hold, now = Hold.of(stored), datetime.now(UTC)
        if hold is not None and hold.status == "held":
            await self.database.client.document(stored.path).update({"expiresAt": now})
            await settlement_of(self.checkout.app).settle(payment, now)

    async def time_passes(self, until: datetime) -> None:
        """Leases of workers that have crashed run out, and what waits for another try is due."""
        due = Job.stored_name("next_at")
        for document in await self.database.query(Query("jobs", where=((due, "<=", until),), order_by=(due,))):
            await put(self.database, document.path, {**(document.fields or {}), due: datetime.now(UTC)})
        await asyncio.sleep(self.settings.job_poll_seconds)

    async def batches(self) -> list[Rager]:
        documents = await self.database.query(Query(paths.ragers(EVENT)))
        return [rager for document in documents if (rager := Rager.of(document))]

    async def stripe_post(self, path: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        url = f"{self.stripe.url}/v1/{path}"
        async with self.session.post(url, data=form or {}, headers=AUTHORIZED) as response:
            reply: dict[str, Any] = await response.json()
            return reply

    async def stripe_get(self, path: str) -> dict[str, Any]:
        async with self.session.get(f"{self.stripe.url}/v1/{path}", headers=AUTHORIZED) as response:
            reply: dict[str, Any] = await response.json()
            return reply


async def check(world: World) -> None:
    """What must hold when it is quiet."""
    await world.quiet()
    for document in await world.database.query(Query("holds")):
        await world.expire(document.id)
    await world.quiet()
    await sweeper_of(world.checkout.app).look()
    assert await world.checkout.metric("checkout_paid_unfulfilled") == 0
    await check_invariants(world.database, EVENT)
    batches = await world.batches()
    for payment, uid in world.payments.items():
        intent = await world.stripe_get(f"payment_intents/{payment}")
        stored = Fulfillment.of(await world.database.get(paths.fulfillment(payment)))
        assert (intent["status"] == "succeeded") == (stored is not None)
        if stored is not None:
            await check_order(world, payment, uid, stored, batches)


async def check_order(world: World, payment: str, uid: str, ledger: Fulfillment, batches: list[Rager]) -> None:
    """Fulfilled or refunded, never both, never twice; Stripe's refunds are the ledger's; one receipt."""
    refunds = (await world.stripe_get(f"refunds?payment_intent={payment}&limit=100"))["data"]
    returned = sum(refund["amount"] for refund in refunds if refund["status"] != "failed")
    assert returned == (ledger.refund.amount if ledger.refund else 0)
    alive = sum(batch.ticket_quantity for batch in batches if batch.payment_intent_id == payment and batch.counts)
    bought = sum(item.quantity for item in ledger.items)
    assert alive in {0, bought}
    assert (alive == 0) == (returned == ledger.amount)
    assert ledger.status == ("refunded" if returned == ledger.amount else "completed")
    receipts = [
        mail
        for mail in world.mailbox.mails(to=f"{uid}@example.com")
        if ledger.order_number in mail.fields["subject"] and "tickets" in mail.fields["subject"]
    ]
    assert len(receipts) == (1 if ledger.created_tickets else 0)


class Orders(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    @initialize()
    def open(self) -> None:
        self.run(self.world.open())

    def teardown(self) -> None:
        try:
            self.run(check(self.world))
        finally:
            self.run(self.world.close())
            self.runner.close()

    def payment(self, draw: int) -> str:
        return list(self.world.payments)[draw % len(self.world.payments)]

    @rule(uid=st.sampled_from(USERS), quantity=st.integers(1, 4))
    def start(self, uid: str, quantity: int) -> None:
        reply = self.run(self.world.shop.start(uid, EVENT, quantity))
        assert reply.status in {200, 409, 503}, reply
        if reply.status == 200:
            self.world.payments[reply.body["paymentIntentId"]] = uid

    @precondition(lambda self: self.world.payments)
    @rule(draw=st.integers(0, 99), method=st.sampled_from(["pm_card_visa", "pm_card_visa", "pm_card_chargeDeclined"]))
    def pay(self, draw: int, method: str) -> None:
        self.run(self.world.shop.pay(self.payment(draw), method))

    @precondition(lambda self: self.world.payments)
    @rule(draw=st.integers(0, 99))
    def finalize(self, draw: int) -> None:
        payment = self.payment(draw)
        reply = self.run(self.world.shop.finalize(self.world.payments[payment], payment))
        assert reply.status in {200, 409, 503}, reply

    @precondition(lambda self: self.world.payments)
    @rule(draw=st.integers(0, 99))
    def finalize_twice_at_once(self, draw: int) -> None:
        payment = self.payment(draw)

        async def twice() -> None:
            one = self.world.shop.finalize(self.world.payments[payment], payment)
            other = self.world.shop.finalize(self.world.payments[payment], payment)
            await asyncio.gather(one, other)

        self.run(twice())

    @precondition(lambda self: self.world.payments)
    @rule(draw=st.integers(0, 99))
    def cancel_payment(self, draw: int) -> None:
        self.run(self.world.stripe_post(f"payment_intents/{self.payment(draw)}/cancel"))

    @precondition(lambda self: self.world.payments)
    @rule(draw=st.integers(0, 99))
    def expire_hold(self, draw: int) -> None:
        with suppress(Unavailable):  # in a storm it may fail, and then the job would come again
            self.run(self.world.expire(self.payment(draw)))

    @precondition(lambda self: self.world.payments)
    @rule(draw=st.integers(0, 99))
    def refund(self, draw: int) -> None:
        body = {"paymentIntentId": self.payment(draw), "reason": "other", "force": True}
        reply = self.run(self.world.checkout.post("/refund-order", body))
        assert reply.status in {200, 404, 409, 503}, reply

    @precondition(lambda self: self.world.payments)
    @rule(draw=st.integers(0, 99))
    def refund_in_the_dashboard(self, draw: int) -> None:
        self.run(self.world.stripe_post("refunds", {"payment_intent": self.payment(draw)}))

    @rule(uid=st.sampled_from(USERS), count=st.integers(1, 3))
    def scan(self, uid: str, count: int) -> None:
        body = {"userId": uid, "eventId": EVENT, "count": count}
        reply = self.run(self.world.scanning.post("/scan-ticket", body))
        assert reply.status in {200, 404, 409, 503}, reply

    @rule(draw=st.integers(0, 99), to=st.sampled_from(USERS), part=st.booleans())
    def transfer(self, draw: int, to: str, part: bool) -> None:
        async def send() -> None:
            owned = [batch for batch in await self.world.batches() if batch.user_id and batch.counts]
            if not owned:
                return
            batch = owned[draw % len(owned)]
            fields: dict[str, Any] = {"quantity": 1} if part else {}
            reply = await self.world.hands.send(str(batch.user_id), batch.id, f"{to}@example.com", **fields)
            assert reply.status in {200, 400, 403, 404, 409, 503}, reply
            if reply.status == 200:
                self.world.transfers.append((str(batch.user_id), reply.body["transferId"]))

        self.run(send())

    @rule(uid=st.sampled_from(USERS), draw=st.integers(0, 99))
    def claim(self, uid: str, draw: int) -> None:
        mails = self.world.mailbox.mails(to=f"{uid}@example.com")
        links = [link[1] for mail in mails if (link := CLAIM_LINK.search(str(mail.fields["text"])))]
        if links:
            reply = self.run(self.world.hands.claim(uid, links[draw % len(links)]))
            assert reply.status in {200, 404, 409, 410, 503}, reply

    @precondition(lambda self: self.world.transfers)
    @rule(draw=st.integers(0, 99))
    def cancel_transfer(self, draw: int) -> None:
        sender, transfer = self.world.transfers[draw % len(self.world.transfers)]
        reply = self.run(self.world.hands.cancel(transfer, sender))
        assert reply.status in {200, 409, 410, 503}, reply

    @rule(how=st.sampled_from(["hold", "release", "reverse", "twice"]))
    def webhooks(self, how: str) -> None:
        async def change() -> None:
            webhooks = self.world.stripe.webhooks
            actions: dict[str, Callable[[], object]] = {
                "hold": webhooks.hold,
                "release": lambda: webhooks.release("shuffled", 3),
                "reverse": lambda: webhooks.release("reversed"),
                "twice": lambda: setattr(self.world.stripe.deliveries, "copies", 2),
            }
            actions[how]()

        self.run(change())

    @rule(storm=st.booleans())
    def weather(self, storm: bool) -> None:
        self.world.firestore.faults.clear()
        if storm:
            self.world.firestore.faults.set("Commit", STORM)
            self.world.firestore.faults.set("BatchGetDocuments", Fault(unavailable=0.1))

    @rule()
    def crash(self) -> None:
        """The checkout goes away in the middle of whatever it does, and another one takes its place."""

        async def restart() -> None:
            for task in asyncio.all_tasks():  # jobs under way end where they are
                if task.get_name().startswith("worker "):
                    task.cancel()
            await self.world.running.aclose()
            await self.world.start()

        self.run(restart())

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.2]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @invariant()
    def nothing_is_oversold(self) -> None:
        async def look() -> None:
            document = await self.world.database.get(paths.event(EVENT))
            quantity: Any = (document.fields or {})["quantity"]
            assert quantity >= 0

        self.run(look())


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestOrders(Orders.TestCase):  # type: ignore[misc,valid-type]  # hypothesis makes it at run time
    settings = settings(
        max_examples=15,
        stateful_step_count=30,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes: for whoever looks into it
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
