"""Random ways through the life of orders, with faults; whatever happened, the numbers are right once it is quiet.

Hypothesis chooses the steps and shrinks what breaks. Each run has a system of its own in this process, and the real
clients and sockets between its parts.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import aiohttp
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from deploy.local import http_faults
from deploy.local.firestore.faults import Fault
from shared.errors import Unavailable
from tests.support.audit import audit
from tests.support.hands import CLAIM_LINK
from tests.support.services import Reply
from tests.support.world import EVENTS, GUEST, World, address

T = TypeVar("T")
USERS = ("ann", "bob", "cid")
STORM = Fault(aborted=0.2, unavailable=0.1, lost_reply=0.15)
CARDS = (*("pm_card_visa",) * 3, "pm_card_chargeDeclined", "pm_card_threeDSecure2Required")
DRAW = st.integers(0, 99)
BUYERS = st.sampled_from((*USERS, GUEST))
PROMOS = st.sampled_from([None, None, "two"])
QUANTITIES = st.integers(1, 4)
ONE_OF_EACH = st.tuples(QUANTITIES, QUANTITIES).map(lambda quantities: list(zip(EVENTS, quantities, strict=True)))
CARTS = ONE_OF_EACH | st.lists(st.tuples(st.sampled_from(sorted(EVENTS)), QUANTITIES), min_size=1, max_size=2)


class Orders(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = World()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def expect(self, reply: Awaitable[Reply], *statuses: int) -> Reply:
        """A request that may also meet a dependency that is down, but never a fault of ours."""

        async def answer() -> Reply:
            return await reply

        answered = self.run(answer())
        assert answered.status in {200, 503, *statuses}, answered
        return answered

    @initialize(carts=st.lists(st.tuples(BUYERS, CARTS, PROMOS), min_size=2, max_size=4))
    def open(self, carts: list[tuple[str, list[tuple[str, int]], str | None]]) -> None:
        """With orders that are paid for, so that there is something to go wrong with."""
        self.run(self.world.open())
        for uid, cart, promo in carts:
            self.buy(uid, cart, promo, CARDS[0])

    def teardown(self) -> None:
        try:
            self.run(audit(self.world))
        finally:
            self.run(self.world.close())
            self.runner.close()

    def payment(self, draw: int) -> str:
        """One of those that were started, or one that nobody knows.

        No rule has a precondition that depends on what came of others: faults do not come the same way twice.
        """
        payments = list(self.world.payments) or ["pi_unknown"]
        return payments[draw % len(payments)]

    @rule(uid=BUYERS, cart=CARTS, promo=PROMOS, method=st.sampled_from((*CARDS, None)))
    def buy(self, uid: str, cart: list[tuple[str, int]], promo: str | None, method: str | None) -> None:
        """Start to pay for a cart, and go through with it unless the method is None."""
        payment = self._start(uid, cart, promo)
        if payment and method:
            self._pay(payment, method)

    @rule(uid=BUYERS, cart=ONE_OF_EACH, promo=PROMOS, finalize=st.booleans())
    def pay_when_all_is_gone(self, uid: str, cart: list[tuple[str, int]], promo: str | None, finalize: bool) -> None:
        """The hold runs out, somebody takes what is left of the first event, and then the buyer pays after all."""
        payment = self._start(uid, cart, promo)
        if payment is None:
            return
        with suppress(Unavailable):
            self.run(self.world.expire(payment))
            left = self.run(self.world.left(cart[0][0]))
            if left:
                self.buy("bob", [(cart[0][0], left)], None, CARDS[0])
        self._pay(payment, CARDS[0])
        if finalize:
            self.expect(self.world.finalize(payment), 400, 409)

    def _start(self, uid: str, cart: list[tuple[str, int]], promo: str | None) -> str | None:
        lines = [{"productId": event_id, "quantity": quantity} for event_id, quantity in cart]
        fields = {"cartItems": lines, "promoCode": promo, **self.world.as_buyer(uid)}
        reply = self.expect(self.world.shop.start(uid, "", **fields), 409, 400)
        assert reply.status != 400 or reply.code == "invalid_promo_code", reply
        if reply.status != 200:
            return None
        payment: str = reply.body["paymentIntentId"]
        self.world.payments[payment] = uid
        return payment

    @rule(draw=DRAW, method=st.sampled_from(CARDS))
    def pay(self, draw: int, method: str) -> None:
        self._pay(self.payment(draw), method)

    def _pay(self, payment: str, method: str) -> None:
        with suppress(aiohttp.ClientError):  # the browser does not always hear from Stripe
            self.run(self.world.shop.pay(payment, method))

    @rule(draw=DRAW, outcome=st.sampled_from(["succeeded", "failed"]))
    def authenticate(self, draw: int, outcome: str) -> None:
        """The buyer comes back from the bank's page. Those who never do are left to expire."""
        self.run(self.world.simulate(f"payment_intents/{self.payment(draw)}/complete", {"outcome": outcome}))

    @rule(draw=DRAW)
    def finalize(self, draw: int) -> None:
        self.expect(self.world.finalize(self.payment(draw)), 400, 409)

    @rule(draw=DRAW)
    def finalize_twice_at_once(self, draw: int) -> None:
        payment = self.payment(draw)

        async def twice() -> None:
            await asyncio.gather(self.world.finalize(payment), self.world.finalize(payment))

        self.run(twice())

    @rule(draw=DRAW)
    def cancel_payment(self, draw: int) -> None:
        async def cancel() -> None:
            url = f"{self.world.stripe.url}/v1/payment_intents/{self.payment(draw)}/cancel"
            async with self.world.session.post(url, headers={"Authorization": "Bearer sk_test_x"}) as response:
                await response.read()

        with suppress(aiohttp.ClientError):
            self.run(cancel())

    @rule(draw=DRAW)
    def expire_hold(self, draw: int) -> None:
        with suppress(Unavailable):  # in a storm it may fail, and then the job would come again
            self.run(self.world.expire(self.payment(draw)))

    @rule(draw=DRAW, force=st.booleans())
    def refund(self, draw: int, force: bool) -> None:
        self._refund(self.payment(draw), force=force)

    @rule(draw=DRAW, cents=st.integers(1, 6000))
    def refund_an_amount(self, draw: int, cents: int) -> None:
        self._refund(self.payment(draw), amountCents=cents, force=True)

    @rule(draw=DRAW, place=DRAW)
    def refund_an_item(self, draw: int, place: int) -> None:
        payment = self.payment(draw)
        with suppress(Unavailable):
            ledger = self.run(self.world.ledger(payment))
            if ledger and ledger.details:
                item = {"ragerId": ledger.details[place % len(ledger.details)].rager_id}
                self._refund(payment, items=[item], force=True)

    def _refund(self, payment: str, **fields: Any) -> None:
        body = {"paymentIntentId": payment, "reason": "other", **fields}
        self.expect(self.world.checkout.post("/refund-order", body), 400, 404, 409)

    @rule(draw=DRAW, part=st.sampled_from([None, None, 500]))
    def refund_in_the_dashboard(self, draw: int, part: int | None) -> None:
        amount = {"amount": part} if part else {}
        self.run(self.world.simulate("refunds", {"payment_intent": self.payment(draw), **amount}))

    @rule(uid=st.sampled_from(USERS), event_id=st.sampled_from(sorted(EVENTS)), count=st.integers(1, 3))
    def scan(self, uid: str, event_id: str, count: int) -> None:
        body = {"userId": uid, "eventId": event_id, "count": count}
        self.expect(self.world.scanning.post("/scan-ticket", body), 404, 409)

    @rule(draw=DRAW, to=st.sampled_from(USERS), part=st.booleans())
    def transfer(self, draw: int, to: str, part: bool) -> None:
        with suppress(Unavailable):
            owned = [batch for batch in self.run(self.world.batches()) if batch.user_id and batch.counts]
            if not owned:
                return
            batch = owned[draw % len(owned)]
            fields: dict[str, Any] = {"quantity": 1} if part else {}
            hands, sender = self.world.hands_on(batch.event_id), str(batch.user_id)
            reply = self.expect(hands.send(sender, batch.id, address(to), **fields), 400, 403, 404, 409)
            if reply.status == 200:
                self.world.transfers.append((sender, reply.body["transferId"]))

    @rule(uid=st.sampled_from(USERS), draw=DRAW)
    def claim(self, uid: str, draw: int) -> None:
        mails = self.world.mailbox.mails(to=address(uid))
        links = [link[1] for mail in mails if (link := CLAIM_LINK.search(str(mail.fields["text"])))]
        if links:
            self.expect(self.world.hands.claim(uid, links[draw % len(links)]), 404, 409, 410)

    @rule(draw=DRAW)
    def cancel_transfer(self, draw: int) -> None:
        if self.world.transfers:
            sender, transfer = self.world.transfers[draw % len(self.world.transfers)]
            self.expect(self.world.hands.cancel(transfer, sender), 409, 410)

    @rule()
    def claim_what_the_guest_bought(self) -> None:
        body = {"userId": "cid", "userEmail": address(GUEST)}
        self.expect(self.world.checkout.post("/claim-guest-tickets", body))

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

    @rule(
        kind=st.sampled_from(["refuse", "lost_reply"]),
        path=st.sampled_from(["/v1/refunds", "/v1/payment_intents", "/v1/"]),
        count=st.sampled_from([1, 2, 5]),
    )
    def stripe_fails(self, kind: Any, path: str, count: int) -> None:
        """A few requests; five are more than a client tries by itself."""
        self.world.stripe.faults.add(http_faults.Fault(kind=kind, path=path, count=count))

    @rule(kind=st.sampled_from(["refuse", "lost_reply"]))
    def mails_fail(self, kind: Any) -> None:
        self.world.mailbox.faults.add(http_faults.Fault(kind=kind, count=1))

    @rule()
    def crash(self) -> None:
        self.run(self.world.crash())

    @rule(draw=DRAW, steps=st.integers(0, 200), refund=st.booleans())
    def crash_in_the_middle(self, draw: int, steps: int, refund: bool) -> None:
        """Of finalizing or refunding an order, after so many turns of the loop."""
        payment = self.payment(draw)
        body = {"paymentIntentId": payment, "reason": "other", "force": True}

        async def interrupted() -> None:
            asked = self.world.checkout.post("/refund-order", body) if refund else self.world.finalize(payment)
            request = asyncio.ensure_future(asked)
            for _ in range(steps):
                await asyncio.sleep(0)
            await self.world.life.crash()
            await asyncio.gather(request, return_exceptions=True)
            await self.world.start()

        self.run(interrupted())

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.2]))
    def wait(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @invariant()
    def nothing_is_oversold(self) -> None:
        async def look() -> None:
            for event_id in EVENTS:
                assert await self.world.left(event_id) >= 0

        with suppress(Unavailable):
            self.run(look())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")  # what had not begun at a crash
class TestOrders(Orders.TestCase):  # type: ignore[misc,valid-type]  # hypothesis makes it at run time
    settings = settings(
        max_examples=12,
        stateful_step_count=30,
        deadline=None,
        phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking takes minutes: for whoever looks into it
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
