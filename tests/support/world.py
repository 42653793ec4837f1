"""The whole system in one process, for tests that drive it through anything that may happen to it."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import aiohttp
import pytest
from pydantic import SecretStr

from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.firestore.transactions import Patience
from deploy.local.mailbox import Mailbox
from deploy.local.parts import INDEXES
from deploy.local.stripe import StripeSimulator
from services.checkout.app import create_app as checkout_app
from services.checkout.counter import settlement_of
from services.checkout.settings import CheckoutSettings
from services.scanning.app import create_app as scanning_app
from services.scanning.settings import ScanningSettings
from shared.documents import Event, Fulfillment, Hold, Job, Rager, Refund
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from shared.operations import Decision, Documents, Merge
from shared.records import Record
from shared.wiring import COMMITTER, WORKER
from tests.support.crashing import Life, watched
from tests.support.hands import Hands
from tests.support.services import PROXY_KEY, Reply, Service, serving
from tests.support.shop import STRIPE_KEY, Shop, event_on_sale, put

EVENTS = {"gala": (12, 25.0), "ball": (7, 9.99)}
"""Tickets and price of each."""
PROMO = "promoCodes/TWO"
MAX_USES = 2
GUEST = "gus"
"""Buys without an account; the others have one."""
R = TypeVar("R", bound=Record)
_SECRET = "whsec_test"
_PATIENCE = Patience(idle=0.5)
"""Not a minute, for which a transaction of a crashed client would hold its locks."""
_AUTHORIZED = {"Authorization": f"Bearer {STRIPE_KEY}"}
_COMMON: dict[str, Any] = {
    "proxy_key": SecretStr(PROXY_KEY),
    "admin_auth": "proxy",
    "google_cloud_project": "demo-test",
    "rate_limits": False,
}


def address(uid: str) -> str:
    return f"{uid}@example.com"


@dataclass(frozen=True, slots=True)
class _Passing:
    """Time passes for one document."""

    path: str
    now: datetime

    @property
    def lane(self) -> str:
        return self.path

    def reads(self) -> Sequence[str]:
        return (self.path,)


class ComeRound(_Passing):
    """What a job waits for is over."""

    def decide(self, docs: Documents) -> Decision[None]:
        job = Job.of(docs[self.path])
        waiting = job is not None and job.next_at is not None and job.next_at > self.now
        return Decision(None, (Merge(self.path, Job.patch(next_at=self.now)),) if waiting else ())


class RunOut(_Passing):
    """A hold has been held for as long as it may."""

    def decide(self, docs: Documents) -> Decision[None]:
        hold = Hold.of(docs[self.path])
        held = hold is not None and hold.status == "held"
        return Decision(None, (Merge(self.path, Hold.patch(expires_at=self.now)),) if held else ())


@dataclass
class World:
    """The system, and what was done to it."""

    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    payments: dict[str, str] = field(default_factory=dict)
    """Whose each payment is."""
    transfers: list[tuple[str, str]] = field(default_factory=list)
    """Sender and transfer."""

    async def open(self) -> None:
        enter = self.stack.enter_async_context
        await enter(watched())
        self.firestore = await enter(EmbeddedFirestore(indexes=INDEXES, patience=_PATIENCE))
        environment = pytest.MonkeyPatch()
        environment.setenv("FIRESTORE_EMULATOR_HOST", self.firestore.host)
        self.stack.callback(environment.undo)
        self.stripe = await enter(StripeSimulator())
        self.mailbox = await enter(Mailbox())
        self.session = await enter(aiohttp.ClientSession())
        self.database = Database.connect("demo-test")
        self.stack.push_async_callback(self.database.close)
        self.scanning = await enter(serving(scanning_app(ScanningSettings(**_COMMON))))
        self.settings = self._settings()
        soon = datetime.now(UTC) + timedelta(days=9)
        for event_id, (quantity, price) in EVENTS.items():
            await event_on_sale(self.database, event_id, quantity, price=price, dateTime=soon)
        await put(self.database, PROMO, {"type": "fixed", "value": 3.33, "maxUses": MAX_USES})
        await self.start()

    def _settings(self) -> CheckoutSettings:
        return CheckoutSettings(
            **_COMMON,
            stripe_secret=SecretStr(STRIPE_KEY),
            stripe_webhook_secret=SecretStr(_SECRET),
            stripe_api_base=self.stripe.url,
            resend_api_key=SecretStr("re_test"),
            resend_api_url=self.mailbox.url,
            claim_token_secret=SecretStr("the same for every process"),
            hold_minutes=10,
            job_poll_seconds=0.5,
            commit_deadline_seconds=2,
        )

    async def start(self) -> None:
        self.life = Life()
        self.checkout: Service = await self.life.start(checkout_app(self.settings))
        self.stripe.set_webhook_endpoints([(f"{self.checkout.url}/stripe/webhook", _SECRET)])
        self.shop = Shop(self.checkout, self.stripe.url, self.session)
        self.hands = Hands(self.checkout, self.database, self.mailbox)

    async def close(self) -> None:
        await self.life.end()
        await self.stack.aclose()

    async def crash(self) -> None:
        """The checkout is killed, and another one takes its place."""
        await self.life.crash()
        await self.start()

    def hands_on(self, event_id: str) -> Hands:
        return replace(self.hands, event_id=event_id)

    def as_buyer(self, uid: str) -> dict[str, Any]:
        """The fields that say who buys."""
        guest = {"firebaseId": None, "isGuest": True, "guestEmail": address(uid).title()}
        return guest if uid == GUEST else {}

    async def finalize(self, payment: str) -> Reply:
        uid = self.payments.get(payment, GUEST)
        return await self.shop.finalize(uid, payment, **self.as_buyer(uid))

    async def quiet(self) -> None:
        """Good weather, and nothing left to be done."""
        self.firestore.faults.clear()
        self.stripe.faults.clear()
        self.mailbox.faults.clear()
        self.stripe.webhooks.release("shuffled", 1)
        for _ in range(100):
            await self.stripe.webhooks.settled(30)
            await self.checkout.app[WORKER].idle()
            jobs = await self.all("jobs", Job)
            soon = datetime.now(UTC) + timedelta(minutes=5)
            assert not [job for job in jobs if job.state == "dead"]
            if not [job for job in jobs if job.next_at and job.next_at < soon]:
                return
            await self._time_passes(soon)
        raise AssertionError("there is always something left to be done")

    async def expire(self, payment: str) -> None:
        """The hold's time runs out, and its job comes round. Raises Unavailable where the job would come again."""
        now = datetime.now(UTC)
        await self.checkout.app[COMMITTER].run(RunOut(paths.hold(payment), now))
        await settlement_of(self.checkout.app).settle(payment, now)

    async def _time_passes(self, until: datetime) -> None:
        """Leases of workers that have crashed run out, and what waits for another try is due."""
        due = Job.stored_name("next_at")
        for document in await self.database.query(Query("jobs", where=((due, "<=", until),), order_by=(due,))):
            await self.checkout.app[COMMITTER].run(ComeRound(document.path, datetime.now(UTC)))
        await asyncio.sleep(self.settings.job_poll_seconds)

    async def all(self, collection: str, kind: type[R]) -> list[R]:
        return [record for document in await self.database.query(Query(collection)) if (record := kind.of(document))]

    async def batches(self) -> list[Rager]:
        return [rager for event_id in EVENTS for rager in await self.all(paths.ragers(event_id), Rager)]

    async def left(self, event_id: str) -> int:
        event = Event.of(await self.database.get(paths.event(event_id)))
        assert event is not None
        return event.quantity

    async def ledger(self, payment: str) -> Fulfillment | None:
        return Fulfillment.of(await self.database.get(paths.fulfillment(payment)))

    async def refunds(self, payment: str) -> list[Refund]:
        return await self.all(paths.refunds(payment), Refund)

    async def simulate(self, path: str, body: dict[str, Any]) -> None:
        """The bank's or the dashboard's doing; what is not possible now does not happen."""
        async with self.session.post(f"{self.stripe.url}/_sim/{path}", json=body) as response:
            await response.read()

    async def at_stripe(self, path: str) -> dict[str, Any]:
        async with self.session.get(f"{self.stripe.url}/v1/{path}", headers=_AUTHORIZED) as response:
            assert response.status == 200, await response.text()
            reply: dict[str, Any] = await response.json()
            return reply
