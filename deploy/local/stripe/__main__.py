"""python -m deploy.local.stripe --port 8086 [--data-dir DIR | --ephemeral] [--webhook URL=SECRET]..."""

import argparse
import asyncio
from pathlib import Path

from deploy.local.standalone import serve_until_stopped
from deploy.local.stripe import StripeSimulator


def webhook(text: str) -> tuple[str, str]:
    """URL=SECRET; the URL may hold a ``=`` of its own, the secret (whsec_...) cannot."""
    url, found, secret = text.rpartition("=")
    if not found or not url.startswith(("http://", "https://")) or not secret:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not URL=SECRET, like http://127.0.0.1:8081/stripe/webhook=whsec_x"
        )
    return url, secret


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local.stripe", description=StripeSimulator.__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8086, help="0 picks a free one")
    keeping = parser.add_mutually_exclusive_group()
    keeping.add_argument("--data-dir", type=Path, default=Path(".local/stripe"))
    keeping.add_argument("--ephemeral", action="store_true", help="keep everything in memory")
    parser.add_argument("--webhook", type=webhook, action="append", default=[], metavar="URL=SECRET")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    simulator = StripeSimulator(
        host=args.host,
        port=args.port,
        data_dir=None if args.ephemeral else args.data_dir,
        webhook_endpoints=args.webhook,
    )
    asyncio.run(serve_until_stopped(simulator))


if __name__ == "__main__":
    main()
