"""The embedded Firestore as a process of its own, on a disk: ``python -m tests.bench.firestore [seconds]``.

Contended transactions must lose nothing and give nobody up; the figures depend on the machine, and the client in this
process takes most of its time.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from google.cloud.firestore_v1 import AsyncClient, AsyncTransaction, async_transactional

from deploy.local.firestore.fault_control import FaultControl
from tests.support.firestore_process import connected, running

CLIENTS = 64
DOCUMENTS = 8


async def increment(client: AsyncClient, reference: Any) -> None:
    @async_transactional  # one for each call: it keeps the state of its retries on itself
    async def run(transaction: AsyncTransaction) -> None:
        found = await reference.get(transaction=transaction)
        transaction.update(reference, {"n": found.get("n") + 1})

    await run(client.transaction())


async def contended(client: AsyncClient, control: FaultControl, seconds: float) -> None:
    references = [client.document(f"counters/{number}") for number in range(DOCUMENTS)]
    for reference in references:
        await reference.set({"n": 0})
    await control.calls(reset=True)
    end, latencies = time.monotonic() + seconds, list[float]()

    async def worker(number: int) -> None:
        while (started := time.monotonic()) < end:
            await increment(client, references[number % DOCUMENTS])
            latencies.append(time.monotonic() - started)

    await asyncio.gather(*map(worker, range(CLIENTS)))
    counted = sum([(await reference.get()).get("n") for reference in references])
    assert counted == len(latencies), f"{counted} counted of {len(latencies)} acknowledged"
    calls, middle = await control.calls(), sorted(latencies)[len(latencies) // 2]
    print(
        f"{CLIENTS} clients increment {DOCUMENTS} documents in transactions: {len(latencies) / seconds:.0f}/s, "
        f"median {middle * 1000:.0f} ms, {calls['Commit'] / len(latencies):.2f} commits for each, none lost"
    )


async def alone(client: AsyncClient, seconds: float) -> None:
    reference, end, count = client.document("counters/alone"), time.monotonic() + seconds, 0
    await reference.set({"n": 0})
    while time.monotonic() < end:
        await increment(client, reference)
        count += 1
    print(f"one client alone: {seconds / count * 1000:.1f} ms for a transaction of three round trips, fsync included")


async def independent(client: AsyncClient, seconds: float) -> None:
    end, count = time.monotonic() + seconds, 0
    fields = {f"field{number}": f"value {number}" for number in range(20)}

    async def worker(number: int) -> None:
        nonlocal count
        while time.monotonic() < end:
            count += 1
            await client.document(f"documents/{number}-{count}").set(fields)

    await asyncio.gather(*map(worker, range(CLIENTS)))
    print(f"{CLIENTS} clients write documents of 20 fields: {count / seconds:.0f} commits/s")


async def measure(seconds: float = 10.0) -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with running(Path(directory)) as (_, host), connected(host) as client, FaultControl(host) as control:
            await contended(client, control, seconds)
            await alone(client, seconds / 4)
            await independent(client, seconds / 4)


if __name__ == "__main__":
    asyncio.run(measure(*map(float, sys.argv[1:2])))
