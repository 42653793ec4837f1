"""The embedded deployment as an object: what ``python -m deploy.local up`` starts, for tests and the demo.

async with Stack(data_dir=tmp_path) as stack:
    stack.urls["gateway"]
"""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.local.supervisor import ROOT

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 60.0


class StackFailed(Exception):  # noqa: N818  a sentence for whoever wanted a running system
    """The system did not come up, or did not stop cleanly; its stderr says why."""


class Stack:
    """A process group of its own. ``data_dir`` None keeps nothing; ``environment`` goes on top of this process's."""

    def __init__(
        self, *, base_port: int = 0, data_dir: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> None:
        keeping = ["--data-dir", str(data_dir.resolve())] if data_dir else ["--ephemeral"]
        self._command = [sys.executable, "-m", "deploy.local", "up", "--base-port", str(base_port), *keeping]
        self._keeps_nothing = data_dir is None
        self._environment = {**os.environ, **(environment or {})}
        self._scratch: Path | None = None
        self._process: asyncio.subprocess.Process | None = None
        self.urls: Mapping[str, str] = {}

    @property
    def process(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise StackFailed("The system is not running: start() it first, or use `async with`.")
        return self._process

    async def start(self) -> None:
        """Returns when everything is ready, ``urls`` holding the ready line."""
        if self._keeps_nothing:
            self._scratch = Path(tempfile.mkdtemp(prefix="ticketing-"))
            self._environment["TMPDIR"] = str(self._scratch)
        self._process = await asyncio.create_subprocess_exec(
            *self._command, stdout=asyncio.subprocess.PIPE, env=self._environment, cwd=ROOT, start_new_session=True
        )
        try:
            self.urls = await asyncio.wait_for(_ready_line(self._process), START_SECONDS)
        except BaseException:
            await self.kill()
            raise

    async def stop(self) -> None:
        """Stops it as SIGTERM does; raises ``StackFailed`` if it does not end well."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        await self.ended()

    async def ended(self) -> None:
        """Waits until it ends by itself; raises ``StackFailed`` if it does not end well."""
        code = await asyncio.wait_for(self.process.wait(), STOP_SECONDS)
        if code:
            raise StackFailed(f"The system ended with exit code {code}.")
        self._forget()

    async def kill(self) -> None:
        """``kill -9`` of every process at once; returns when all are gone, so that the data can be opened again."""
        running = self.process.returncode is None
        if running:
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        await _closed(self.urls)
        self._forget(logs=running)  # what ended by itself has said which log to read

    def _forget(self, *, logs: bool = True) -> None:
        if self._scratch and (logs or not any(self._scratch.iterdir())):
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        if self.process.returncode is not None:
            await self.kill()
            return
        try:
            await self.stop()
        except BaseException:  # a second Ctrl-C is one: nothing may stay behind
            await self.kill()
            if kind is None:
                raise


async def _ready_line(process: asyncio.subprocess.Process) -> Mapping[str, str]:
    if process.stdout is None:
        raise StackFailed("The system's output is not read.")
    line = (await process.stdout.readline()).decode()
    word, _, addresses = line.partition(" ")
    if word != "ready":
        await process.wait()
        raise StackFailed("The system did not start; what it wrote to stderr says why.")
    urls: Mapping[str, str] = json.loads(addresses)
    return urls


async def _closed(urls: Mapping[str, str]) -> None:
    """Waits until nobody listens any more: a process gives up its sockets and its file locks together."""
    for name, url in urls.items():
        while name != "project" and await listening(url):  # noqa: ASYNC110  other processes set no event
            await asyncio.sleep(0.01)


async def listening(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except OSError:
        return False
    writer.close()
    return True
