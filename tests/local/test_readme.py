"""The commands of the README, pasted whole and twice into a shell, against the real system."""

import asyncio
import re
import shutil

import pytest

from deploy.local.addresses import OFFSETS
from deploy.local.stack import Stack
from deploy.local.supervisor import ROOT

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
TRIED, RUNBOOK = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[:2]
DEFAULT_BASE = 8080


def moved(commands: str, stack: Stack) -> str:
    """The commands for a system on other ports than ``make up``'s."""
    for part, offset in OFFSETS.items():
        commands = commands.replace(f"http://127.0.0.1:{DEFAULT_BASE + offset}", stack.urls[part])
    return commands


async def pasted(commands: str) -> str:
    """What a shell prints for them, errors included."""
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", commands), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await shell.communicate()
    return printed.decode()


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl")
async def test_every_command_of_the_readme_works_as_written_and_once_more() -> None:
    async with Stack() as stack:
        commands = moved(TRIED + RUNBOOK, stack)
        first, second = await pasted(commands), await pasted(commands)
    for printed, receipts, sold in ((first, 1, 2), (second, 2, 4)):
        assert '"error"' not in printed, printed
        assert printed.count('"ok":true') == len(re.findall(r"^curl .*\$base", TRIED + RUNBOOK, re.MULTILINE)), printed
        assert len(re.findall("^Your tickets: order ORD-", printed, re.MULTILINE)) in {1, receipts}, printed
        assert f'"sold":{sold}' in printed, printed
        assert '"drift":0' in printed, printed
    assert '"replayed":true' not in first
    assert '"replayed":true' in second
