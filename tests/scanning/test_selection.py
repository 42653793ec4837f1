"""The rules of which batch is consumed next, as tables and as laws."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scanning.selection import ADMISSIBLE, choose_next, explaining, in_order, party, standing
from shared.documents import Rager

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def rager(rager_id: str = "r", quantity: int = 1, used: int = 0, day: int | None = 0, **changes: object) -> Rager:
    bought = None if day is None else DAY + timedelta(days=day)
    stored = {"ticket_quantity": quantity, "used_count": used, "purchase_date": bought, **changes}
    return Rager(f"events/e/ragers/{rager_id}", **stored)  # type: ignore[arg-type]  # the cases name the fields


CASES = [
    ("nothing", [], None),
    ("the only one", [rager("a")], "a"),
    ("most remaining", [rager("a", 2), rager("b", 3)], "b"),
    ("most remaining, not largest", [rager("a", 5, used=4), rager("b", 2)], "b"),
    ("the older of equals", [rager("a", day=2), rager("b", day=1)], "b"),
    ("by id where bought at once", [rager("b"), rager("a")], "a"),
    ("a missing date is the youngest", [rager("a", day=None), rager("b", day=9)], "b"),
    ("by id where no date is known", [rager("b", day=None), rager("a", day=None)], "a"),
    ("more remaining beats a date", [rager("a", 1, day=1), rager("b", 2, day=None)], "b"),
    ("an inactive one first in the list is passed over", [rager("a", 9, active=False), rager("b")], "b"),
    ("a used one is passed over", [rager("a", 9, used=9), rager("b")], "b"),
    ("a refunded one is passed over", [rager("a", 9, refunded_at=DAY), rager("b")], "b"),
    ("a transferred one is passed over", [rager("a", 9, transferred_to="x"), rager("b")], "b"),
    ("one in transfer is not", [rager("a", 9, pending_transfer_id="t"), rager("b")], "a"),
    ("none where none may be admitted", [rager("a", active=False), rager("b", used=1)], None),
    ("a count beyond the quantity leaves nothing", [rager("a", 2, used=5)], None),
]


@pytest.mark.parametrize(("ragers", "winner"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_next_one_is_the_rules_choice(ragers: list[Rager], winner: str | None) -> None:
    chosen = choose_next(ragers)
    assert (chosen.id if chosen else None) == winner


moments = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 1, 4)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
ragers = st.builds(
    Rager,
    st.uuids().map(lambda n: f"events/e/ragers/{n}"),
    ticket_quantity=st.integers(0, 5),
    used_count=st.integers(0, 6),
    active=st.booleans(),
    purchase_date=moments,
    refunded_at=moments,
    transferred_to=st.none() | st.just("ben"),
)
owned = st.lists(ragers, max_size=8, unique_by=lambda r: r.id)


@given(owned, st.randoms(use_true_random=False))
def test_any_order_of_documents_gives_the_same_winner(ragers: list[Rager], order: random.Random) -> None:
    shuffled = list(ragers)
    order.shuffle(shuffled)
    assert choose_next(shuffled) == choose_next(ragers)
    assert in_order(shuffled) == in_order(ragers)


@given(owned, st.integers(1, 30))
def test_a_party_takes_all_or_nothing_and_never_more_than_there_is(ragers: list[Rager], count: int) -> None:
    ordered = in_order(ragers)
    taken = party(ordered, count)
    assert (taken is None) == (sum(r.remaining for r in ragers) < count)
    if taken is not None:
        assert sum(taken.values()) == count
        remaining = {r.id: r.remaining for r in ordered}
        assert all(0 < n <= remaining[rager_id] for rager_id, n in taken.items())
        assert list(taken) == [r.id for r in ordered][: len(taken)]


@given(owned)
def test_there_is_a_reason_exactly_for_those_that_may_not_be_admitted(ragers: list[Rager]) -> None:
    for one in ragers:
        assert (standing(one) == ADMISSIBLE) == (one.remaining > 0)
    if ragers and choose_next(ragers) is None:
        assert explaining(ragers) is not None


REASONS = [
    (rager(refunded_at=DAY, transferred_to="x", used=1, active=False), "refunded"),
    (rager(transferred_to="x", used=1, active=False), "transferred"),
    (rager(transferred_at=DAY), "transferred"),
    (rager(used=1, active=False), "already_used"),
    (rager(used=1), "already_used"),
    (rager(active=False), "inactive"),
    (rager(pending_transfer_id="t"), ADMISSIBLE),
]


@pytest.mark.parametrize(("one", "reason"), REASONS)
def test_the_first_rule_that_forbids_gives_the_reason(one: Rager, reason: str) -> None:
    assert standing(one) == reason


def test_of_several_the_one_that_can_be_put_right_is_explained() -> None:
    refunded, used, off = rager("a", refunded_at=DAY), rager("b", used=1), rager("c", active=False)
    assert explaining([refunded, used, off]) == off
    assert explaining([used, refunded]) == used


def test_of_several_used_ones_the_last_scan_is_explained() -> None:
    early, late = rager("b", used=1, last_scan_at=DAY), rager("a", used=1, last_scan_at=DAY + timedelta(hours=1))
    assert explaining([early, late]) == late
