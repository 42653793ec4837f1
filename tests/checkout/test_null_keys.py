"""Keys that the contract promises are there, also where there is nothing to say."""

from deploy.local.mailbox import Mailbox
from shared.firestore import paths
from shared.firestore.client import Database
from tests.support.hands import Hands
from tests.support.services import Service
from tests.support.shop import event_on_sale, put


async def test_a_transfer_names_what_is_not_known_of_the_recipient(
    checkout: Service, database: Database, mailbox: Mailbox
) -> None:
    hands = Hands(checkout, database, mailbox)
    await hands.sold("ann", 1, "r1")
    sent = (await hands.send("ann", "r1", "bob@example.com")).body
    known = (sent["recipientHasAccount"], sent["recipientUsername"], sent["recipientDisplayName"])
    assert known == (False, None, None)


async def test_a_preview_names_what_is_not_known_of_the_event_and_the_sender(
    checkout: Service, database: Database, mailbox: Mailbox
) -> None:
    hands = Hands(checkout, database, mailbox)
    await event_on_sale(database, "gala", 10)
    await put(database, paths.profile("bob"), {"username": "bob", "email": "bob@example.com"})
    await put(database, paths.username("bob"), {"uid": "bob"})
    await hands.sold("ann", 1, "r1")
    await hands.sent("ann", "r1", "@bob", senderName=None)
    preview = (await hands.preview(await hands.token("bob@example.com"))).body
    assert preview.items() >= {"eventDate": None, "fromName": None, "toEmail": None, "toUsername": "bob"}.items()


async def test_tickets_made_by_hand_say_that_there_is_no_address(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    made = await checkout.post("/manual-create-ticket", {"uid": "ann", "eventId": "gala"})
    assert (made.status, made.body["email"]) == (200, None)


async def test_what_is_there_only_sometimes_is_left_out(checkout: Service, database: Database) -> None:
    await event_on_sale(database, "gala", 10)
    started = await checkout.post("/create-payment-intent", {"firebaseId": "ann", "cartItems": [{"productId": "gala"}]})
    assert sorted(started.body) == ["amount", "client_secret", "currency", "paymentIntentId"]
