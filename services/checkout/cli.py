"""``python -m services.checkout create-ticket``: what ``/manual-create-ticket`` does, for an operator's shell.

Its mail is sent by the running service, which finds the job at its next look around.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from services.checkout.idempotency import key_of
from services.checkout.manual_desk import ManualDesk
from services.checkout.schemas.manual import ManualCreateTicket, ManualTicketCreated
from services.checkout.settings import CheckoutSettings
from shared.config import google_credentials, load
from shared.errors import Refusal
from shared.firestore.client import Database
from shared.firestore.committer import Committer
from shared.firestore.metrics import CommitterMetrics
from shared.http import refusal_of


def main(arguments: Sequence[str]) -> int:
    """Prints the reply as JSON; a refusal goes to stderr and makes the exit code 1."""
    given = _parser().parse_args(arguments)
    settings = load(CheckoutSettings)
    try:
        asked = _asked(given, settings)
        with google_credentials():
            created = asyncio.run(_create(settings.google_cloud_project, asked, key_of(given.idempotency_key or "")))
    except Refusal as refusal:
        sys.stderr.write(f"{refusal.code}: {refusal.message}\n")
        return 1
    sys.stdout.write(created.model_dump_json(by_alias=True) + "\n")
    return 0


def _asked(given: argparse.Namespace, settings: CheckoutSettings) -> ManualCreateTicket:
    """By the rules of the route; raises its BadRequest."""
    fields = {name: value for name, value in vars(given).items() if name in ManualCreateTicket.model_fields}
    try:
        return ManualCreateTicket.model_validate(fields, strict=True, context=settings)
    except ValidationError as error:
        raise refusal_of(error) from None


async def _create(project: str, asked: ManualCreateTicket, idempotency_key: str | None) -> ManualTicketCreated:
    database = Database.connect(project)
    committer = Committer(database, CommitterMetrics(CollectorRegistry()))
    try:
        desk, now = ManualDesk(database, committer), datetime.now(UTC)
        ticket = await desk.create(asked.order(), event_name=asked.event_name, idempotency_key=idempotency_key, now=now)
        return ManualTicketCreated.of(ticket)
    finally:
        await committer.close()
        await database.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m services.checkout")
    commands = parser.add_subparsers(required=True, metavar="command")
    create = commands.add_parser(
        "create-ticket", help="make tickets for somebody, without a payment", argument_default=argparse.SUPPRESS
    )
    create.add_argument("--uid", required=True, help="whose they are")
    event = create.add_mutually_exclusive_group(required=True)
    event.add_argument("--event-id")
    event.add_argument("--event-name", help="where only one event has it")
    create.add_argument("--qty", type=int, help="how many (1)")
    create.add_argument("--price-cents", type=int, help="of one ticket, for the records (0)")
    create.add_argument("--currency", help="usd")
    create.add_argument("--email", help="where the tickets are mailed to; by default the customer's")
    create.add_argument("--name", help="by default the customer's")
    create.add_argument("--title", help="what the order's line says")
    create.add_argument("--order-number", help="an order of theirs to which the tickets belong; by default a new one")
    create.add_argument("--payment-intent-id", help="the payment that they are for")
    create.add_argument("--create-fulfillment", action="store_true", help="write a ledger entry as well")
    create.add_argument("--idempotency-key", default=None, help="the same key again makes no second tickets")
    return parser
