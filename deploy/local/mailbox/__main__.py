"""python -m deploy.local.mailbox --port 8087 [--data-dir DIR | --ephemeral]"""

import argparse
import asyncio
from pathlib import Path

from deploy.local.mailbox import Mailbox
from deploy.local.standalone import serve_until_stopped


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.mailbox", description=Mailbox.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8087, help="0 picks a free one")
    keeping = parser.add_mutually_exclusive_group()
    keeping.add_argument("--data-dir", type=Path, default=Path(".local/mailbox"))
    keeping.add_argument("--ephemeral", action="store_true", help="keep everything in memory")
    return parser.parse_args()


async def run(args: argparse.Namespace) -> None:
    data_dir = None if args.ephemeral else args.data_dir
    await serve_until_stopped(Mailbox(host=args.host, port=args.port, data_dir=data_dir))


if __name__ == "__main__":
    asyncio.run(run(arguments()))
