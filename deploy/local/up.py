"""``up``: the whole system in the foreground, until it is told to stop or a part of it fails."""

import asyncio
import contextlib
import fcntl
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from deploy.local.addresses import Addresses, PortInUse
from deploy.local.parts import Part, layers, seeding
from deploy.local.supervisor import PartFailed, Supervisor, ended, say, together

GRACE_SECONDS = 0.5
"""A signal to the whole process group reaches the parts too: one that ends may be a moment ahead of our own."""


class DataDirectoryInUse(Exception):  # noqa: N818  a sentence for the person who starts the system
    """Another system runs on the same data."""


def up(base_port: int, data_dir: Path | None) -> int:
    """Runs the system and answers the exit code. ``data_dir`` None keeps nothing."""
    try:
        with _directory(data_dir) as directory:
            addresses = Addresses.from_base(base_port)
            return asyncio.run(_run(addresses, directory, keep=data_dir is not None))
    except (PortInUse, DataDirectoryInUse, PartFailed) as reason:
        say(str(reason))
        return 1


@contextlib.contextmanager
def _directory(data_dir: Path | None) -> Iterator[Path]:
    if data_dir is None:
        temporary = Path(tempfile.mkdtemp(prefix="ticketing-"))
        yield temporary
        shutil.rmtree(temporary, ignore_errors=True)  # not after a failure, which points to the logs in it
        return
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryInUse(
                f"Another system runs on {data_dir}: stop it, or choose another --data-dir, or --ephemeral."
            ) from None
        yield data_dir


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
