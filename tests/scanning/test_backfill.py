import asyncio
from typing import Any

import pytest

from deploy.local.firestore.faults import Fault
from deploy.local.firestore.server import EmbeddedFirestore
from services.scanning import backfill
from shared.documents import Rager, TicketToken
from shared.firestore import paths
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.operations import Merge
from tests.support.services import Reply, Service
from tests.support.tickets import SOLD, Tickets, put, store


async def run(door: Service, **fields: Any) -> Reply:
    return await door.post("/backfill-ticket-tokens", {"eventId": "e1", "dryRun": False, **fields})


async def mapping(database: Database, token: str) -> TicketToken | None:
    return TicketToken.of(await database.get(paths.ticket_token(token)))


async def bare(database: Database, rager_id: str, **changes: Any) -> None:
    """A batch as older programs left it: without a token."""
    await store(database, put(Rager(paths.rager("e1", rager_id), user_id="anna", **changes)))


async def test_every_batch_gets_a_token_that_scans(door: Service, tickets: Tickets, database: Database) -> None:
    for n in range(3):
        await bare(database, f"r{n}")
    reply = await run(door)
    assert (reply.body["processed"], reply.body["updated"], reply.body["mappingsCreated"]) == (3, 3, 3)
    tokens = [rager.ticket_token or "" for rager in await tickets.ragers()]
    assert all(len(token) == 32 and int(token, 16) for token in tokens)
    assert not any(token in str(reply.body) for token in tokens)
    for token in tokens:
        assert (await door.post("/scan-ticket", {"token": token})).status == 200
    assert await tickets.check() == 3


