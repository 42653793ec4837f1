"""What a buyer is mailed, and how it is had again."""

import asyncio
import io
from datetime import timedelta
from typing import Any

import httpx
import pytest
import segno

from deploy.local.http_faults import Fault
from deploy.local.mailbox import Mailbox
from services.checkout.calendar import invitation
from services.checkout.mail import MAILER
from services.checkout.receipts import Receipts
from shared.documents import Event, Fulfillment, Job, Purchase, Rager
from shared.firestore import paths
from shared.firestore.client import Database
from shared.operations import Merge, Value
from shared.wiring import COMMITTER, DB, WORKER
from shared.worker import Run
from tests.support.services import Reply, Service
from tests.support.shop import Shop, event_on_sale, put, ragers_of, write
from tests.support.tickets import Tickets

DATE = "2030-05-01T19:00:00Z"


async def order(shop: Shop, uid: str = "ann", quantity: int = 2, **fields: Any) -> dict[str, Any]:
    """What /finalize-order answers, with the payment."""
    payment = await shop.paid(uid, "gala", quantity, **fields)
    finalized = await shop.finalize(uid, payment, **fields)
    assert finalized.body["status"] == "completed"
    return {**finalized.body, "payment": payment}


async def quiet(checkout: Service) -> None:
    await checkout.app[WORKER].idle()


async def attachments_of(mailbox: Mailbox, mail: Any) -> list[tuple[dict[str, Any], bytes]]:
    async with httpx.AsyncClient(base_url=mailbox.url) as browser:
        urls = [f"/emails/{mail.id}/attachments/{n}" for n in range(len(mail.fields["attachments"]))]
        contents = [(await browser.get(url)).content for url in urls]
    return list(zip(mail.fields["attachments"], contents, strict=True))


def picture(text: str) -> bytes:
    image = io.BytesIO()
    segno.make(text, error="m").save(image, kind="png", scale=6)
    return image.getvalue()


async def resend(checkout: Service, **body: Any) -> Reply:
    key = body.pop("key", None)
    return await checkout.post("/resend-receipt", body, headers={"x-idempotency-key": key} if key else None)


@pytest.fixture(autouse=True)
async def on_sale(database: Database) -> None:
    await event_on_sale(database, "gala", 100, name="Gala & <Friends>", date=DATE)


class TestTheReceipt:
    async def test_it_has_order_items_total_and_a_code_for_each_batch(
        self, shop: Shop, database: Database, mailbox: Mailbox
    ) -> None:
        await event_on_sale(database, "late", 100, name="Late show", price=10.5)
        cart = [{"productId": "gala", "quantity": 2}, {"productId": "late", "quantity": 1}]
        placed = await order(shop, cartItems=cart)
        [mail] = await mailbox.arrived(1, to="ann@example.com")
        text, html = mail.fields["text"], mail.fields["html"]
        for said in (placed["orderNumber"], "Late show", "admits 2", "60.50 USD"):
            assert said in text
            assert said in html
        assert "2 x Gala & <Friends>: 50.00 USD" in text
        assert "Wednesday, 01 May 2030, 19:00 UTC" in text
        assert "Gala &amp; &lt;Friends&gt;" in html
        assert "<Friends>" not in html
        [gala], [late] = await ragers_of(database, "gala"), await ragers_of(database, "late")
        parts = {part["content_id"]: content for part, content in await attachments_of(mailbox, mail)}
        codes = [picture(f"rtk:{rager.ticket_token}") for rager in (gala, late)]
        assert [parts["ticket-1"], parts["ticket-2"]] == codes
        assert 'src="cid:ticket-1"' in html
        assert 'src="cid:ticket-2"' in html
        assert "<style" not in html
        assert gala.ticket_token
        assert gala.ticket_token not in text + html

    async def test_the_event_comes_as_a_calendar_entry(self, shop: Shop, mailbox: Mailbox) -> None:
        await order(shop)
        [mail] = await mailbox.arrived(1)
        [(part, content)] = [
            (part, content)
            for part, content in await attachments_of(mailbox, mail)
            if part["content_type"] == "text/calendar"
        ]
        assert part["filename"] == "event-1.ics"
        lines = content.decode().split("\r\n")
        assert lines[0] == "BEGIN:VCALENDAR"
        assert "DTSTART:20300501T190000Z" in lines
        assert "SUMMARY:Gala & <Friends>" in lines

    async def test_a_mailbox_that_is_down_delays_the_receipt_and_nothing_else(
        self, shop: Shop, database: Database, mailbox: Mailbox
    ) -> None:
        mailbox.faults.add(Fault(kind="refuse", status=500, count=1), Fault(kind="lost_reply", count=1))
        placed = await order(shop)
        await mailbox.arrived(1)
        await quiet(shop.checkout)
        assert len(mailbox.mails()) == 1
        ledger = Fulfillment.of(await database.get(paths.fulfillment(placed["payment"])))
        assert ledger is not None
        assert ledger.email_sent_at is not None

    async def test_one_that_was_sent_and_has_changed_since_is_not_sent_again(
        self, shop: Shop, database: Database, mailbox: Mailbox
    ) -> None:
        """The process was killed after the mail and before it was noted; then the tickets were refunded."""
        placed = await order(shop)
        await quiet(shop.checkout)
        refunded = await shop.checkout.post("/refund-order", {"paymentIntentId": placed["payment"], "reason": "other"})
        assert refunded.status == 200
        ledger_path = paths.fulfillment(placed["payment"])
        await write(database, Merge(ledger_path, Fulfillment.patch(email_sent_at=None, email_message_id=None)))
        app, job = shop.checkout.app, Job.of(await database.get(paths.job(f"receipt-{placed['payment']}")))
        assert job is not None
        run = Run(job, app[COMMITTER], timedelta(minutes=1))
        await write(database, *await Receipts(app[DB], app[MAILER]).run(run))
        ledger = Fulfillment.of(await database.get(ledger_path))
        assert ledger is not None
        assert ledger.email_sent_at is not None
        assert ledger.email_message_id is None
        assert len([mail for mail in mailbox.mails() if "tickets" in mail.fields["subject"]]) == 1


