"""Who waits for whom, and who is let go."""

import asyncio

import pytest

from deploy.local.firestore.errors import Aborted
from deploy.local.firestore.locks import EXCLUSIVE, RESERVED, SHARED, WRITES_BELOW, Locks, Owner


@pytest.fixture
def locks() -> Locks:
    return Locks(patience=5.0)


async def settle() -> None:
    """Let everyone who can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_readers_share_and_a_writer_waits_for_them(locks: Locks) -> None:
    first, second, writer = Owner(1), Owner(2), Owner(3)
    await locks.acquire(first, [("a", SHARED)])
    await locks.acquire(second, [("a", SHARED)])
    writing = asyncio.create_task(locks.acquire(writer, [("a", EXCLUSIVE)]))
    await settle()
    locks.release(first)
    await settle()
    assert not writing.done()
    locks.release(second)
    await writing


async def test_a_reader_does_not_overtake_a_waiting_writer(locks: Locks) -> None:
    first, writer, late = Owner(1), Owner(2), Owner(3)
    await locks.acquire(first, [("a", SHARED)])
    writing = asyncio.create_task(locks.acquire(writer, [("a", EXCLUSIVE)]))
    await settle()
    reading = asyncio.create_task(locks.acquire(late, [("a", SHARED)]))
    await settle()
    assert not reading.done()
    locks.release(first)
    await writing
    assert not reading.done()
    locks.release(writer)
    await reading


async def test_of_two_who_want_to_write_what_both_read_the_younger_is_aborted(locks: Locks) -> None:
    old, young = Owner(1), Owner(2)
    await locks.acquire(old, [("a", SHARED)])
    await locks.acquire(young, [("a", SHARED)])
    for_young = asyncio.create_task(locks.acquire(young, [("a", EXCLUSIVE)]))
    await settle()
    await locks.acquire(old, [("a", EXCLUSIVE)])
    with pytest.raises(Aborted):
        await for_young
    assert young.aborted
    assert not young.held


async def test_who_has_read_a_document_writes_it_before_those_who_have_not(locks: Locks) -> None:
    reader, other, late = Owner(1), Owner(2), Owner(3, transaction=False)
    await locks.acquire(reader, [("a", SHARED)])
    await locks.acquire(other, [("a", SHARED)])
    first = asyncio.create_task(locks.acquire(late, [("a", EXCLUSIVE)]))
    await settle()
    second = asyncio.create_task(locks.acquire(reader, [("a", EXCLUSIVE)]))
    await settle()
    locks.release(other)
    await second
    assert not first.done()
    locks.release(reader)
    await first


async def test_after_such_a_conflict_readers_queue_for_a_while(locks: Locks) -> None:
    await test_of_two_who_want_to_write_what_both_read_the_younger_is_aborted(locks)
    assert locks.mode_for_read("a") == SHARED | RESERVED
    assert locks.mode_for_read("b") == SHARED


async def test_a_circle_over_several_documents_is_broken(locks: Locks) -> None:
    owners = [Owner(age) for age in range(4)]
    for number, owner in enumerate(owners):
        await locks.acquire(owner, [(f"d{number}", EXCLUSIVE)])
    waits = [
        asyncio.create_task(locks.acquire(owner, [(f"d{(number + 1) % 4}", EXCLUSIVE)]))
        for number, owner in enumerate(owners)
    ]
    await settle()
    assert [owner.aborted for owner in owners] == [False, False, False, True]
    for owner in (owners[2], owners[1], owners[0]):
        await waits[owner.age]
        locks.release(owner)
    with pytest.raises(Aborted):
        await waits[3]


async def test_a_commit_without_transaction_is_never_the_victim(locks: Locks) -> None:
    transaction, plain = Owner(1), Owner(2, transaction=False)
    await locks.acquire(transaction, [("b", SHARED)])
    await locks.acquire(plain, [("a", EXCLUSIVE)])
    waiting = asyncio.create_task(locks.acquire(plain, [("b", EXCLUSIVE)]))
    await settle()
    with pytest.raises(Aborted):
        await locks.acquire(transaction, [("a", SHARED)])
    await waiting


async def test_a_query_keeps_writers_out_of_its_collection_but_not_writers_from_each_other(locks: Locks) -> None:
    one, other, query = Owner(1), Owner(2), Owner(3)
    await locks.acquire(one, [("c", WRITES_BELOW)])
    await locks.acquire(other, [("c", WRITES_BELOW)])
    querying = asyncio.create_task(locks.acquire(query, [("c", SHARED)]))
    await settle()
    locks.release(one)
    await settle()
    assert not querying.done()
    locks.release(other)
    await querying


async def test_whoever_stops_waiting_leaves_no_trace(locks: Locks) -> None:
    holder, gone, next_one = Owner(1), Owner(2), Owner(3)
    await locks.acquire(holder, [("a", SHARED)])
    waiting = asyncio.create_task(locks.acquire(gone, [("a", EXCLUSIVE)]))
    await settle()
    waiting.cancel()
    await settle()
    await locks.acquire(next_one, [("a", SHARED)])
    locks.release(holder)
    locks.release(next_one)
    locks.release(gone)
    assert not locks._locks


async def test_patience_ends_with_aborted() -> None:
    locks = Locks(patience=0.01)
    await locks.acquire(Owner(1), [("a", EXCLUSIVE)])
    with pytest.raises(Aborted, match="waited"):
        await locks.acquire(Owner(2), [("a", EXCLUSIVE)])
