"""The simulator's page for whoever opens its address in a browser: how to pay, with which cards, and its controls."""

import inspect
from pathlib import Path
from typing import Final

import jinja2
from aiohttp import web

from deploy.local.stripe import controls
from deploy.local.stripe.api import ROUTES
from deploy.local.stripe.cards import CARDS, Card

PAGE: Final = Path(__file__).parent / "page"
POLICY: Final = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:"}
OUTCOMES: Final = {
    "succeeds": "pays",
    "needs_action": "waits for the bank's confirmation (3-D Secure): complete it below",
    "processes": "is processing for days: complete it below",
}


def render(origin: str) -> str:
    loader = jinja2.FileSystemLoader(PAGE)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("page.html")
    described = inspect.getdoc(controls) or ""
    return page.render(origin=origin, cards=CARDS, routes=ROUTES, controls=described, describe=describe)


def describe(card: Card) -> str:
    """What a payment with it comes to."""
    if card.outcome == "declines":
        return f"is declined: {card.decline_code or card.code}"
    if card.dispute:
        return f"pays, and is disputed as {card.dispute}"
    if card.refund == "pending":
        return "pays; a refund stays pending until it is settled below"
    return OUTCOMES[card.outcome]


async def show(request: web.Request) -> web.Response:
    return web.Response(text=render(str(request.url.origin())), content_type="text/html", headers=POLICY)