def test_a_calendar_entry_folds_long_lines_and_escapes_what_is_special() -> None:
    name = "Ünder, the; stars\\ " + "ö" * 60 + "\nEND:VEVENT"
    event = Event.of_fields({"name": name, "date": DATE}, path="events/e1")
    text = invitation(event)
    assert all(len(line.encode()) <= 75 for line in text.split("\r\n"))
    unfolded = text.replace("\r\n ", "")
    assert "SUMMARY:Ünder\\, the\\; stars\\\\ " + "ö" * 60 + " END:VEVENT\r\n" in unfolded
    assert unfolded.count("\r\nEND:VEVENT\r\n") == 1


class TestResending:
    @pytest.mark.parametrize("name", ["fulfillmentId", "paymentIntentId", "orderNumber"])
    async def test_an_order_is_found_by_any_of_its_names_and_really_sent_again(
        self, shop: Shop, mailbox: Mailbox, name: str
    ) -> None:
        placed = await order(shop)
        await mailbox.arrived(1)
        value = placed["orderNumber"] if name == "orderNumber" else placed["payment"]
        for count in (2, 3):
            reply = await resend(shop.checkout, **{name: value})
            assert (reply.status, reply.body) == (200, {"ok": True, "queued": True})
            [latest, *_] = await mailbox.arrived(count, to="ann@example.com")
            assert placed["orderNumber"] in latest.fields["text"]

    async def test_one_key_sends_once_and_not_for_another_order(self, shop: Shop, mailbox: Mailbox) -> None:
        one, other = await order(shop), await order(shop, "bob")
        await mailbox.arrived(2)
        replies = await asyncio.gather(
            *(resend(shop.checkout, paymentIntentId=one["payment"], key="again") for _ in range(5))
        )
        assert {reply.status for reply in replies} == {200}
        await mailbox.arrived(3)
        await quiet(shop.checkout)
        assert len(mailbox.mails()) == 3
        refused = await resend(shop.checkout, paymentIntentId=other["payment"], key="again")
        assert (refused.status, refused.code) == (409, "idempotency_conflict")

    async def test_an_admin_can_name_another_address(self, shop: Shop, database: Database, mailbox: Mailbox) -> None:
        placed = await order(shop)
        await mailbox.arrived(1)
        await quiet(shop.checkout)
        before = await database.get(paths.fulfillment(placed["payment"]))
        await resend(shop.checkout, orderNumber=placed["orderNumber"], email="office@example.com")
        await mailbox.arrived(1, to="office@example.com")
        await quiet(shop.checkout)
        assert (await database.get(paths.fulfillment(placed["payment"]))).fields == before.fields

    async def test_codes_that_are_no_longer_the_buyers_are_not_sent(
        self, shop: Shop, database: Database, mailbox: Mailbox
    ) -> None:
        await event_on_sale(database, "late", 100)
        placed = await order(shop, cartItems=[{"productId": "gala"}, {"productId": "late"}])
        await mailbox.arrived(1)
        [rager] = await ragers_of(database, "gala")
        await Tickets(database, "gala").change(rager.id, transferred_to="bob", active=False)
        await resend(shop.checkout, orderNumber=placed["orderNumber"])
        [mail, _] = await mailbox.arrived(2)
        assert [part["content_id"] for part in mail.fields["attachments"]] == ["ticket-2"]
        assert "Given to somebody else." in mail.fields["text"]

    async def test_an_order_without_a_ledger_entry_is_found_by_its_number(
        self, shop: Shop, database: Database, mailbox: Mailbox
    ) -> None:
        rager = Rager(paths.rager("gala", "r1"), "ann", ticket_quantity=3, ticket_token="0" * 32, order_number="OLD-1")
        await put(database, rager.path, rager.fields())
        old: dict[str, Value] = {"email": "ann@example.com", "amount": 7500, "dateTime": DATE}
        await put(database, paths.purchase("OLD-1"), old)
        assert (await resend(shop.checkout, orderNumber="OLD-1")).status == 200
        [mail] = await mailbox.arrived(1, to="ann@example.com")
        assert "admits 3" in mail.fields["text"]
        assert "75.00 USD" in mail.fields["text"]

    @pytest.mark.parametrize("name", ["fulfillmentId", "paymentIntentId", "orderNumber"])
    async def test_an_order_that_does_not_exist_is_refused(self, checkout: Service, name: str) -> None:
        refused = await resend(checkout, **{name: "nothing"})
        assert (refused.status, refused.code) == (404, "order_not_found")

    async def test_an_order_without_an_address_needs_one(
        self, checkout: Service, database: Database, mailbox: Mailbox
    ) -> None:
        await put(database, paths.fulfillment("pi_1"), {"status": "completed", "orderNumber": "ORD-1"})
        refused = await resend(checkout, paymentIntentId="pi_1")
        assert (refused.status, refused.code) == (409, "no_address")
        assert (await resend(checkout, paymentIntentId="pi_1", email="ann@example.com")).status == 200
        await mailbox.arrived(1, to="ann@example.com")

    @pytest.mark.parametrize("body", [{}, {"email": "ann@example.com"}, {"orderNumber": ""}, {"paymentIntentId": 1}])
    async def test_a_request_that_names_no_order_is_malformed(self, checkout: Service, body: dict[str, Any]) -> None:
        refused = await resend(checkout, **body)
        assert (refused.status, refused.code) == (400, "invalid_request")

    async def test_only_an_admin_may(self, strict_checkout: Service, database: Database, sign_in: Any) -> None:
        await put(database, paths.fulfillment("pi_1"), {"email": "ann@example.com", "orderNumber": "ORD-1"})
        body = {"paymentIntentId": "pi_1"}
        refused = await strict_checkout.post("/resend-receipt", body)
        assert (refused.status, refused.code) == (401, "token_missing")
        refused = await strict_checkout.post("/resend-receipt", body, headers=sign_in("ann"))
        assert (refused.status, refused.code) == (403, "not_admin")
        allowed = await strict_checkout.post("/resend-receipt", body, headers=sign_in("ann", admin=True))
        assert allowed.status == 200


