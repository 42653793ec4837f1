"""Sending tickets, taking them back, and letting the time run out."""

import asyncio
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.mailbox import Mailbox
from services.checkout.app import create_app
from services.checkout.batches import NewTickets
from services.checkout.claim_tokens import ClaimTokens
from services.checkout.settings import CheckoutSettings
from services.checkout.transfers import Offer, Recipient, Sender, StartTransfer
from shared.documents import Rager
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.metrics import CommitterMetrics
from shared.firestore.query import Query
from shared.wiring import WORKER
from tests.support.hands import Hands
from tests.support.id_tokens import SignIn
from tests.support.services import Service, serving
from tests.support.shop import check_invariants, put, ragers_of

BOB = "bob@example.com"


@pytest.fixture
def hands(checkout: Service, database: Database, mailbox: Mailbox) -> Hands:
    return Hands(checkout, database, mailbox)


async def test_a_whole_batch_is_marked_and_stays_its_senders(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 3, "r1")
    reply = await hands.send("ann", "r1", BOB)
    assert reply.status == 200
    assert (reply.body["ok"], reply.body["recipientHasAccount"], reply.body["ragerId"]) == (True, False, "r1")
    rager, transfer = await hands.tickets.rager("r1"), await hands.transfer(reply.body["transferId"])
    assert (rager.pending_transfer_id, rager.pending_transfer_to) == (transfer.id, BOB)
    assert (rager.user_id, rager.active, rager.remaining) == ("ann", True, 3)
    assert (transfer.status, transfer.to_email, transfer.to_user_id) == ("pending", BOB, None)
    assert (transfer.from_user_id, transfer.from_name, transfer.ticket_quantity) == ("ann", "Ann", 3)
    assert transfer.expires_at is not None
    assert transfer.created_at is not None
    assert transfer.expires_at - transfer.created_at == timedelta(hours=72)
    await check_invariants(database, "gala")


async def test_a_part_becomes_a_batch_of_its_own_in_the_same_commit(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 5, "r1", order_number="ORD-1", payment_intent_id="pi_1", ticket_type="VIP")
    reply = await hands.send("ann", "r1", BOB, quantity=2)
    rest, part = await hands.tickets.rager("r1"), await hands.tickets.rager(reply.body["ragerId"])
    assert (rest.ticket_quantity, rest.ticket_token, rest.pending_transfer_id) == (3, "r1-token", None)
    assert (part.ticket_quantity, part.user_id, part.split_from) == (2, "ann", "r1")
    assert part.pending_transfer_id == reply.body["transferId"]
    assert (part.order_number, part.payment_intent_id, part.ticket_type) == ("ORD-1", "pi_1", "VIP")
    assert part.ticket_token not in {None, "r1-token"}
    mapping = await database.get(paths.ticket_token(part.ticket_token or ""))
    assert mapping.fields is not None
    assert (mapping.fields["ragerId"], mapping.fields["firebaseId"]) == (part.id, "ann")
    assert await hands.tickets.summary("ann") is not None
    await check_invariants(database, "gala")


async def test_the_rest_of_a_split_batch_can_be_sent_too(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 3, "r1")
    await hands.sent("ann", "r1", BOB, quantity=1)
    await hands.sent("ann", "r1", "cat@example.com", quantity="2")
    assert sorted(rager.ticket_quantity for rager in await ragers_of(database, "gala")) == [1, 2]
    await check_invariants(database, "gala")


async def test_a_username_finds_the_account_and_hides_its_address(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 1, "r1")
    await put(database, paths.username("bobby"), {"uid": "bob"})
    await put(database, paths.profile("bob"), {"username": "Bobby", "displayName": "Bob B."})
    await put(database, paths.customer("bob"), {"email": BOB})
    reply = await hands.send("ann", "r1", "@BOBBY")
    shown = (reply.body["recipientHasAccount"], reply.body["recipientUsername"], reply.body["recipientDisplayName"])
    assert shown == (True, "Bobby", "Bob B.")
    transfer = await hands.transfer(reply.body["transferId"])
    assert (transfer.to_user_id, transfer.to_email, transfer.to_username) == ("bob", None, "Bobby")
    assert (await hands.preview(await hands.token(BOB))).body["toUsername"] == "Bobby"
    assert [news.kind for news in await hands.news("bob")] == ["transfer_offered"]


async def test_the_account_behind_an_address_is_told_in_the_app(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 1, "r1")
    await put(database, paths.customer("bob"), {"email": BOB})
    reply = await hands.send("ann", "r1", "Bob@Example.com")
    assert reply.body["recipientHasAccount"] is True
    [news] = await hands.news("bob")
    assert (news.transfer_id, news.event_id, news.read) == (reply.body["transferId"], "gala", False)
    assert news.body == "Ann sent you 1 ticket for Event gala."


