"""The judge of histories itself: it must see through the classic anomalies."""

import pytest

from tests.support.histories import INITIAL, Committed, NotSerializable, serial_order


def done(
    name: str, reads: dict[str, str], writes: str = "", at: float = 0, span: tuple[float, float] = (0, 9)
) -> Committed:
    return Committed(name, *span, reads, frozenset(writes), at)


def names(*history: Committed) -> list[str]:
    return [each.name for each in serial_order(history)]


def test_overlapping_transactions_are_put_in_the_order_of_what_they_saw() -> None:
    assert names(done("r", {"x": "b"}), done("b", {"x": "a"}, "x", 2), done("a", {"x": INITIAL}, "x", 1)) == [
        "a",
        "b",
        "r",
    ]


def test_a_reader_may_come_before_a_writer_it_did_not_see() -> None:
    assert names(done("a", {}, "x", 1), done("r", {"x": INITIAL})) == ["r", "a"]


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(
            [done("a", {"x": INITIAL}, "x", 1), done("b", {"x": INITIAL}, "x", 2)],
            id="lost update",
        ),
        pytest.param(
            [done("a", {"x": INITIAL, "y": INITIAL}, "x", 1), done("b", {"x": INITIAL, "y": INITIAL}, "y", 2)],
            id="write skew",
        ),
        pytest.param(
            [done("a", {}, "xy", 1), done("r", {"x": "a", "y": INITIAL})],
            id="half of a commit",
        ),
        pytest.param(
            [
                done("a", {}, "x", 1),
                done("b", {}, "y", 2),
                done("r", {"x": "a", "y": INITIAL}),
                done("s", {"x": INITIAL, "y": "b"}),
            ],
            id="readers that disagree",
        ),
        pytest.param(
            [done("a", {}, "x", 1, span=(0, 1)), done("r", {"x": INITIAL}, span=(2, 3))],
            id="a stale read",
        ),
        pytest.param(
            [done("a", {"x": "b"}, "x", 1), done("b", {"x": "a"}, "x", 2)],
            id="a circle",
        ),
    ],
)
def test_an_anomaly_has_no_serial_order(history: list[Committed]) -> None:
    with pytest.raises(NotSerializable):
        serial_order(history)
