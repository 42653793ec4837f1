"""The gateway's index page: what runs where, and how to talk to it."""

from collections.abc import Mapping
from pathlib import Path

import jinja2

from shared.openapi import Json

TEMPLATES = Path(__file__).parent / "templates"
OVERVIEW_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_overview(
    origin: str, services: Mapping[str, str], links: Mapping[str, str], specs: Mapping[str, Json]
) -> str:
    """``specs``: the descriptions of the services that are up; their routes are listed."""
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = environment.get_template("overview.html")
    return page.render(origin=origin, services=services, links=links, specs=specs)
