from collections.abc import AsyncIterator

import httpx
import pytest
import resend

from deploy.local.mailbox import Mailbox


@pytest.fixture
async def mailbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mailbox]:
    """An empty mailbox that the resend client sends to."""
    async with Mailbox() as mailbox:
        monkeypatch.setattr(resend, "api_url", mailbox.url)
        monkeypatch.setattr(resend, "api_key", "re_test")
        yield mailbox


@pytest.fixture
async def browser(mailbox: Mailbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mailbox.url) as browser:
        yield browser