async def test_both_sides_get_a_mail_and_only_the_recipients_has_the_link(hands: Hands, mailbox: Mailbox) -> None:
    await hands.sold("ann", 2, "r1")
    await hands.sent("ann", "r1", BOB)
    [offer] = await mailbox.arrived(1, to=BOB)
    [news] = await mailbox.arrived(1, to="ann@example.com")
    assert offer.fields["subject"] == "Ann sent you 2 tickets for Event gala"
    token = await hands.token(BOB)
    assert token in str(offer.fields["html"])
    assert token not in str(news.fields)


async def test_a_claim_token_has_192_bits_and_only_its_hash_is_stored(
    hands: Hands, database: Database, checkout: Service
) -> None:
    await hands.sold("ann", 2, "r1")
    transfer_id = await hands.sent("ann", "r1", BOB)
    token = await hands.token(BOB)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", token)
    assert (await hands.transfer(transfer_id)).claim_token_hash == hashlib.sha256(token.encode()).hexdigest()
    await checkout.app[WORKER].idle()
    for collection in ("jobs", "ticketTransfers", "events/gala/ragers", "users"):
        assert all(token not in repr(document) for document in await database.query(Query(collection)))


async def test_the_link_previews_what_is_to_be_claimed(hands: Hands) -> None:
    await hands.sold("ann", 2, "r1")
    await hands.sent("ann", "r1", BOB)
    preview = await hands.preview(await hands.token(BOB))
    expected = {"eventName": "Event gala", "ticketQuantity": 2, "fromName": "Ann", "toEmail": BOB}
    assert expected.items() <= preview.body.items()
    assert datetime.fromisoformat(preview.body["eventDate"]) == datetime(2030, 5, 1, 19, tzinfo=UTC)
    assert "expiresAt" in preview.body
    unknown = await hands.preview("x" * 32)
    assert (unknown.status, unknown.code) == (404, "transfer_not_found")


async def test_the_same_idempotency_key_is_one_transfer(hands: Hands, database: Database, mailbox: Mailbox) -> None:
    await hands.sold("ann", 3, "r1")
    replies = await asyncio.gather(*(hands.send("ann", "r1", BOB, key="k1", quantity=1) for _ in range(8)))
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body["transferId"] for reply in replies}) == 1
    other = await hands.send("ann", "r1", "cat@example.com", key="k1", quantity=1)
    assert (other.status, other.code) == (409, "idempotency_conflict")
    assert len(await ragers_of(database, "gala")) == 2
    await hands.checkout.app[WORKER].idle()
    assert len(mailbox.mails(BOB)) == 1
    await check_invariants(database, "gala")


async def test_lost_replies_make_no_second_transfer(
    hands: Hands, database: Database, firestore: EmbeddedFirestore
) -> None:
    firestore.faults.seed(7)
    await hands.sold("ann", 40, "r1")
    firestore.faults.set("Commit", Fault(aborted=0.2, lost_reply=0.4))
    sendings = (hands.send("ann", "r1", f"friend{n}@example.com", quantity=2) for n in range(20))
    replies = await asyncio.gather(*sendings)
    firestore.faults.clear()
    assert {reply.status for reply in replies} == {200}
    ragers = await ragers_of(database, "gala")
    assert sum(rager.ticket_quantity for rager in ragers) == 40
    assert len(ragers) == 20  # the last part is what is left of the first batch
    await check_invariants(database, "gala")


PAST = (datetime.now(UTC) - timedelta(days=2)).isoformat()


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"used_count": 1}, 409, "already_used"),
        ({"used_count": 3, "active": False}, 409, "already_used"),
        ({"pending_transfer_id": "other"}, 409, "transfer_pending"),
        ({"transferred_to": "cat", "active": False}, 409, "already_transferred"),
        ({"refunded_at": datetime.now(UTC), "active": False}, 409, "refunded"),
        ({"active": False}, 409, "inactive"),
        ({"user_id": "cat"}, 403, "not_owner"),
        ({"user_id": None, "guest_email": "ann@example.com"}, 403, "not_owner"),
    ],
)
async def test_tickets_that_cannot_be_sent_are_refused_and_nothing_is_written(
    hands: Hands, database: Database, changes: dict[str, Any], status: int, code: str
) -> None:
    await hands.sold("ann", 3, "r1")
    await hands.tickets.change("r1", **changes)
    before = await ragers_of(database, "gala")
    for quantity in (None, 1):
        refused = await hands.send("ann", "r1", BOB, quantity=quantity)
        assert (refused.status, refused.code) == (status, code)
        assert refused.body["error"].endswith(".")
    assert await ragers_of(database, "gala") == before
    assert await database.query(Query("ticketTransfers")) == []


