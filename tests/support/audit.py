"""What must hold of all orders once it is quiet: tickets or money, never both, never neither, never twice."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.checkout.counter import sweeper_of
from services.checkout.refund_rules import all_back
from shared.documents import Fulfillment, Hold, PromoCode, Rager, Refund
from tests.support.shop import check_invariants
from tests.support.world import EVENTS, MAX_USES, PROMO, World, address


async def owes(world: World) -> bool:
    """Whether a refund has failed that nothing has made good: a person has to look then."""
    for payment in world.payments:
        ledger = await world.ledger(payment)
        failed = [refund for refund in await world.refunds(payment) if refund.error]
        if failed and ledger is not None and not all_back(ledger, ledger.refund):
            return True
    return False


async def audit(world: World) -> None:
    await world.quiet()
    for hold in await world.all("holds", Hold):
        await world.expire(hold.id)
    await world.quiet()
    assert not [hold.id for hold in await world.all("holds", Hold) if hold.status == "held"]
    await sweeper_of(world.checkout.app).look()
    assert await owes(world) or await world.checkout.metric("checkout_paid_unfulfilled") == 0
    for event_id in EVENTS:
        await check_invariants(world.database, event_id)
    batches = await world.batches()
    for payment, uid in world.payments.items():
        ledger = await world.ledger(payment)
        assert ((await world.at_stripe(f"payment_intents/{payment}"))["status"] == "succeeded") == (ledger is not None)
        if ledger is not None:
            own = [batch for batch in batches if batch.payment_intent_id == payment]
            await _check(world, Order(ledger, await world.refunds(payment), own), uid)
    await _check_promo(world)


@dataclass(frozen=True, slots=True)
class Order:
    ledger: Fulfillment
    refunds: Sequence[Refund]
    batches: Sequence[Rager]

    @property
    def made(self) -> Sequence[Refund]:
        """Those that did not fail."""
        return [refund for refund in self.refunds if refund.status != "failed"]

    @property
    def returned(self) -> int:
        return sum(refund.amount for refund in self.made)

    @property
    def whole(self) -> bool:
        return self.returned == self.ledger.amount


async def _check(world: World, order: Order, uid: str) -> None:
    found = (await world.at_stripe(f"refunds?payment_intent={order.ledger.id}&limit=100"))["data"]
    stripes = sum(refund["amount"] for refund in found if refund["status"] != "failed")
    said = order.ledger.refund.amount if order.ledger.refund else 0
    assert stripes == said == order.returned <= order.ledger.amount
    assert {refund.status for refund in order.made} <= {"succeeded"}
    check_items(order)
    check_tickets(order)
    check_status(order)
    mails, number = world.mailbox.mails(to=address(uid)), order.ledger.order_number
    subjects = Counter(str(mail.fields["subject"]) for mail in mails)
    receipts = subjects[f"Your tickets: order {number}"] + subjects[f"Your order {number}"]
    assert receipts == (1 if order.ledger.created_tickets else 0)


def check_items(order: Order) -> None:
    """Each item has become tickets, or is owed to its buyer and went back by itself, as far as anything was left."""
    ledger = order.ledger
    had = _counted((detail.event_id, detail.qty) for detail in ledger.details)
    failed = _counted((error.event_id, error.qty) for error in ledger.errors)
    assert had + failed == _counted((item.event_id, item.quantity) for item in ledger.items)
    owed = ledger.amount - sum(detail.amount or 0 for detail in ledger.details)
    by_itself = sum(refund.amount for refund in order.made if refund.automatic)
    by_hand = sum(refund.amount for refund in order.made if refund.reason == "dashboard")
    assert owed - by_hand <= by_itself <= owed


def check_tickets(order: Order) -> None:
    """Tickets are alive unless their own money went back, or all of it; and an item's refund is the item's share."""
    details = {detail.rager_id: detail for detail in order.ledger.details}
    gone = {rager_id for refund in order.made for rager_id in refund.rager_ids}
    for refund in order.made:
        if refund.rager_ids:
            assert refund.amount == sum(details[rager_id].amount or 0 for rager_id in refund.rager_ids)
    alive = Counter[str]()
    for batch in order.batches:
        alive[batch.event_id] += batch.ticket_quantity if batch.counts else 0
    expected = Counter[str]()
    for detail in details.values():
        expected[detail.event_id] += 0 if order.whole or detail.rager_id in gone else detail.qty
    assert +alive == +expected


def check_status(order: Order) -> None:
    failed = len(order.refunds) > len(order.made)
    expected = {"refunded"} if order.whole else {"partial"} if order.ledger.errors else {"completed"}
    assert order.ledger.status in expected | ({"partial"} if failed and not order.whole else set())


async def _check_promo(world: World) -> None:
    """No code is used more often than it may be, and it is counted for the orders that had it."""
    promo = PromoCode.of(await world.database.get(PROMO))
    assert promo is not None
    ledgers = [ledger for payment in world.payments if (ledger := await world.ledger(payment))]
    had = sum(bool(ledger.promo_code and ledger.details) for ledger in ledgers)
    assert (promo.reserved, promo.uses) == (0, had)
    assert promo.uses <= MAX_USES


def _counted(items: Iterable[tuple[str, int]]) -> Counter[tuple[str, int]]:
    return Counter(items)
