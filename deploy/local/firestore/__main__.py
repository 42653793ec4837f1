"""``python -m deploy.local.firestore --data-dir d --port 8085``: the embedded Firestore, for any client of it."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from deploy.local.firestore.server import EmbeddedFirestore
from deploy.local.firestore.storage import DataDirectoryUnusable


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.firestore", description=__doc__)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--data-dir", type=Path, help="where everything is kept; made if it is missing")
    where.add_argument("--ephemeral", action="store_true", help="forget everything at the end")
    parser.add_argument("--port", type=int, default=8085, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--interface", default="127.0.0.1", help="(default: %(default)s)")
    parser.add_argument(
        "--indexes", type=Path, metavar="FILE", help="firestore.indexes.json: refuse queries it has no index for"
    )
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with EmbeddedFirestore(arguments.data_dir, port=arguments.port, interface=arguments.interface) as server:
        print(f"ready FIRESTORE_EMULATOR_HOST={server.host}", flush=True)
        await stopped.wait()


def main() -> None:
    try:
        asyncio.run(_serve(_arguments()))
    except DataDirectoryUnusable as reason:
        sys.exit(str(reason))


if __name__ == "__main__":
    main()
