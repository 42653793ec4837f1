"""python -m deploy.local up [--base-port 8080] [--data-dir .local | --ephemeral]"""

import argparse
import sys
from pathlib import Path

from deploy.local.addresses import HIGHEST_BASE
from deploy.local.up import up


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description="The whole system on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start everything and stay until Ctrl-C")
    start.add_argument(
        "--base-port", type=base_port, default=8080, help="the gateway's; 0 picks free ones (%(default)s)"
    )
    keeping = start.add_mutually_exclusive_group()
    keeping.add_argument("--data-dir", type=Path, default=Path(".local"), help="where data stays (%(default)s)")
    keeping.add_argument("--ephemeral", action="store_true", help="keep nothing")
    return parser.parse_args()


def base_port(text: str) -> int:
    """Checked before anything else happens, so that a slip of the finger is told first."""
    if text.isdecimal() and int(text) <= HIGHEST_BASE:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text} is not a port from 1 to {HIGHEST_BASE}, or 0 for any free ones")


if __name__ == "__main__":
    given = arguments()
    sys.exit(up(given.base_port, None if given.ephemeral else given.data_dir))
