"""The checkout's capabilities, put together from what the application holds."""

from datetime import timedelta

from aiohttp import web

from services.checkout.metrics import CHECKOUT_METRICS
from services.checkout.payments import stripe_of
from services.checkout.pending_orders import Till
from services.checkout.refunds import Refunds
from services.checkout.set_aside import Shelf
from services.checkout.settings import CHECKOUT_SETTINGS
from services.checkout.settlement import Settlement
from services.checkout.sweeper import Sweeper
from services.checkout.webhook import Reactions
from shared.wiring import COMMITTER, DB


def till_of(app: web.Application) -> Till:
    """Raises StripeDisabled when no key is configured, as all of these do."""
    settings = app[CHECKOUT_SETTINGS]
    hold_for = timedelta(minutes=settings.hold_minutes)
    shelf = Shelf(app[DB], app[COMMITTER], settings.most_held)
    return Till(app[DB], app[COMMITTER], stripe_of(app), settings.sales_tax_percent, shelf, hold_for)


def settlement_of(app: web.Application) -> Settlement:
    return Settlement(till_of(app))


def refunds_of(app: web.Application) -> Refunds:
    return Refunds(app[DB], app[COMMITTER], stripe_of(app), settlement_of(app))


def reactions_of(app: web.Application) -> Reactions:
    return Reactions(settlement_of(app), refunds_of(app))


def sweeper_of(app: web.Application) -> Sweeper:
    settings = app[CHECKOUT_SETTINGS]
    return Sweeper(
        app[DB],
        app[COMMITTER],
        settlement_of(app),
        refunds_of(app),
        app[CHECKOUT_METRICS],
        timedelta(seconds=settings.sweep_seconds),
        timedelta(seconds=settings.sweep_after_seconds),
    )
