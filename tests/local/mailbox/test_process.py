import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import httpx
import pytest

MAIL = {"from": "b@example.com", "to": "a@example.com", "subject": "Hello", "text": "It works."}
KEY = {"Authorization": "Bearer re_x"}


async def started(data_dir: Path) -> tuple[Process, str]:
    command = ("-m", "deploy.local.mailbox", "--port", "0", "--data-dir", str(data_dir))
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


async def test_accepted_mails_survive_kill_9(tmp_path: Path) -> None:
    process, url = await started(tmp_path)
    async with httpx.AsyncClient(base_url=url, headers=KEY) as http:
        kept = [(await http.post("/emails", json=MAIL)).json()["id"] for _ in range(5)]
    process.kill()
    await process.wait()
    process, url = await started(tmp_path)
    async with httpx.AsyncClient(base_url=url) as http:
        listed = (await http.get("/emails")).json()["data"]
    assert [mail["id"] for mail in listed] == kept[::-1]
    process.terminate()
    await process.wait()
