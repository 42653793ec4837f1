"""A real redis in a process of its own, on a free port, keeping nothing."""

import asyncio
import contextlib
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import redis.asyncio


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def redis_on(port: int) -> AsyncIterator[str]:
    """Its URI, once it answers; it ends with the block. Skips the test where redis-server is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt install redis-server)")
    process = await asyncio.create_subprocess_exec(
        program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", stdout=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            await _answers(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _answers(port: int) -> None:
    async with redis.asyncio.Redis(port=port) as client:
        while True:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                await client.ping()
                return
            await asyncio.sleep(0.02)