@pytest.mark.parametrize(
    ("to", "fields", "status", "code"),
    [
        ("ANN@example.com", {}, 400, "transfer_to_self"),
        ("ann@home.example", {}, 400, "transfer_to_self"),
        ("@ann", {}, 400, "transfer_to_self"),
        ("@nobody", {}, 404, "username_not_found"),
        ("@a/b", {}, 404, "username_not_found"),
        ("@mute", {}, 409, "recipient_unreachable"),
        (BOB, {"ragerId": "r2"}, 404, "ticket_not_found"),
        (BOB, {"quantity": 4}, 409, "not_enough_tickets"),
        (BOB, {"quantity": 0}, 400, "invalid_request"),
        (BOB, {"recipientUsername": "ann"}, 400, "invalid_request"),
        (BOB, {"recipientEmail": None}, 400, "invalid_request"),
        ("nobody", {}, 400, "invalid_request"),
        (BOB, {"senderUserId": None}, 400, "invalid_request"),
        (BOB, {"eventId": "a/b"}, 400, "invalid_request"),
    ],
)
async def test_a_bad_transfer_is_refused_and_nothing_is_written(
    hands: Hands, database: Database, to: str, fields: dict[str, Any], status: int,
    code: str,
) -> None:  # fmt: skip
    await hands.sold("ann", 3, "r1")
    await put(database, paths.customer("ann"), {"email": "ann@home.example"})
    await put(database, paths.username("ann"), {"uid": "ann"})
    await put(database, paths.username("mute"), {"userId": "mute"})
    before = await ragers_of(database, "gala")
    refused = await hands.send("ann", "r1", to, **fields)
    assert (refused.status, refused.code) == (status, code)
    assert await ragers_of(database, "gala") == before
    assert await database.query(Query("ticketTransfers")) == []


@pytest.mark.parametrize(
    ("dates", "allowed"),
    [
        ({"dateTime": datetime.now(UTC) - timedelta(days=2)}, False),
        ({"date": PAST[:10]}, False),
        ({"dateTime": datetime.now(UTC) - timedelta(hours=3)}, True),
        ({"date": datetime.now(UTC).date().isoformat()}, True),
        ({}, True),
    ],
)
async def test_tickets_for_an_event_that_is_over_are_not_sent(
    hands: Hands, database: Database, dates: dict[str, Any], *, allowed: bool
) -> None:
    await hands.sold("ann", 1, "r1")
    await put(database, paths.event("gala"), {"name": "Gala", "quantity": 0, **dates})
    reply = await hands.send("ann", "r1", BOB)
    assert (reply.status, reply.code) == ((200, None) if allowed else (409, "event_past"))


async def test_a_cancelled_transfer_leaves_the_batch_to_its_sender(
    hands: Hands, database: Database, mailbox: Mailbox
) -> None:
    await hands.sold("ann", 2, "r1")
    await put(database, paths.customer("bob"), {"email": BOB})
    transfer_id = await hands.sent("ann", "r1", BOB)
    token = await hands.token(BOB)
    assert (await hands.cancel(transfer_id, "cat")).code == "not_owner"
    first, again = [await hands.cancel(transfer_id, "ann") for _ in range(2)]
    assert first.status == 200
    assert first.body == again.body
    rager = await hands.tickets.rager("r1")
    assert (rager.pending_transfer_id, rager.pending_transfer_to, rager.active) == (None, None, True)
    refused = await hands.claim("bob", token)
    assert (refused.status, refused.code, refused.body["status"]) == (409, "transfer_not_pending", "cancelled")
    assert (await hands.preview(token)).code == "transfer_not_pending"
    [mail, _] = await mailbox.arrived(2, to=BOB)
    assert mail.fields["subject"] == "A transfer was cancelled"
    assert {news.kind for news in await hands.news("bob")} == {"transfer_offered", "transfer_cancelled"}
    await hands.sent("ann", "r1", "cat@example.com")
    await check_invariants(database, "gala")


