"""The embedded Firestore, for any client of it: ``python -m deploy.local.firestore --data-dir d --port 8085``.

``export`` writes everything in the data directory to standard output as JSON lines, ``import`` takes it from standard
input; both want the server stopped.
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import Final

from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.firestore.storage import DataDirectoryUnusable, Storage
from deploy.local.firestore.transfer import UnreadableLine, export_lines, import_lines

_SWITCH_SECONDS: Final = 0.0005
"""A long read in a thread gives way to the event loop so soon; Python's default of 5 ms would show in every reply."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local.firestore",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", nargs="?", choices=["serve", "export", "import"], default="serve")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data-dir", type=Path, help="where everything is kept; made if it is missing")
    where.add_argument("--ephemeral", action="store_true", help="forget everything at the end")
    parser.add_argument("--port", type=int, default=8085, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--interface", default="127.0.0.1", help="(default: %(default)s)")
    parser.add_argument(
        "--indexes", type=Path, metavar="FILE", help="firestore.indexes.json: refuse queries it has no index for"
    )
    arguments = parser.parse_args()
    if arguments.ephemeral and arguments.command != "serve":
        parser.error(f"{arguments.command} needs a --data-dir")
    return arguments


async def _serve(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = EmbeddedFirestore(
        arguments.data_dir,
        port=arguments.port,
        interface=arguments.interface,
        indexes=arguments.indexes,
    )
    async with server:
        print(f"ready FIRESTORE_EMULATOR_HOST={server.host}", flush=True)
        await stopped.wait()


def _export(data_dir: Path) -> None:
    storage = Storage(data_dir)
    for line in export_lines(storage):
        sys.stdout.buffer.write(line)
    storage.close()


def _import(data_dir: Path) -> None:
    storage = Storage(data_dir)
    print(f"{import_lines(storage, sys.stdin.buffer)} documents imported", file=sys.stderr)
    storage.close()


def main() -> None:
    arguments = _arguments()
    sys.setswitchinterval(_SWITCH_SECONDS)
    try:
        if arguments.command == "serve":
            asyncio.run(_serve(arguments))
        elif arguments.command == "export":
            _export(arguments.data_dir)
        else:
            _import(arguments.data_dir)
    except (DataDirectoryUnusable, UnreadableLine, OSError, ValueError) as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
