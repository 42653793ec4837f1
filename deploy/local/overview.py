"""The gateway's index page: what runs where, and how to talk to it."""

from collections.abc import Mapping
from pathlib import Path

import jinja2

from deploy.local.routing import SEGMENTS

TEMPLATES = Path(__file__).parent / "templates"
OVERVIEW_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_overview(origin: str, services: Mapping[str, str], links: Mapping[str, str], up: Mapping[str, bool]) -> str:
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("overview.html")
    return page.render(origin=origin, services=services, links=links, up=up, segments=SEGMENTS)
