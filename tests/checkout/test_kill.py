"""The checkout's process is killed at the worst moments; the next one completes what it had begun."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.http_faults import Fault as HttpFault
from deploy.local.mailbox import Mailbox
from deploy.local.stripe import StripeSimulator
from shared.documents import Fulfillment
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.query import Query
from tests.support.services import PROXY_KEY, Service
from tests.support.shop import STRIPE_KEY, Shop, check_invariants, event_on_sale, ragers_of

ROOT = Path(__file__).parent.parent.parent


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class Process:
    """``python -m services.checkout``, which can be killed."""

    def __init__(self, environment: dict[str, str], session: aiohttp.ClientSession) -> None:
        port = free_port()
        self._environment = {**os.environ, **environment, "PORT": str(port)}
        self.service = Service(session, f"http://127.0.0.1:{port}")
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.checkout", cwd=ROOT, env=self._environment,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(60):
            while True:
                with suppress(aiohttp.ClientError):
                    if (await self.service.get("/ready")).status == 200:
                        return
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def environment(firestore: EmbeddedFirestore, stripe: StripeSimulator, mailbox: Mailbox) -> dict[str, str]:
    return {
        "PROXY_KEY": PROXY_KEY,
        "ADMIN_AUTH": "proxy",
        "GOOGLE_CLOUD_PROJECT": "demo-test",
        "FIRESTORE_EMULATOR_HOST": firestore.host,
        "STRIPE_SECRET": STRIPE_KEY,
        "STRIPE_API_BASE": stripe.url,
        "RESEND_API_KEY": "re_test",
        "RESEND_API_URL": mailbox.url,
        "JOB_POLL_SECONDS": "1",
        "DRAIN_SECONDS": "0",
    }


@asynccontextmanager
async def running(environment: dict[str, str], session: aiohttp.ClientSession) -> AsyncIterator[Process]:
    process = Process(environment, session)
    try:
        await process.start()
        yield process
    finally:
        await process.kill()


async def ledger_of(database: Database, payment: str) -> Fulfillment:
    """Read by a query, which the faults of these tests leave alone."""
    ledgers = [Fulfillment.of(document) for document in await database.query(Query("fulfillments"))]
    return next(ledger for ledger in ledgers if ledger and ledger.id == payment)


@pytest.mark.slow
async def test_a_kill_between_the_commit_and_its_reply_leaves_a_complete_order(
    environment: dict[str, str],
    session: aiohttp.ClientSession,
    firestore: EmbeddedFirestore,
    stripe: StripeSimulator,
    database: Database,
    mailbox: Mailbox,
) -> None:
    await event_on_sale(database, "gala", 10)
    async with running(environment, session) as process:
        shop = Shop(process.service, stripe.url, session)
        payment = await shop.paid("ann", "gala", 2)
        firestore.faults.set("Commit", Fault(lost_reply=1.0))
        firestore.faults.set("BatchGetDocuments", Fault(latency=500))  # time to see the commit before it is asked about
        finalizing = asyncio.create_task(shop.finalize("ann", payment))
        while not await database.query(Query("fulfillments")):
            await asyncio.sleep(0)
        firestore.faults.set("BatchGetDocuments", Fault(unavailable=1.0))  # so that it cannot find out what happened
        await process.kill()
        with pytest.raises(aiohttp.ClientError):
            await finalizing
        firestore.faults.clear()
    async with running(environment, session) as process:
        shop = Shop(process.service, stripe.url, session)
        again = await shop.finalize("ann", payment)
        assert (again.body["idempotent"], again.body["createdTickets"]) == (True, 2)
        assert len(await ragers_of(database, "gala")) == 1
        assert len(await mailbox.arrived(1, to="ann@example.com", timeout=60)) == 1
        await check_invariants(database, "gala")


@pytest.mark.slow
async def test_a_kill_between_the_commit_and_the_email_sends_it_once(
    environment: dict[str, str],
    session: aiohttp.ClientSession,
    firestore: EmbeddedFirestore,
    stripe: StripeSimulator,
    database: Database,
    mailbox: Mailbox,
) -> None:
    await event_on_sale(database, "gala", 10)
    async with running(environment, session) as process:
        shop = Shop(process.service, stripe.url, session)
        early, late = await shop.paid("ann", "gala"), await shop.paid("bob", "gala")
        # ann's mail is taken, but nobody can note it down; bob's is never sent
        mailbox.faults.add(HttpFault(kind="delay", seconds=1.0, path="/emails", count=1))
        await shop.finalize("ann", early)
        await mailbox_asked(mailbox)
        firestore.faults.set("Commit", Fault(unavailable=1.0))
        await mailbox.arrived(1, to="ann@example.com")
        firestore.faults.clear()
        mailbox.faults.add(HttpFault(kind="delay", seconds=30.0, path="/emails"))
        await shop.finalize("bob", late)
        await process.kill()
        mailbox.faults.clear()
    async with running(environment, session):
        await mailbox.arrived(1, to="bob@example.com", timeout=90)
        async with asyncio.timeout(90):
            while not all([(await ledger_of(database, order)).email_sent_at for order in (early, late)]):
                await asyncio.sleep(0.2)
    assert len(mailbox.mails(to="ann@example.com")) == 1
    assert len(mailbox.mails(to="bob@example.com")) == 1
    [ann] = mailbox.mails(to="ann@example.com")
    assert (await ledger_of(database, early)).email_message_id == ann.id
    assert (await database.get(paths.fulfillment(late))).exists


async def mailbox_asked(mailbox: Mailbox) -> None:
    """Until the delayed request is there."""
    while mailbox.faults.active():
        await asyncio.sleep(0.01)
