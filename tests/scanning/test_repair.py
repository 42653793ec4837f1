"""The repair of one summary as a pure operation: it must not undo a sale that it did not see."""

from datetime import UTC, datetime

from services.scanning.repair import Moved, Observed, Repair
from shared.documents import Rager, RepairedSummary, Summary, UserSums
from shared.operations import Batch, Document, Put, Write
from shared.records import Record

NOW = datetime(2026, 3, 2, 3, tzinfo=UTC)
SEEN = datetime(2026, 3, 2, 2, tzinfo=UTC)
PATH = "eventUsers/e/users/anna"


def document(record: Record, at: datetime = SEEN) -> Document:
    return Document(record.path, record.fields(), at)


RAGER = document(Rager("events/e/ragers/r1", user_id="anna", ticket_quantity=3, used_count=1))
WRONG = document(Summary(PATH, 5, 0))


def repair(observed: Document, *present: Document) -> tuple[RepairedSummary | Moved | None, list[Write]]:
    operation = Repair("e", Observed("anna", observed, ["r1"]), NOW)
    decision = operation.decide(Batch({found.path: found for found in present}).view(operation.reads()))
    return decision.result, list(decision.writes)


def test_a_summary_becomes_the_sum_of_the_ragers() -> None:
    result, writes = repair(WRONG, WRONG, RAGER)
    assert result == RepairedSummary("anna", UserSums(5, 0), UserSums(3, 1))
    assert [write.path for write in writes] == [PATH]


def test_a_summary_that_was_sold_to_since_is_observed_again() -> None:
    sold_to = document(Summary(PATH, 7, 0), NOW)
    assert repair(WRONG, sold_to, RAGER) == (Moved(), [])


def test_a_summary_written_since_is_observed_again_even_if_it_says_the_same() -> None:
    assert repair(WRONG, document(Summary(PATH, 5, 0), NOW), RAGER) == (Moved(), [])


def test_a_summary_changed_by_a_neighbour_in_the_same_commit_is_observed_again() -> None:
    operation = Repair("e", Observed("anna", WRONG, ["r1"]), NOW)
    batch = Batch({WRONG.path: WRONG, RAGER.path: RAGER})
    batch.add([Put(PATH, Summary(PATH, 6, 0).fields())])
    assert isinstance(operation.decide(batch.view(operation.reads())).result, Moved)


def test_a_right_summary_is_left_alone() -> None:
    right = document(Summary(PATH, 3, 1))
    assert repair(right, right, RAGER) == (None, [])


def test_a_repair_whose_reply_was_lost_is_told_and_not_repeated() -> None:
    repaired = document(Summary(PATH, 3, 1, updated_at=NOW), NOW)
    assert repair(WRONG, repaired, RAGER) == (RepairedSummary("anna", UserSums(5, 0), UserSums(3, 1)), [])
