"""The wiring of the social service."""

from aiohttp import web

from services.social.handlers import routes
from shared.app import create_app as create
from shared.config import Settings


def create_app(settings: Settings) -> web.Application:
    return create(settings, routes, service="social")