async def test_existing_tokens_keep_their_value_and_get_their_mapping(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await tickets.sell("anna", 1, "r1")
    await tickets.sell("anna", 1, "r2")
    await tickets.forget_mapping("r1-token")
    reply = await run(door)
    assert (reply.body["updated"], reply.body["mappingsCreated"], reply.body["mappingsRepaired"]) == (0, 1, 0)
    created = await mapping(database, "r1-token")
    assert created is not None
    assert (created.event_id, created.rager_id, created.user_id) == ("e1", "r1", "anna")
    assert (await tickets.rager("r1")).ticket_token == "r1-token"


async def test_a_mapping_that_points_elsewhere_is_repaired(door: Service, tickets: Tickets, database: Database) -> None:
    await tickets.sell("anna", 1, "r1")
    await tickets.sell("anna", 1, "r2")
    await tickets.sell("anna", 1, "r3")
    await store(database, Merge(paths.ticket_token("r1-token"), TicketToken.patch(rager_id="r9")))
    await store(database, Merge(paths.ticket_token("r2-token"), TicketToken.patch(rager_id="r1")))
    await store(database, Merge(paths.ticket_token("r3-token"), TicketToken.patch(event_id="")))
    reply = await run(door)
    assert (reply.body["mappingsRepaired"], reply.body["mappingsCreated"]) == (2, 1)
    for n in (1, 2, 3):
        repaired = await mapping(database, f"r{n}-token")
        assert repaired is not None
        assert (repaired.event_id, repaired.rager_id) == ("e1", f"r{n}")


async def test_a_token_of_two_batches_is_reported_and_left_alone(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await tickets.sell("anna", 1, "r1")
    await bare(database, "r2", ticket_token="r1-token")
    for _ in range(2):
        reply = await run(door)
        assert (reply.body["disputed"], reply.body["mappingsRepaired"]) == (1, 0)
    kept = await mapping(database, "r1-token")
    assert kept is not None
    assert kept.rager_id == "r1"


@pytest.mark.parametrize("dry", [True, False])
async def test_a_token_of_two_batches_is_reported_in_the_first_run(
    tickets: Tickets, database: Database, committer: Committer, *, dry: bool
) -> None:
    for rager_id in ("r1", "r2", "r3"):
        await bare(database, rager_id, ticket_token="same" if rager_id != "r2" else "own")
    for _ in range(2):
        done = await backfill.backfill(database, committer, "e1", dry_run=dry, page_size=1)
        assert (done.disputed, [s.rager_id for s in done.samples if s.minted.disputed]) == (2, ["r1", "r3"])
    assert await mapping(database, "same") is None
    assert (await mapping(database, "own") is None) == dry


async def test_a_token_of_another_events_batch_is_disputed_too(door: Service, database: Database) -> None:
    await bare(database, "r1", ticket_token="same")
    await store(database, put(Rager(paths.rager("e2", "r2"), ticket_token="same")))
    assert (await run(door)).body["disputed"] == 1


async def test_a_token_that_a_refunded_batch_had_too_is_not_disputed(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await bare(database, "r1", ticket_token="same", refunded_at=SOLD)
    await bare(database, "r2", ticket_token="same")
    reply = await run(door)
    assert (reply.body["disputed"], reply.body["mappingsCreated"]) == (0, 1)
    created = await mapping(database, "same")
    assert created is not None
    assert created.rager_id == "r2"


async def test_an_empty_token_is_none(door: Service, tickets: Tickets, database: Database) -> None:
    await bare(database, "r1", ticket_token="")
    reply = await run(door)
    assert (reply.body["updated"], reply.body["mappingsCreated"], reply.body["unusable"]) == (1, 1, 0)
    assert (await door.post("/scan-ticket", {"token": (await tickets.rager("r1")).ticket_token})).status == 200


@pytest.mark.parametrize("token", ["a/b", "..", " padded ", "rtk:inner", "ABCDEF0123456789ABCDEF0123456789"])
@pytest.mark.parametrize("dry", [True, False])
async def test_a_token_that_no_code_can_lead_to_is_reported_and_kept(
    door: Service, tickets: Tickets, database: Database, *, token: str, dry: bool
) -> None:
    await bare(database, "r1", ticket_token=token)
    reply = await run(door, dryRun=dry)
    assert (reply.body["unusable"], reply.body["updated"], reply.body["mappingsCreated"]) == (1, 0, 0)
    assert [(sample["ragerId"], sample["unusable"]) for sample in reply.body["samples"]] == [("r1", True)]
    assert (await tickets.rager("r1")).ticket_token == token


async def test_refunded_and_transferred_batches_stay_without(
    door: Service, tickets: Tickets, database: Database
) -> None:
    await bare(database, "r1", refunded_at=SOLD)
    await tickets.sell("anna", 1, "r2", transferred_to="ben")
    await tickets.forget_mapping("r2-token")
    reply = await run(door)
    assert (reply.body["processed"], reply.body["updated"], reply.body["mappingsCreated"]) == (2, 0, 0)
    assert await mapping(database, "r2-token") is None


async def test_a_dry_run_tells_and_writes_nothing(
    door: Service, database: Database, firestore: EmbeddedFirestore
) -> None:
    await bare(database, "r1")
    before = firestore.faults.calls.copy()
    reply = await run(door, dryRun=True)
    assert (reply.body["updated"], reply.body["dryRun"], reply.body["samples"][0]["ragerId"]) == (1, True, "r1")
    assert "Commit" not in firestore.faults.calls - before


async def test_a_backfill_goes_on_where_it_stopped(tickets: Tickets, database: Database, committer: Committer) -> None:
    for n in range(10):
        await bare(database, f"r{n}")
    options: dict[str, Any] = {"dry_run": False, "seconds": 0.0, "page_size": 4}
    runs = [await backfill.backfill(database, committer, "e1", **options)]
    while runs[-1].cursor:
        runs.append(await backfill.backfill(database, committer, "e1", cursor=runs[-1].cursor, **options))
    assert [run.processed for run in runs] == [4, 4, 2]
    assert all(rager.ticket_token for rager in await tickets.ragers())


async def test_two_backfills_at_once_under_faults_give_one_token_each(
    door: Service, tickets: Tickets, database: Database, firestore: EmbeddedFirestore
) -> None:
    for n in range(60):
        await bare(database, f"r{n:02}")
    firestore.faults.set("Commit", Fault(aborted=0.2, lost_reply=0.6))
    replies = await asyncio.gather(run(door), run(door))
    firestore.faults.clear()
    assert sum(reply.body["updated"] for reply in replies) == 60
    for rager in await tickets.ragers():
        found = await mapping(database, rager.ticket_token or "")
        assert found is not None
        assert found.rager_id == rager.id
    again = await run(door)
    assert (again.body["updated"], again.body["mappingsCreated"], again.body["mappingsRepaired"]) == (0, 0, 0)
