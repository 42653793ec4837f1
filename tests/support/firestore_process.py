"""The embedded Firestore as a process of its own, to be stopped and killed."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from google.cloud.firestore_v1 import AsyncClient

PROJECT = "demo-test"


async def start(*arguments: str) -> tuple[asyncio.subprocess.Process, str]:
    """The process and its host, once it has said that it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deploy.local.firestore", *arguments, "--port", "0", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    line = (await asyncio.wait_for(process.stdout.readline(), timeout=30)).decode()
    assert line.startswith("ready "), line
    return process, line.rpartition("=")[2].strip()


@asynccontextmanager
async def running(data_dir: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Stopped cleanly at the end, unless it was killed meanwhile."""
    process, host = await start("--data-dir", str(data_dir))
    try:
        yield process, host
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), timeout=10)


@asynccontextmanager
async def connected(host: str) -> AsyncIterator[AsyncClient]:
    os.environ["FIRESTORE_EMULATOR_HOST"] = host
    client = AsyncClient(project=PROJECT)
    try:
        yield client
    finally:
        await client._firestore_api.transport.close()
        del os.environ["FIRESTORE_EMULATOR_HOST"]
