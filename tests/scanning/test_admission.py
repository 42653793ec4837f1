"""The scan as a pure operation, on documents in memory."""

import random
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from services.scanning.admission import Admission, LookAgain, Outcome
from services.scanning.asking import Ask, Method, Ticket
from services.scanning.verdict import Answer
from shared.documents import Rager, Summary
from shared.operations import Batch, Document, Put, Value

NOW = datetime(2026, 3, 1, 20, tzinfo=UTC)


def ask(method: Method, key: str, scan_id: str, count: int = 1) -> Ask:
    return Ask(method, key, "e", scan_id, True, "north", count, NOW, NOW)


class Memory:
    """An event's documents, on which operations run one after the other."""

    def __init__(self, quantities: list[int]) -> None:
        ragers = [Rager(f"events/e/ragers/r{n}", user_id="anna", ticket_quantity=q) for n, q in enumerate(quantities)]
        self.ids = tuple(rager.id for rager in ragers)
        self.documents = {rager.path: Document(rager.path, rager.fields()) for rager in ragers}
        summary = Summary("eventUsers/e/users/anna", sum(quantities))
        self.documents[summary.path] = Document(summary.path, summary.fields())

    def run(self, operation: Admission) -> Outcome:
        reads = operation.reads()
        batch = Batch({path: self.documents.get(path, Document(path, None)) for path in reads})
        decision = operation.decide(batch.view(reads))
        batch.add(decision.writes)
        for write in decision.writes:
            if isinstance(write, Put):
                self.documents[write.path] = Document(write.path, write.fields)
        self.documents.update({path: batch.view(reads)[path] for path in reads})
        return decision.result

    def scan(self, way: Ask) -> Answer:
        named = None if way.method == "user" else way.key
        ticket = Ticket("e", named, "anna", self.ids if named is None else (named,), complete=named is None)
        outcome = self.run(Admission(way, ticket))
        if isinstance(outcome, LookAgain):
            outcome = self.run(Admission(way, Ticket("e", named, "anna", self.ids, complete=True)))
        assert isinstance(outcome, Answer)
        return outcome

    def used(self) -> dict[str, int]:
        found = (Rager.of(self.documents[f"events/e/ragers/{rager_id}"]) for rager_id in self.ids)
        return {rager.id: rager.used_count for rager in found if rager}


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_scanning_until_empty_consumes_every_ticket_exactly_once(quantities: list[int], choice: random.Random) -> None:
    memory, admitted, denied = Memory(quantities), 0, 0
    for n in range(sum(quantities) * 12):
        named = f"r{choice.randrange(len(quantities))}"
        way = ask("user", "anna", f"s{n}") if choice.random() < 0.5 else ask("rager", named, f"s{n}")
        answer = memory.scan(way)
        admitted += answer.verdict.count
        denied += not answer.verdict.admitted
        if way.method == "user" and not answer.verdict.admitted:
            break
    else:  # only named batches were asked for in the end: ask for what is left
        admitted += sum(memory.scan(ask("user", "anna", f"t{n}")).verdict.count for n in range(sum(quantities)))
    assert admitted == sum(quantities)
    assert list(memory.used().values()) == quantities
    summary = Summary.of(memory.documents["eventUsers/e/users/anna"])
    assert summary is not None
    assert (summary.total_tickets, summary.used_count) == (sum(quantities), sum(quantities))


@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.integers(1, 12))
def test_a_party_leaves_what_it_did_not_take(quantities: list[int], count: int) -> None:
    memory = Memory(quantities)
    verdict = memory.scan(ask("user", "anna", "s", count)).verdict
    assert verdict.admitted == (count <= sum(quantities))
    assert sum(memory.used().values()) == verdict.count
    assert verdict.remaining_total == sum(quantities) - verdict.count


def test_a_record_without_a_reply_is_answered_without_failing() -> None:
    memory = Memory([1])
    old: dict[str, Value] = {
        "ragerId": "r0",
        "method": "rager",
        "count": 1,
        "result": "admitted",
        "subject": ask("rager", "r0", "s").subject,
    }
    memory.documents["events/e/scans/s"] = Document("events/e/scans/s", old)
    answer = memory.scan(ask("rager", "r0", "s"))
    assert answer.replayed
    assert memory.used() == {"r0": 0}


def test_a_ticket_that_changed_hands_since_the_lookup_is_looked_at_again() -> None:
    memory = Memory([1])
    stale = Ticket("e", "r0", "ben", ("r0",), complete=True)
    outcome = memory.run(Admission(ask("rager", "r0", "s"), stale))
    assert outcome == LookAgain(stale, "anna", all_ragers=True)
    assert memory.used() == {"r0": 0}
