import asyncio
import base64
import time
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
import resend
from resend.exceptions import MissingRequiredFieldsError, RateLimitError, ResendError, ValidationError

from deploy.local.http_faults import Fault
from deploy.local.mailbox import Mailbox

MAIL: dict[str, Any] = {
    "from": "Box Office <tickets@example.com>",
    "to": "ada@example.com",
    "subject": "Your tickets",
    "html": "<p>Two tickets</p>",
    "text": "Two tickets",
}


async def send(changes: dict[str, Any] | None = None, *, key: str | None = None) -> str:
    params = cast("resend.Emails.SendParams", MAIL | (changes or {}))
    options: resend.Emails.SendOptions = {"idempotency_key": key} if key else {}
    return (await resend.Emails.send_async(params, options))["id"]


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in MAIL.items() if name not in names}


async def test_an_accepted_mail_is_kept_whole(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    more = {
        "cc": ["bob@example.com"],
        "bcc": "eve@example.com",
        "reply_to": "help@example.com",
        "headers": {"X-Order": "7"},
        "tags": [{"name": "order", "value": "7"}],
        "attachments": [
            {"filename": "tickets.ics", "content": base64.b64encode(b"BEGIN:VCALENDAR").decode()},
            {"filename": "qr.png", "content": list(b"\x89PNG"), "content_id": "qr-1", "content_type": "image/png"},
        ],
    }
    mail_id = await send(more)
    shown = (await browser.get(f"/emails/{mail_id}")).json()
    assert shown["id"] == mail_id
    assert (shown["from"], shown["to"], shown["subject"]) == (MAIL["from"], [MAIL["to"]], MAIL["subject"])
    assert (shown["html"], shown["text"], shown["bcc"]) == (MAIL["html"], MAIL["text"], ["eve@example.com"])
    assert shown["headers"] == {"X-Order": "7"}
    assert [(a["content_type"], a["content_id"], a["size"]) for a in shown["attachments"]] == [
        ("text/calendar", None, 15),
        ("image/png", "qr-1", 4),
    ]
    assert (await resend.Emails.get_async(mail_id))["subject"] == MAIL["subject"]


async def test_mails_are_listed_newest_first(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    ids = [await send({"subject": str(number)}) for number in range(3)]
    listed = (await browser.get("/emails")).json()
    assert [mail["id"] for mail in listed["data"]] == ids[::-1]
    assert {"id", "to", "from", "subject", "html", "text", "created_at"} <= listed["data"][0].keys()
    first = (await browser.get("/emails", params={"limit": 2})).json()
    rest = (await browser.get("/emails", params={"limit": 2, "after": ids[1]})).json()
    assert ([m["id"] for m in first["data"]], first["has_more"]) == ([ids[2], ids[1]], True)
    assert ([m["id"] for m in rest["data"]], rest["has_more"]) == ([ids[0]], False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"to": "nobody"}, "Invalid `to` field. The email address needs to follow"),
        ({"to": []}, "Invalid `to` field"),
        ({"to": ["ada@example.com"] * 51}, "Invalid `to` field"),
        ({"from": "tickets"}, "Invalid `from` field"),
        ({"subject": "two\nlines"}, "Invalid `subject` field"),
        ({"headers": {"X-A": "b\r\nBcc: eve@example.com"}}, "Invalid `headers.X-A` field"),
        ({"tags": [{"name": "no spaces"}]}, "Invalid `tags.0.name` field"),
        ({"attachments": [{"filename": "a", "content": "%"}]}, "The content must be base64"),
        ({"scheduled_at": "tomorrow"}, "does not support the `scheduled_at` field"),
        ({"template": {"id": "x"}}, "does not support the `template` field"),
        ({"attachments": [{"filename": "a", "content": "", "path": "http://x"}]}, "`attachments.0.path`"),
    ],
)
async def test_a_wrong_field_is_named_and_nothing_is_kept(
    mailbox: Mailbox, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        await send(changes)
    assert message in str(refused.value)
    assert refused.value.code == 422
    assert mailbox.mails() == []


@pytest.mark.parametrize("names", [("from",), ("to",), ("subject",), ("html", "text")])
@pytest.mark.usefixtures("mailbox")
async def test_a_missing_field_is_named(names: tuple[str, ...]) -> None:
    with pytest.raises(MissingRequiredFieldsError, match=names[0]):
        await resend.Emails.send_async(cast("resend.Emails.SendParams", without(*names)))


async def test_a_missing_or_wrong_key_is_refused(browser: httpx.AsyncClient) -> None:
    missing = await browser.post("/emails", json=MAIL)
    assert (missing.status_code, missing.json()["name"]) == (401, "missing_api_key")
    wrong = await browser.post("/emails", json=MAIL, headers={"Authorization": "Bearer sk_x"})
    assert (wrong.status_code, wrong.json()["name"]) == (403, "invalid_api_key")
    assert (await browser.get("/emails")).json()["data"] == []


async def test_what_is_no_json_or_no_route_is_refused(browser: httpx.AsyncClient) -> None:
    key = {"Authorization": "Bearer re_x"}
    assert (await browser.post("/emails", content=b"{", headers=key)).status_code == 400
    assert (await browser.post("/emails", json=[1], headers=key)).status_code == 422
    assert (await browser.get("/domains")).json()["name"] == "not_found"
    assert (await browser.patch("/emails")).json()["name"] == "method_not_allowed"
    assert [(await browser.get(path)).status_code for path in ("/health", "/ready")] == [200, 200]


async def test_the_same_key_and_payload_send_once(mailbox: Mailbox) -> None:
    assert await send(key="receipt/7") == await send(key="receipt/7")
    assert len(mailbox.mails()) == 1


async def test_the_same_key_with_another_payload_is_refused(mailbox: Mailbox) -> None:
    await send(key="receipt/7")
    with pytest.raises(ResendError) as refused:
        await send({"subject": "Changed"}, key="receipt/7")
    assert (refused.value.code, refused.value.error_type) == (409, "invalid_idempotent_request")
    assert len(mailbox.mails()) == 1


async def test_two_requests_at_once_under_one_key_send_once(mailbox: Mailbox) -> None:
    mailbox.faults.add(Fault(kind="delay", seconds=0.3, count=1))
    results = await asyncio.gather(send(key="k"), send(key="k"), return_exceptions=True)
    refused = [result for result in results if isinstance(result, ResendError)]
    assert [(error.code, error.error_type) for error in refused] == [(409, "concurrent_idempotent_requests")]
    assert len(mailbox.mails()) == 1


@pytest.mark.usefixtures("mailbox")
async def test_a_key_is_at_most_256_characters_long() -> None:
    assert await send(key="k" * 256)
    with pytest.raises(ResendError) as refused:
        await send(key="k" * 257)
    assert (refused.value.code, refused.value.error_type) == (400, "invalid_idempotency_key")


async def test_a_refused_mail_leaves_its_key_free(mailbox: Mailbox) -> None:
    with pytest.raises(ValidationError):
        await send({"to": "nobody"}, key="k")
    await send(key="k")
    assert len(mailbox.mails()) == 1


async def test_after_a_lost_reply_the_retry_sends_nothing_more(mailbox: Mailbox) -> None:
    mailbox.faults.add(Fault(kind="lost_reply", count=1))
    with pytest.raises(ResendError):
        await send(key="k")
    assert await send(key="k") == mailbox.mails()[0].id
    assert len(mailbox.mails()) == 1


async def test_failures_that_were_asked_for_come_as_resends_own(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    await browser.post("/_sim/faults", json={"kind": "refuse", "count": 1, "status": 500})
    await browser.post("/_sim/faults", json={"kind": "refuse", "count": 1, "status": 429, "seconds": 2})
    with pytest.raises(ResendError) as failed:
        await send()
    with pytest.raises(RateLimitError) as limited:
        await send()
    assert failed.value.code == 500
    assert limited.value.headers["retry-after"] == "2"
    await send()
    assert len(mailbox.mails()) == 1


async def test_a_batch_is_all_or_nothing_unless_it_is_permissive(mailbox: Mailbox) -> None:
    batch = cast("list[resend.Emails.SendParams]", [MAIL, MAIL | {"to": "nobody"}])
    with pytest.raises(ValidationError):
        await resend.Batch.send_async(batch)
    assert mailbox.mails() == []
    sent = await resend.Batch.send_async(batch, {"batch_validation": "permissive"})
    assert [mail.id for mail in mailbox.mails()] == [sent["data"][0]["id"]]
    assert [error["index"] for error in sent["errors"]] == [1]


@pytest.mark.usefixtures("mailbox")
async def test_a_batch_has_1_to_100_mails_without_attachments() -> None:
    with pytest.raises(ValidationError):
        await resend.Batch.send_async([])
    with pytest.raises(ValidationError):
        await resend.Batch.send_async(cast("list[resend.Emails.SendParams]", [MAIL] * 101))
    attached = MAIL | {"attachments": [{"filename": "a", "content": ""}]}
    with pytest.raises(ValidationError, match="attachments"):
        await resend.Batch.send_async(cast("list[resend.Emails.SendParams]", [attached]))


async def test_a_test_can_wait_for_mails_to_arrive(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    waiting = asyncio.create_task(mailbox.arrived(2, to="ada@example.com"))
    for to in ("ada@example.com", "bob@example.com", "ada@example.com"):
        await send({"to": to})
    assert len(await waiting) == 2
    over_http = await browser.get("/_sim/arrived", params={"count": 1, "to": "bob@example.com"})
    assert len(over_http.json()["data"]) == 1
    assert (await browser.get("/_sim/arrived", params={"count": 9, "timeout": 0.01})).status_code == 408


async def test_mails_and_keys_outlive_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resend, "api_key", "re_test")
    ids = []
    for _ in range(2):
        async with Mailbox(data_dir=tmp_path) as mailbox:
            monkeypatch.setattr(resend, "api_url", mailbox.url)
            ids.append(await send(key="k"))
            assert [mail.id for mail in mailbox.mails()] == ids[:1]
    assert ids[0] == ids[1]


async def test_a_crowd_of_receipts_is_taken_quickly(mailbox: Mailbox) -> None:
    key = {"Authorization": "Bearer re_x"}
    attached = MAIL | {"attachments": [{"filename": "qr.png", "content": base64.b64encode(b"x" * 5000).decode()}]}
    begun = time.perf_counter()
    async with httpx.AsyncClient(base_url=mailbox.url, headers=key, timeout=60) as http:
        for _ in range(20):
            replies = await asyncio.gather(*(http.post("/emails", json=attached) for _ in range(25)))
            assert {reply.status_code for reply in replies} == {200}
    print(f"500 mails with a picture in {time.perf_counter() - begun:.2f} s")
    assert len(mailbox.mails()) == 500
