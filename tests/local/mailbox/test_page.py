import base64
import html
import re
from typing import Any, cast

import httpx
import pytest
import resend

from deploy.local.mailbox import Mailbox
from deploy.local.mailbox.preview import resolve_images
from deploy.local.mailbox.store import StoredAttachment

HOSTILE = '<script>alert("1")</script>"><img src=x onerror=alert(2)>'
PNG = StoredAttachment("qr.png", "image/png", "qr-1", b"\x89PNG")


async def send(**changes: Any) -> str:
    mail = {"from": "b@example.com", "to": "a@example.com", "subject": "Hello", "text": "It works."} | changes
    return (await resend.Emails.send_async(cast("resend.Emails.SendParams", mail)))["id"]


async def test_an_empty_mailbox_says_what_to_do(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/")
    assert page.status_code == 200
    assert "No mail yet" in page.text
    assert "curl" in page.text


async def test_the_page_lists_mails_and_shows_the_one_chosen(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    chosen = await send(subject="First", html="<p>One</p>")
    await send(subject="Second")
    page = (await browser.get("/", params={"mail": chosen})).text
    assert page.index("Second") < page.index(">First</span>")
    assert html.escape("<p>One</p>") in page
    assert "2 mails" in page


async def test_a_mail_that_is_not_there_is_said_to_be_missing(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    assert (await browser.get("/", params={"mail": "nope"})).status_code == 404
    await send(subject="First")
    page = await browser.get("/", params={"mail": "nope"})
    assert page.status_code == 404
    assert "There is no such mail" in page.text
    assert "First" in page.text


async def test_a_hostile_mail_stays_inside_its_sandbox(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    mail_id = await send(subject=HOSTILE, html=HOSTILE, text=HOSTILE, headers={"X-A": HOSTILE})
    page = await browser.get("/", params={"mail": mail_id})
    assert "<script>alert" not in page.text
    assert "<img" not in page.text
    frame = re.search(r"<iframe [^>]*>", page.text)
    assert frame is not None
    assert "allow-scripts" not in frame[0]
    assert "allow-same-origin" not in frame[0]
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy


async def test_everything_that_the_page_loads_is_here(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    page = (await browser.get("/")).text
    assets = [path for path in re.findall(r'(?:href|src)="([^"]+)"', page) if path.startswith("/page/")]
    assert len(assets) == 2
    for path in assets:
        assert (await browser.get(path)).status_code == 200
    assert re.findall(r'(?:href|src)="(?:https?:)?//', page) == []


async def test_an_attachment_is_saved_not_shown(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    content = base64.b64encode(b"<script>1</script>").decode()
    mail_id = await send(attachments=[{"filename": 'a"\u2603.html', "content": content, "content_type": "text/html"}])
    reply = await browser.get(f"/emails/{mail_id}/attachments/0")
    assert reply.content == b"<script>1</script>"
    assert reply.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''a%22%E2%98%83.html")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert (await browser.get(f"/emails/{mail_id}/attachments/1")).status_code == 404
    assert (await browser.get(f"/emails/{mail_id}/attachments/x")).status_code == 404


@pytest.mark.parametrize(
    ("written", "resolved"),
    [
        ('<img src="cid:qr-1">', '<img src="data:image/png;base64,iVBORw==">'),
        ("<img src='cid:qr-1'/>", "<img src='data:image/png;base64,iVBORw=='/>"),
        ('<img src="cid:other">', '<img src="cid:other">'),
        ("<p>nothing</p>", "<p>nothing</p>"),
    ],
)
def test_inline_pictures_come_from_the_mail_itself(written: str, resolved: str) -> None:
    assert resolve_images(written, [PNG]) == resolved


def test_an_attachment_that_is_no_picture_is_not_inlined() -> None:
    page = StoredAttachment("x.svg", "image/svg+xml", "qr-1", b"<svg/>")
    assert resolve_images('<img src="cid:qr-1">', [page]) == '<img src="cid:qr-1">'


async def test_the_mails_can_be_cleared_between_tests(mailbox: Mailbox, browser: httpx.AsyncClient) -> None:
    await send()
    await browser.delete("/_sim/emails")
    assert mailbox.mails() == []
