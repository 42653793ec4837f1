"""Where one run of the system keeps its data and its logs, and that no two runs share it."""

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.local.addresses import Addresses


class DataDirectoryUnusable(Exception):  # noqa: N818  a sentence for the person who starts the system
    """Another system runs on it, or nothing can be written there."""


@dataclass(frozen=True, slots=True)
class DataDirectory:
    path: Path
    lock: IO[str] | None = None

    def sign(self, addresses: Addresses) -> None:
        """Says in the lock who holds it, for the one who is refused."""
        if self.lock:
            self.lock.truncate(0)
            json.dump({"pid": os.getpid(), "gateway": addresses.url("gateway")}, self.lock)
            self.lock.flush()


@contextlib.contextmanager
def kept(path: Path) -> Iterator[DataDirectory]:
    """A directory that stays; raises ``DataDirectoryUnusable``."""
    path = path.absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        reason = "it is a file" if path.is_file() else error.strerror
        raise DataDirectoryUnusable(
            f"{path} cannot hold the data: {reason}. Name a directory that can be written with --data-dir,"
            " or keep nothing with --ephemeral."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataDirectoryUnusable(
                f"Another system runs on {path}{_signature(lock)}: use that one, stop it, or choose another"
                " --data-dir, or --ephemeral."
            ) from None
        yield DataDirectory(path, lock)


@contextlib.contextmanager
def forgotten() -> Iterator[DataDirectory]:
    """A directory that goes with the run, unless the run fails with logs in it, which its last words point to."""
    path = Path(tempfile.mkdtemp(prefix="ticketing-"))
    try:
        yield DataDirectory(path)
    except BaseException:
        with contextlib.suppress(OSError):  # it holds the logs
            path.rmdir()
        raise
    shutil.rmtree(path, ignore_errors=True)


def _signature(lock: IO[str]) -> str:
    """Empty in the moment before the holder has signed."""
    lock.seek(0)
    written = lock.read()
    if not written:
        return ""
    holder = json.loads(written)
    return f" (process {holder['pid']}, {holder['gateway']})"