class TestMyReceipts:
    async def test_the_answer_does_not_tell_who_is_a_customer(self, shop: Shop, mailbox: Mailbox) -> None:
        placed = await order(shop)
        await mailbox.arrived(1)
        for body in (
            {"email": "ann@example.com"},
            {"email": "nobody@example.com"},
            {"email": "ann@example.com", "orderNumber": placed["orderNumber"]},
            {"email": "nobody@example.com", "orderNumber": placed["orderNumber"]},
            {"email": "ann@example.com", "orderNumber": "ORD-NOTHING"},
        ):
            reply = await shop.checkout.post("/my-receipts", body)
            assert (reply.status, reply.body) == (200, {"ok": True})
        await quiet(shop.checkout)
        mails = mailbox.mails()
        assert {mail.fields["to"][0] for mail in mails} == {"ann@example.com"}
        assert sorted(mail.fields["subject"].split(":")[0] for mail in mails) == [
            "Your orders", "Your tickets", "Your tickets"
        ]  # fmt: skip

    async def test_an_address_is_mailed_the_list_of_its_orders(self, shop: Shop, mailbox: Mailbox) -> None:
        mine, others = [await order(shop) for _ in range(3)], await order(shop, "bob")
        await mailbox.arrived(4)
        await shop.checkout.post("/my-receipts", {"email": "ann@example.com"})
        [mail, *_] = await mailbox.arrived(5)
        for body in (mail.fields["text"], mail.fields["html"]):
            assert all(placed["orderNumber"] in body for placed in mine)
            assert others["orderNumber"] not in body
            assert "50.00 USD" in body
        assert mail.fields["attachments"] == []

    async def test_capitals_do_not_matter_and_mail_goes_to_the_address_the_order_has(
        self, shop: Shop, mailbox: Mailbox
    ) -> None:
        await order(shop, userEmail="Ann.Lee@example.com", customerEmail="Ann.Lee@example.com")
        await mailbox.arrived(1)
        await shop.checkout.post("/my-receipts", {"email": "ann.LEE@EXAMPLE.com"})
        [mail, _] = await mailbox.arrived(2)
        assert mail.fields["to"] == ["Ann.Lee@example.com"]

    async def test_an_address_that_only_looks_the_same_gets_nothing_of_the_other(
        self, shop: Shop, mailbox: Mailbox
    ) -> None:
        """The Kelvin sign is a k in lower case, and a mailbox of its own."""
        victim, attacker = "mike@example.com", "mi\N{KELVIN SIGN}e@example.com"
        theirs = await order(shop, "victim", userEmail=victim, customerEmail=victim)
        own = await order(shop, "attacker", userEmail=attacker, customerEmail=attacker)
        await mailbox.arrived(2)
        await shop.checkout.post("/my-receipts", {"email": attacker})
        await quiet(shop.checkout)
        received = [mail.fields["text"] for mail in mailbox.mails() if mail.fields["to"] == [attacker]]
        assert any(own["orderNumber"] in text for text in received)
        assert not any(theirs["orderNumber"] in text for text in received)

    async def test_one_address_is_limited(self, checkout: Service, mailbox: Mailbox) -> None:
        replies = [await checkout.post("/my-receipts", {"email": "ann@example.com"}) for _ in range(6)]
        assert [reply.status for reply in replies] == [200] * 5 + [429]
        assert (replies[5].code, int(replies[5].headers["Retry-After"]) > 60) == ("rate_limited", True)
        assert (await checkout.post("/my-receipts", {"email": "ANN@example.com"})).status == 429
        await quiet(checkout)
        assert mailbox.mails() == []

    @pytest.mark.parametrize("body", [{}, {"email": "nobody"}, {"email": "a@b.example", "orderNumber": "a/b"}])
    async def test_a_request_that_names_no_address_is_malformed(self, checkout: Service, body: dict[str, Any]) -> None:
        refused = await checkout.post("/my-receipts", body)
        assert (refused.status, refused.code) == (400, "invalid_request")

    async def test_tickets_made_by_hand_are_among_them(
        self, checkout: Service, database: Database, mailbox: Mailbox
    ) -> None:
        body = {"uid": "ann", "eventId": "gala", "qty": 1, "priceCents": 0, "email": "Ann@example.com"}
        made = await checkout.post("/manual-create-ticket", body)
        assert Purchase.of(await database.get(paths.purchase(made.body["orderNumber"]))) is not None
        await mailbox.arrived(1)
        wanted = {"email": "ann@example.com", "orderNumber": made.body["orderNumber"]}
        await checkout.post("/my-receipts", wanted)
        [mail, _] = await mailbox.arrived(2)
        assert [part["content_id"] for part in mail.fields["attachments"] if part["content_id"]] == ["ticket-1"]
