"""The minting of one token as a pure operation: what it decides on documents that have changed since the lookup."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.scanning.minting import NOTHING, Mint, Minted
from shared.documents import Rager, TicketToken
from shared.operations import Batch, Document, Write
from shared.records import Record

NOW = datetime(2026, 3, 2, 3, tzinfo=UTC)
BEFORE = datetime(2026, 3, 2, 2, tzinfo=UTC)
RAGER = Rager("events/e/ragers/r1", user_id="anna", ticket_token="t")
OTHER = Rager("events/e/ragers/r2", user_id="ben", ticket_token="u")


def mint(*present: Record) -> tuple[Minted, list[Write]]:
    """The lookup found r1 with the token ``t``, whose mapping pointed to r2; ``present`` is what is there now."""
    operation = Mint("e", "r1", token="t", fresh="f", misled=OTHER.path, sharers=(OTHER.path,), now=NOW)
    documents = {path: Document(path, None) for path in operation.reads()}
    documents |= {record.path: Document(record.path, record.fields()) for record in present}
    decision = operation.decide(Batch(documents).view(operation.reads()))
    return decision.result, list(decision.writes)


def mapping(rager_id: str, at: datetime = BEFORE, user_id: str = "anna") -> TicketToken:
    return TicketToken("ticketTokens/t", "e", rager_id, at, user_id)


def test_a_mapping_that_still_points_elsewhere_is_repaired() -> None:
    result, writes = mint(RAGER, OTHER, mapping("r2"))
    assert result == Minted(mapping_repaired=True)
    assert [write.path for write in writes] == ["ticketTokens/t"]


def test_a_mapping_that_was_repaired_in_between_is_left_alone() -> None:
    assert mint(RAGER, OTHER, mapping("r3")) == (NOTHING, [])
    assert mint(RAGER, OTHER, mapping("r1")) == (NOTHING, [])


def test_a_mapping_that_was_lost_in_between_is_created() -> None:
    assert mint(RAGER, OTHER)[0] == Minted(mapping_created=True)


def test_a_mint_whose_reply_was_lost_is_told_and_not_repeated() -> None:
    assert mint(RAGER, OTHER, mapping("r1", NOW)) == (Minted(mapping_repaired=True), [])


def test_a_mapping_that_a_neighbour_made_at_the_same_time_is_not_taken_for_ones_own() -> None:
    assert mint(RAGER, replace(OTHER, ticket_token="t"), mapping("r2", NOW)) == (Minted(disputed=True), [])


@pytest.mark.parametrize("now", [None, replace(RAGER, refunded_at=NOW), replace(RAGER, ticket_token="v")])
def test_a_batch_that_is_gone_refunded_or_has_another_token_by_now_is_left_alone(now: Rager | None) -> None:
    assert mint(*([now] if now else []), OTHER, mapping("r2")) == (NOTHING, [])


def test_a_token_that_the_other_batch_has_too_is_disputed_until_that_one_is_refunded() -> None:
    other = replace(OTHER, ticket_token="t")
    assert mint(RAGER, other, mapping("r2")) == (Minted(disputed=True), [])
    assert mint(RAGER, replace(other, refunded_at=NOW), mapping("r2"))[0] == Minted(mapping_repaired=True)


def test_a_hint_at_a_holder_of_the_past_is_brought_up_to_date() -> None:
    assert mint(RAGER, OTHER, mapping("r1", user_id="old"))[0] == Minted(mapping_repaired=True)