async def test_an_admin_cancels_without_being_the_sender(
    strict_checkout: Service, database: Database, mailbox: Mailbox, sign_in: SignIn
) -> None:
    hands = Hands(strict_checkout, database, mailbox)
    await hands.sold("ann", 2, "r1")
    transfer_id = await hands.sent("ann", "r1", BOB)
    refused = await hands.cancel(transfer_id, None)
    assert (refused.status, refused.code) == (401, "token_missing")
    for who, claims, status in (("cat", {}, 403), ("root", {"admin": True}, 200)):
        headers = sign_in(who, **claims)
        reply = await strict_checkout.post("/cancel-transfer", {"transferId": transfer_id}, headers=headers)
        assert reply.status == status
    assert (await hands.transfer(transfer_id)).status == "cancelled"


async def test_a_senders_uid_must_be_the_id_tokens(
    strict_checkout: Service, database: Database, mailbox: Mailbox, sign_in: SignIn
) -> None:
    hands = Hands(strict_checkout, database, mailbox)
    await hands.sold("ann", 2, "r1")
    body = {"ragerId": "r1", "eventId": "gala", "senderUserId": "ann", "recipientEmail": BOB}
    refused = await strict_checkout.post("/transfer-ticket", body, headers=sign_in("cat"))
    assert (refused.status, refused.code) == (403, "uid_mismatch")
    assert (await strict_checkout.post("/transfer-ticket", body, headers=sign_in("ann"))).status == 200


async def test_a_transfer_that_is_not_there_cannot_be_cancelled(hands: Hands) -> None:
    unknown = await hands.cancel("nothing", "ann")
    assert (unknown.status, unknown.code) == (404, "transfer_not_found")


async def test_what_nobody_claims_in_time_goes_back(
    checkout_settings: CheckoutSettings, database: Database, mailbox: Mailbox
) -> None:
    soon = checkout_settings.model_copy(update={"transfer_ttl_hours": 1.0 / 3600, "job_poll_seconds": 0.2})
    async with serving(create_app(soon)) as checkout:
        hands = Hands(checkout, database, mailbox)
        await hands.sold("ann", 2, "r1")
        transfer_id = await hands.sent("ann", "r1", BOB)
        token = await hands.token(BOB)
        mails = await mailbox.arrived(2, to="ann@example.com")
        assert "Your transfer has expired" in {mail.fields["subject"] for mail in mails}
        assert (await hands.transfer(transfer_id)).status == "expired"
        assert (await hands.tickets.rager("r1")).pending_transfer_id is None
        for refused in (await hands.claim("bob", token), await hands.preview(token)):
            assert (refused.status, refused.code) == (410, "transfer_expired")
        assert [news.kind for news in await hands.news("ann")] == ["transfer_expired"]
        assert (await hands.cancel(transfer_id, "ann")).code == "transfer_not_pending"
        assert await checkout.metric("checkout_transfers_total", outcome="expired") == 1
        await hands.sent("ann", "r1", BOB)
    await check_invariants(database, "gala")


async def test_the_time_is_up_even_before_the_expiry_came_round(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 2, "r1")
    transfer = await hands.transfer(await hands.sent("ann", "r1", BOB))
    token = await hands.token(BOB)
    await put(database, transfer.path, {**transfer.fields(), "expiresAt": datetime.now(UTC)})
    for refused in (await hands.claim("bob", token), await hands.preview(token)):
        assert (refused.status, refused.code) == (410, "transfer_expired")
    assert (await hands.tickets.rager("r1")).user_id == "ann"


async def test_a_mail_that_another_process_takes_over_brings_a_link_that_works(
    hands: Hands, database: Database
) -> None:
    """Without a configured secret each process has its own, so this one cannot write the token of the one that died."""
    await hands.sold("ann", 2, "r1")
    dead = Committer(database, CommitterMetrics(CollectorRegistry()))
    offer = Offer("gala", "r1", Sender("ann", None, None), Recipient(None, BOB, None), None)
    token_hash = ClaimTokens(b"the secret of a process that is no more").hash("t1")
    lifetime, now = timedelta(hours=1), datetime.now(UTC)
    await dead.run(StartTransfer(offer, "t1", token_hash, NewTickets.draw(), lifetime, now))
    assert (await hands.claim("bob", await hands.token(BOB))).status == 200
    assert (await hands.transfer("t1")).claim_token_hash != token_hash
    await check_invariants(database, "gala")


async def test_a_batch_is_found_by_its_order_after_it_was_split(hands: Hands, database: Database) -> None:
    await hands.sold("ann", 3, "r1", payment_intent_id="pi_1")
    await hands.sent("ann", "r1", BOB, quantity=1)
    name = Rager.stored_name("payment_intent_id")
    found = await database.query(Query(paths.ragers("gala"), where=[(name, "==", "pi_1")]))
    assert len(found) == 2
