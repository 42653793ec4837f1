"""What the services offer together: the OpenAPI descriptions they give of themselves, and those as one."""

import asyncio
import json
from collections.abc import Iterable, Mapping

import aiohttp

from shared.openapi import REF, REFERENCE, Json

ASKING = aiohttp.ClientTimeout(total=2)
SHARED_MODEL = "Error"
"""The one model that is the same in every service."""


async def descriptions(session: aiohttp.ClientSession, services: Mapping[str, str]) -> dict[str, Json]:
    """The description of each service that answers, by name. ``services``: base URL by name."""
    found = await asyncio.gather(*(_description(session, url) for url in services.values()))
    return {name: spec for name, spec in zip(services, found, strict=True) if spec}


async def _description(session: aiohttp.ClientSession, url: str) -> Json | None:
    try:
        async with session.get(f"{url}/openapi.json", timeout=ASKING, raise_for_status=True) as reply:
            spec: Json = await reply.json()
            return spec
    except (aiohttp.ClientError, TimeoutError):
        return None


def as_one(specs: Mapping[str, Json], version: str) -> Json:
    """One description of all services; a model is named after its service, such as ``checkout.CartLine``."""
    own = [_with_own_names(service, spec) for service, spec in specs.items()]
    schemes = [spec["components"].get("securitySchemes", {}) for spec in own]
    return {
        "openapi": "3.1.0",
        "info": {"title": "ticketing", "version": version},
        "paths": _union(spec["paths"] for spec in own),
        "components": {
            "schemas": _union(spec["components"]["schemas"] for spec in own),
            "securitySchemes": _union(schemes),
        },
    }


def _with_own_names(service: str, spec: Json) -> Json:
    def own(model: str) -> str:
        return model if model == SHARED_MODEL else f"{service}.{model}"

    renamed: Json = json.loads(REFERENCE.sub(lambda found: REF.format(model=own(found[1])), json.dumps(spec)))
    components = renamed["components"]
    components["schemas"] = {own(model): schema for model, schema in components["schemas"].items()}
    return renamed


def _union(parts: Iterable[Json]) -> Json:
    return {name: value for part in parts for name, value in part.items()}
