"""``/openapi.json`` and ``/docs``, a page for people rendered from it.

The page is one template without scripts: it works without the internet and under a strict content security policy.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web
from aiohttp.typedefs import Handler

from shared.http import Routes
from shared.openapi import Json, specification

TEMPLATES = Path(__file__).parent / "templates"
POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
EXAMPLES = {"integer": 1, "number": 1.0, "boolean": True, "null": None}
DEEPEST_EXAMPLE = 4


def pages(service: str, version: str, routes: Routes) -> dict[str, Handler]:
    """The handlers of both pages by path, rendered once; and of the root, for whoever opens it in a browser."""
    spec = specification(service, version, routes)
    text, html = json.dumps(spec), page(spec)

    async def openapi(_request: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/json")

    async def docs(_request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html", headers=POLICY)

    async def root(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "docs"})

    return {"/": root, "/openapi.json": openapi, "/docs": docs}


def page(spec: Json) -> str:
    schemas = _Schemas(spec["components"]["schemas"])
    loader = jinja2.FileSystemLoader(TEMPLATES)
    environment = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"resolve": schemas.resolve, "kind": schemas.kind, "example": schemas.example_text}
    return environment.get_template("docs.html").render(spec=spec)


class _Schemas:
    """What the template asks about a JSON schema."""

    def __init__(self, components: Mapping[str, Json]) -> None:
        self._components = components

    def resolve(self, schema: Json) -> Json:
        """The schema itself, or the one it refers to, or the first alternative that is an object or a list."""
        if "$ref" in schema:
            return self._components[str(schema["$ref"]).rpartition("/")[2]]
        alternatives = [self.resolve(part) for part in schema.get("anyOf", [])]
        return next((part for part in alternatives if part.get("type") in {"object", "array"}), schema)

    def kind(self, schema: Json) -> str:
        """A type in a few words: ``list of Item``, ``integer or string``."""
        if "$ref" in schema:
            return str(schema["$ref"]).rpartition("/")[2]
        if "anyOf" in schema:
            return " or ".join(dict.fromkeys(self.kind(part) for part in schema["anyOf"]))
        if schema.get("type") == "array":
            return f"list of {self.kind(schema.get('items', {}))}"
        if "const" in schema or "enum" in schema:
            return " | ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
        return str(schema.get("format") or schema.get("type") or "anything")

    def example_text(self, schema: Json) -> str:
        return json.dumps(self.example(schema))

    def example(self, schema: Json, depth: int = 0) -> Any:
        """The model's own first example, else a value of its shape with the required fields, for the curl line."""
        given = self.resolve(schema)
        if given.get("examples"):
            return given["examples"][0]
        if depth > DEEPEST_EXAMPLE:
            return None
        if "properties" in given:
            required = {name: given["properties"][name] for name in given.get("required", [])}
            return {name: self.example(inner, depth + 1) for name, inner in required.items()}
        if given.get("type") == "array":
            return [self.example(given.get("items", {}), depth + 1)]
        if "anyOf" in given:
            return self.example(given["anyOf"][0], depth + 1)
        return given.get("const", given.get("enum", [EXAMPLES.get(str(given.get("type")), "...")])[0])
