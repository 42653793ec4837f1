"""The simulator as a process: its ready line, its clean end, and what survives when it is killed."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import pytest
import stripe

from tests.support.stripe_clients import stripe_client


async def started(data_dir: Path) -> tuple[Process, str]:
    command = ("-m", "deploy.local.stripe", "--port", "0", "--data-dir", str(data_dir))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=PIPE)
    assert process.stdout is not None
    word, _, announced = (await process.stdout.readline()).decode().partition(" ")
    assert word == "ready"
    url = json.loads(announced)["url"]
    assert isinstance(url, str)
    return process, url


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    process, _ = await started(tmp_path)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_what_was_replied_survives_kill_9(tmp_path: Path) -> None:
    process, url = await started(tmp_path)
    kept: list[str] = []

    async def pay_until_killed() -> None:
        async with stripe_client(url) as client:
            while True:
                intent = await client.v1.payment_intents.create_async(
                    {"amount": 500, "currency": "usd", "confirm": True, "payment_method": "pm_card_visa"}
                )
                kept.append(intent.id)
                if len(kept) == 30:
                    process.kill()

    with pytest.raises(stripe.APIConnectionError):
        await pay_until_killed()
    await process.wait()
    process, url = await started(tmp_path)
    async with stripe_client(url) as client:
        for intent_id in kept:
            assert (await client.v1.payment_intents.retrieve_async(intent_id)).status == "succeeded"
    process.terminate()
    await process.wait()
