"""Processes that start in order, live together and stop in reverse order."""

import asyncio
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from deploy.local.addresses import HOST
from deploy.local.parts import Part

ROOT: Final = Path(__file__).parents[2]
READY_SECONDS = 90.0
POLL_SECONDS = 0.05
STOP_SECONDS = 15.0
"""Longer than the services' own SHUTDOWN_TIMEOUT_SECONDS."""

LAST_LINES = 25


class PartFailed(Exception):  # noqa: N818  a sentence for the person who started the system
    """A part ended by itself or never became ready. Its text says which, why and where to look."""


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")  # at once, so that no other process's line comes in between
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Child:
    part: Part
    process: asyncio.subprocess.Process
    log: Path

    @property
    def running(self) -> bool:
        return self.process.returncode is None

    def last_words(self) -> str:
        """The end of its log, each line with its name in front."""
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            return "".join(f"{self.part.name} | {line.rstrip()}\n" for line in deque(lines, maxlen=LAST_LINES))


class Supervisor:
    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.children: list[Child] = []
        logs.mkdir(parents=True, exist_ok=True)

    async def start(self, parts: Sequence[Part]) -> None:
        """Starts the parts together and waits until all of them are ready; raises ``PartFailed``."""
        say(f"starting {', '.join(part.name for part in parts)} ...")
        children = [await self._spawn(part) for part in parts]
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
            await together(*(_until_ready(child, session) for child in children))

    async def _spawn(self, part: Part) -> Child:
        log = self.logs / f"{part.name}.log"
        if log.exists():
            log.replace(log.with_suffix(".previous.log"))
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "deploy.local.child", str(os.getpid()), part.module, *part.arguments),
                stdin=asyncio.subprocess.PIPE,  # never written to: its end tells the child that we are gone
                stdout=output,
                stderr=output,
                env={**part.environment, "PYTHONUNBUFFERED": "1"},
                cwd=ROOT,
            )
        child = Child(part, process, log)
        self.children.append(child)
        return child

    async def complete(self, part: Part) -> None:
        """Runs a part that ends by itself; raises ``PartFailed`` unless it ends well."""
        child = await self._spawn(part)
        self.children.remove(child)
        try:
            if await child.process.wait():
                raise ended(child)
        finally:
            _signal([child], signal.SIGKILL)

    async def first_to_end(self) -> Child:
        """Waits until any child ends by itself."""
        waiting = {asyncio.create_task(child.process.wait()): child for child in self.children}
        try:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
        return waiting[done.pop()]

    async def stop(self, layers: Sequence[Sequence[Part]]) -> None:
        """Stops the highest layer first, and what does not stop in time for good."""
        for layer in reversed(layers):
            parts = {part.name for part in layer}
            await together(*(_stop(child) for child in self.children if child.part.name in parts))

    def kill(self) -> None:
        _signal((child for child in self.children if child.running), signal.SIGKILL)


def failure(child: Child, what: str) -> PartFailed:
    return PartFailed(f"{child.last_words()}{child.part.name} {what}; its log is {child.log}")


def ended(child: Child) -> PartFailed:
    code = child.process.returncode
    return failure(child, f"was ended by signal {-code}" if code and code < 0 else f"ended with exit code {code}")


async def together(*work: Coroutine[None, None, None]) -> None:
    """Runs all of it at the same time; the first failure cancels the others and is the one that is raised."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None


async def _until_ready(child: Child, session: aiohttp.ClientSession) -> None:
    began = time.monotonic()
    while not await _is_ready(child.part, session):
        if not child.running:
            raise ended(child)
        if time.monotonic() - began > READY_SECONDS:
            raise failure(child, f"is not ready after {READY_SECONDS:.0f} s")
        await asyncio.sleep(POLL_SECONDS)
    say(f"{child.part.name}: ready after {time.monotonic() - began:.1f} s")


async def _is_ready(part: Part, session: aiohttp.ClientSession) -> bool:
    try:
        if part.ready_url is None:
            _, writer = await asyncio.open_connection(HOST, part.port)
            writer.close()
            return True
        async with session.get(part.ready_url) as reply:
            return reply.ok
    except (aiohttp.ClientError, OSError, TimeoutError):
        return False


async def _stop(child: Child) -> None:
    _signal([child], signal.SIGTERM)
    try:
        await asyncio.wait_for(child.process.wait(), STOP_SECONDS)
    except TimeoutError:
        say(f"{child.part.name} did not stop within {STOP_SECONDS:.0f} s and was killed; its log is {child.log}")
        _signal([child], signal.SIGKILL)
        await child.process.wait()


def _signal(children: Iterable[Child], number: signal.Signals) -> None:
    for child in children:
        if child.running:
            child.process.send_signal(number)
