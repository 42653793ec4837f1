"""Claiming tickets, and everything that may happen at the same time."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.mailbox import Mailbox
from services.scanning.app import create_app as scanning_app
from services.scanning.settings import ScanningSettings
from shared.firestore import paths
from shared.firestore.client import Database
from shared.operations import Delete
from tests.support.hands import Hands
from tests.support.id_tokens import SignIn
from tests.support.services import PROXY_KEY, Service, serving
from tests.support.shop import check_invariants, put, ragers_of
from tests.support.tickets import store

BOB = "bob@example.com"
ROUGH = Fault(aborted=0.15, lost_reply=0.15)


@pytest.fixture
def hands(checkout: Service, database: Database, mailbox: Mailbox) -> Hands:
    return Hands(checkout, database, mailbox)


@pytest.fixture
async def door(firestore: EmbeddedFirestore) -> AsyncIterator[Service]:
    settings = ScanningSettings(proxy_key=SecretStr(PROXY_KEY), admin_auth="proxy", google_cloud_project="demo-test")
    async with serving(scanning_app(settings)) as service:
        yield service


def seeded(firestore: EmbeddedFirestore) -> random.Random:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    firestore.faults.seed(seed)
    return random.Random(seed)


async def test_a_claim_moves_the_tickets_under_a_new_code(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 3, "r1", order_number="ORD-1", payment_intent_id="pi_1", ticket_type="VIP")
    transfer_id = await hands.sent("ann", "r1", BOB)
    claimed = await hands.claim("bob", await hands.token(BOB))
    assert claimed.status == 200
    told = (claimed.body["ok"], claimed.body["eventId"], claimed.body["eventName"], claimed.body["ticketQuantity"])
    assert told == (True, "gala", "Event gala", 3)
    old, new = await hands.tickets.rager("r1"), await hands.tickets.rager(claimed.body["ragerId"])
    assert (old.active, old.transferred_to, old.pending_transfer_id) == (False, "bob", None)
    assert old.transferred_at is not None
    assert old.ticket_token == "r1-token"
    assert (new.user_id, new.email, new.owner, new.ticket_quantity) == ("bob", BOB, "Bob", 3)
    assert (new.previous_owner, new.claimed_from_transfer, new.remaining) == ("ann", transfer_id, 3)
    assert (new.order_number, new.payment_intent_id, new.ticket_type) == ("ORD-1", "pi_1", "VIP")
    assert new.ticket_token not in {None, "r1-token"}
    assert not (await database.get(paths.ticket_token("r1-token"))).exists
    mapping = await database.get(paths.ticket_token(new.ticket_token or ""))
    assert mapping.fields is not None
    assert (mapping.fields["ragerId"], mapping.fields["firebaseId"]) == (new.id, "bob")
    transfer = await hands.transfer(transfer_id)
    assert (transfer.status, transfer.to_user_id, transfer.claimed_rager_id) == ("claimed", "bob", new.id)
    await check_invariants(database, "gala")


async def test_a_part_of_a_batch_is_claimed_and_the_rest_stays(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 3, "r1")
    await hands.sent("ann", "r1", BOB, quantity=1)
    claimed = await hands.claim("bob", await hands.token(BOB))
    assert claimed.body["ticketQuantity"] == 1
    ann, bob = await hands.tickets.summary("ann"), await hands.tickets.summary("bob")
    assert (ann and ann.total_tickets, bob and bob.total_tickets) == (2, 1)
    await check_invariants(database, "gala")


async def test_the_door_refuses_the_old_code_and_admits_the_new_one(hands: Hands, door: Service) -> None:
    await hands.sold("ann", 1, "r1")
    await hands.sent("ann", "r1", BOB)
    claimed = await hands.claim("bob", await hands.token(BOB))
    refused = await door.post("/scan-ticket", {"token": "r1-token"})
    assert (refused.status, refused.code) == (409, "transferred")
    new = await hands.tickets.rager(claimed.body["ragerId"])
    admitted = await door.post("/scan-ticket", {"token": new.ticket_token})
    assert (admitted.status, admitted.body["ragerId"]) == (200, new.id)
    assert (await door.post("/scan-ticket", {"userId": "ann", "eventId": "gala"})).status == 409
    await hands.tickets.check()


async def test_the_new_holder_gets_the_code_and_the_sender_is_told(hands: Hands, mailbox: Mailbox) -> None:
    await hands.sold("ann", 2, "r1")
    await hands.sent("ann", "r1", BOB)
    await hands.claim("bob", await hands.token(BOB))
    [tickets, _] = await mailbox.arrived(2, to=BOB)
    assert tickets.fields["subject"] == "Your tickets for Event gala"
    assert "cid:ticket" in str(tickets.fields["html"])
    news = await mailbox.arrived(2, to="ann@example.com")
    assert "Your tickets were claimed" in {mail.fields["subject"] for mail in news}
    [told] = await hands.news("ann")
    assert (told.kind, told.body) == ("transfer_claimed", "Bob now has your 2 tickets for Event gala.")


async def test_what_was_claimed_can_be_sent_on(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 2, "r1")
    await hands.sent("ann", "r1", BOB)
    mine = (await hands.claim("bob", await hands.token(BOB))).body["ragerId"]
    await hands.sent("bob", mine, "cat@example.com")
    assert (await hands.claim("cat", await hands.token("cat@example.com"))).status == 200
    assert (await hands.send("ann", "r1", BOB)).code == "already_transferred"
    await check_invariants(database, "gala")


async def test_a_sender_without_a_summary_is_not_given_a_negative_one(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 2, "r1")
    await store(database, Delete(paths.summary("gala", "ann")))
    await hands.sent("ann", "r1", BOB)
    await hands.claim("bob", await hands.token(BOB))
    assert await hands.tickets.summary("ann") is None


async def test_claiming_again_answers_the_same(hands: Hands, database: Database, mailbox: Mailbox) -> None:
    await hands.sold("ann", 2, "r1")
    await hands.sent("ann", "r1", BOB)
    token = await hands.token(BOB)
    first, again = [await hands.claim("bob", token) for _ in range(2)]
    assert (first.status, first.body) == (200, again.body)
    assert len(await ragers_of(database, "gala")) == 2
    await mailbox.arrived(2, to=BOB)
    other = await hands.claim("bobs-other-account", token, claimerEmail=BOB)
    assert (other.status, other.code, other.body["status"]) == (409, "transfer_not_pending", "claimed")
    await check_invariants(database, "gala")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"claimerEmail": "cat@example.com"}, 403, "not_recipient"),
        ({"claimerEmail": None}, 403, "not_recipient"),
        ({"claimToken": "x" * 32}, 404, "transfer_not_found"),
        ({"claimToken": ""}, 400, "invalid_request"),
        ({"claimerUserId": None}, 400, "invalid_request"),
        ({"claimerUserId": "a/b"}, 400, "invalid_request"),
        ({"claimerEmail": "nobody"}, 400, "invalid_request"),
    ],
)
async def test_only_the_recipient_with_the_token_claims(
    hands: Hands, database: Database, fields: dict[str, str | None], status: int, code: str
) -> None:
    await hands.sold("ann", 1, "r1")
    await hands.sent("ann", "r1", BOB)
    refused = await hands.claim("bob", await hands.token(BOB), **fields)
    assert (refused.status, refused.code) == (status, code)
    assert len(await ragers_of(database, "gala")) == 1


async def test_the_address_is_compared_as_people_type_it(hands: Hands) -> None:
    await hands.sold("ann", 1, "r1")
    await hands.sent("ann", "r1", "Bob@Example.com")
    assert (await hands.claim("bob", await hands.token(BOB), claimerEmail="BOB@example.COM")).status == 200


async def test_a_username_is_claimed_by_its_account_whatever_its_address(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 1, "r1")
    await put(database, paths.username("bobby"), {"uid": "bob"})
    await put(database, paths.customer("bob"), {"email": BOB})
    await hands.sent("ann", "r1", "@bobby")
    token = await hands.token(BOB)
    refused = await hands.claim("cat", token, claimerEmail=BOB)
    assert (refused.status, refused.code) == (403, "not_recipient")
    assert (await hands.claim("bob", token, claimerEmail="bob@work.example")).status == 200


@pytest.mark.parametrize(
    ("uid", "claims", "status", "code"),
    [
        ("bob", {"email": BOB, "email_verified": True}, 200, None),
        ("bob", {"email": BOB, "email_verified": False}, 403, "not_recipient"),
        ("bob", {"email": BOB}, 403, "not_recipient"),
        ("bob", {"email": "cat@example.com", "email_verified": True}, 403, "not_recipient"),
        ("bob", {"without": "email"}, 403, "not_recipient"),
        ("cat", {"email": BOB, "email_verified": True}, 403, "uid_mismatch"),
    ],
)
async def test_with_an_id_token_its_verified_address_counts(
    strict_checkout: Service, database: Database, mailbox: Mailbox, sign_in: SignIn, uid: str, claims: dict[str, Any],
    status: int, code: str | None,
) -> None:  # fmt: skip
    hands = Hands(strict_checkout, database, mailbox)
    await hands.sold("ann", 1, "r1")
    await hands.sent("ann", "r1", BOB)
    body = {"claimToken": await hands.token(BOB), "claimerUserId": "bob", "claimerEmail": BOB}
    reply = await strict_checkout.post("/claim-ticket", body, headers=sign_in(uid, **claims))
    assert (reply.status, reply.code) == (status, code)


async def test_a_scan_before_the_claim_makes_the_claim_a_conflict(hands: Hands, door: Service) -> None:
    await hands.sold("ann", 2, "r1")
    await hands.sent("ann", "r1", BOB)
    assert (await door.post("/scan-ticket", {"token": "r1-token"})).status == 200
    refused = await hands.claim("bob", await hands.token(BOB))
    assert (refused.status, refused.code) == (409, "already_used")
    assert (await hands.tickets.rager("r1")).user_id == "ann"


async def test_refunded_tickets_cannot_be_claimed(hands: Hands) -> None:
    await hands.sold("ann", 2, "r1")
    await hands.sent("ann", "r1", BOB)
    await hands.tickets.change("r1", refunded_at=datetime.now(UTC), active=False)
    refused = await hands.claim("bob", await hands.token(BOB))
    assert (refused.status, refused.code) == (409, "refunded")


async def test_twenty_claims_at_once_are_one(hands: Hands, database: Database, firestore: EmbeddedFirestore) -> None:
    seeded(firestore)
    await hands.sold("ann", 4, "r1")
    await hands.sent("ann", "r1", BOB)
    token = await hands.token(BOB)
    firestore.faults.set("Commit", ROUGH)
    replies = await asyncio.gather(*(hands.claim("bob", token) for _ in range(20)))
    firestore.faults.clear()
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body["ragerId"] for reply in replies}) == 1
    assert len(await ragers_of(database, "gala")) == 2
    await check_invariants(database, "gala")


async def test_of_two_accounts_with_the_address_one_claims(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 4, "r1")
    await hands.sent("ann", "r1", BOB)
    token = await hands.token(BOB)
    replies = await asyncio.gather(*(hands.claim(f"bob{n}", token, claimerEmail=BOB) for n in range(8)))
    assert Counter(reply.status for reply in replies) == {200: 1, 409: 7}
    await check_invariants(database, "gala")


async def test_of_claim_cancel_and_scan_at_once_the_first_decides(
    hands: Hands, database: Database, door: Service, firestore: EmbeddedFirestore
) -> None:
    """Two services race for 24 batches; whatever wins, the others see it and nothing is lost or doubled."""
    dice = seeded(firestore)
    ids = [f"r{n:02}" for n in range(24)]
    await hands.sold("ann", 2, ids[0])
    for rager_id in ids[1:]:
        await hands.tickets.sell("ann", 2, rager_id)
    await put(database, paths.event("gala"), {"name": "Gala", "quantity": 52, "seededQuantity": 100})
    transfers = {rager_id: await hands.sent("ann", rager_id, f"{rager_id}@example.com") for rager_id in ids}
    tokens = {rager_id: await hands.token(f"{rager_id}@example.com") for rager_id in ids}
    firestore.faults.set("Commit", ROUGH)

    async def race(rager_id: str) -> None:
        asked = [
            hands.claim(rager_id, tokens[rager_id]),
            hands.cancel(transfers[rager_id], "ann"),
            door.post("/scan-ticket", {"token": f"{rager_id}-token"}),
        ]
        dice.shuffle(asked)
        await asyncio.gather(*asked)

    await asyncio.gather(*(race(rager_id) for rager_id in ids))
    firestore.faults.clear()
    outcomes: Counter[str] = Counter()
    for rager_id in ids:
        transfer, rager = await hands.transfer(transfers[rager_id]), await hands.tickets.rager(rager_id)
        outcomes[f"{transfer.status}, {rager.used_count} used"] += 1
        assert rager.transferred == (transfer.status == "claimed")
        assert (rager.pending_transfer_id is None) == (transfer.status != "pending")
        assert not (rager.transferred and rager.used_count)
    print(outcomes)
    assert "pending, 0 used" not in outcomes
    await check_invariants(database, "gala")
    await hands.tickets.check()
