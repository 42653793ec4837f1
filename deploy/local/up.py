"""``up``: the whole system in the foreground, until it is told to stop or a part of it fails."""

import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from deploy.local.addresses import Addresses, PortInUse
from deploy.local.data_directory import DataDirectoryUnusable, forgotten, kept
from deploy.local.parts import Part, layers, seeding
from deploy.local.supervisor import PartFailed, Supervisor, ended, say, together

GRACE_SECONDS = 0.5
"""A signal to the whole process group reaches the parts too: one that ends may be a moment ahead of our own."""


def up(base_port: int, data_dir: Path | None) -> int:
    """Runs the system and answers the exit code. ``data_dir`` None keeps nothing."""
    try:
        with kept(data_dir) if data_dir else forgotten() as directory:
            addresses = Addresses.from_base(base_port)
            directory.sign(addresses)
            return asyncio.run(_run(addresses, directory.path, keep=data_dir is not None))
    except (PortInUse, DataDirectoryUnusable, PartFailed) as reason:
        say(str(reason))
        return 1


async def _run(addresses: Addresses, directory: Path, *, keep: bool) -> int:
    supervisor = Supervisor(directory / "logs")
    order = layers(addresses, directory if keep else None)
    told = asyncio.create_task(_told_to_stop(supervisor).wait())
    living = asyncio.create_task(_live(supervisor, order, addresses))
    try:
        await asyncio.wait({living, told}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            await living  # raises why
        say("stopping")
        return 0
    finally:
        living.cancel()
        told.cancel()
        await supervisor.stop(order)


async def _live(supervisor: Supervisor, order: Sequence[Sequence[Part]], addresses: Addresses) -> NoReturn:
    """Starts everything, says so, and raises ``PartFailed`` when a part ends by itself."""
    say(f"starting; logs are in {supervisor.logs}")
    lowest, *others = order
    await supervisor.start(lowest)
    rest = [part for layer in others for part in layer]
    await together(supervisor.start(rest), supervisor.complete(seeding(addresses)))
    print("ready", json.dumps(addresses.ready_line()), flush=True)
    if sys.stdout.isatty():  # a program has what it needs; this is for a person
        say(f"Open {addresses.url('gateway')} in a browser; Ctrl-C stops the system.")
    child = await supervisor.first_to_end()
    await asyncio.sleep(GRACE_SECONDS)
    raise ended(child)


def _told_to_stop(supervisor: Supervisor) -> asyncio.Event:
    """Set by SIGINT and SIGTERM; the second one stops nothing cleanly any more."""
    stop = asyncio.Event()

    def told() -> None:
        if stop.is_set():
            supervisor.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told)
    return stop
