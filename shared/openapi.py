"""The OpenAPI 3.1 description of a service, from its routes' models and refusals."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from shared.auth import InvalidProxyKey, NotAdmin, TokenMissing, UidMismatch
from shared.errors import Refusal, TooLarge, TooManyRequests
from shared.http import READ_METHODS, InvalidRequest, MalformedJson, Route, caller_fields
from shared.id_tokens import TokenInvalid

Json = dict[str, Any]
"""A piece of an OpenAPI document, whose shape is the specification's."""

REF = "#/components/schemas/{model}"
REFERENCE = re.compile(r"#/components/schemas/([\w.-]+)")
NULL = {"type": "null"}
ERROR_REF = "#/components/schemas/Error"
PATH_PARAMETER = re.compile(r"\{(\w+)[^}]*\}")


def specification(service: str, version: str, routes: Iterable[Route]) -> Json:
    return _Builder(list(routes)).document(service, version)


ERROR_SCHEMA: Json = {
    "type": "object",
    "description": "Every refusal. Further keys depend on the code.",
    "required": ["error", "code", "message"],
    "properties": {
        "error": {"type": "string", "description": "A sentence for a person."},
        "code": {"type": "string", "description": "From a closed set, snake_case."},
        "message": {"type": "string", "description": "Detail for a developer."},
        "field": {"type": "string", "description": "The field that is wrong, with code invalid_request."},
    },
}

SECURITY_SCHEMES: Json = {
    "proxyKey": {"type": "apiKey", "in": "header", "name": "x-proxy-key"},
    "idToken": {"type": "http", "scheme": "bearer", "bearerFormat": "Firebase ID token"},
}


class _Builder:
    """The models of all routes become one set of components, so that a model is described once."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = []
        for route in routes:
            wanted += [(route.body, "validation")] if route.body else []
            wanted += [(route.reply, "serialization")] if route.reply else []
        self._references, schemas = models_json_schema(_unique(wanted), by_alias=True, ref_template=REF)
        self._components: dict[str, Json] = schemas.get("$defs", {})
        for route in routes:
            if route.reply and not route.options.get("nulls"):
                self._leave_out_nulls(self._references[route.reply, "serialization"], set())

    def document(self, service: str, version: str) -> Json:
        paths: dict[str, Json] = defaultdict(dict)
        for route in self._routes:
            paths[PATH_PARAMETER.sub(r"{\1}", route.path)][route.method.lower()] = self._operation(route)
        return {
            "openapi": "3.1.0",
            "info": {"title": service, "version": version},
            "paths": dict(paths),
            "components": {
                "schemas": {**self._components, "Error": ERROR_SCHEMA},
                "securitySchemes": SECURITY_SCHEMES,
            },
        }

    def _operation(self, route: Route) -> Json:
        required: dict[str, list[str]] = {"proxyKey": []} if route.proxy_key else {}
        required |= {"idToken": []} if route.admin else {}
        return {
            "operationId": _operation_id(route),
            "summary": route.options.get("summary") or route.doc.strip().partition("\n")[0],
            "security": [required],
            **self._input(route),
            "responses": {str(route.options.get("status", 200)): self._success(route), **_failures(route)},
        }

    def _input(self, route: Route) -> Json:
        schema = self._component(route.body) if route.body else {}
        properties = _mapping(schema.get("properties"))
        in_path = PATH_PARAMETER.findall(route.path)
        parameters = [_parameter(name, "path", properties.get(name, {"type": "string"}), True) for name in in_path]
        if route.method in READ_METHODS:
            required = schema.get("required", [])
            query = {name: inner for name, inner in properties.items() if name not in in_path}
            parameters += [_parameter(name, "query", inner, name in required) for name, inner in query.items()]
            return {"parameters": parameters} if parameters else {}
        found: Json = {"parameters": parameters} if parameters else {}
        return {**found, **self._body(route, schema, in_path)}

    def _body(self, route: Route, schema: Json, in_path: Sequence[str]) -> Json:
        if route.body is None:
            return {"requestBody": {"content": {"*/*": {}}}} if route.reply is None else {}
        if not in_path:
            content = _json(self._references[route.body, "validation"])
            return {"requestBody": {"required": bool(schema.get("required")), "content": content}}
        rest = {name: inner for name, inner in _mapping(schema.get("properties")).items() if name not in in_path}
        required = [name for name in schema.get("required", []) if name not in in_path]
        body = {**schema, "properties": rest, "required": required}
        return {"requestBody": {"required": bool(required), "content": _json(body)}} if rest else {}

    def _success(self, route: Route) -> Json:
        described: Json = {"description": "Success"}
        return described | ({"content": _json(self._references[route.reply, "serialization"])} if route.reply else {})

    def _leave_out_nulls(self, schema: Json, seen: set[str]) -> None:
        """Replies leave out what is null, so no key that may be null is certain to be there."""
        for name in set(REFERENCE.findall(json.dumps(schema))) - seen:
            seen.add(name)
            component = self._components[name]
            if required := component.get("required"):
                properties = component["properties"]
                component["required"] = [key for key in required if NULL not in properties[key].get("anyOf", [])]
            self._leave_out_nulls(component, seen)

    def _component(self, model: type[BaseModel]) -> Json:
        reference = str(self._references[model, "validation"]["$ref"])
        return self._components[reference.rpartition("/")[2]]


def _unique(
    wanted: Iterable[tuple[type[BaseModel], JsonSchemaMode]],
) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    return list(dict.fromkeys(wanted))


def _mapping(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def _json(schema: Mapping[str, object]) -> Json:
    return {"application/json": {"schema": dict(schema)}}


def _parameter(name: str, place: str, schema: object, required: bool) -> Json:
    return {"name": name, "in": place, "required": required, "schema": _without_null(_mapping(schema))}


def _without_null(schema: Json) -> Json:
    """A parameter is absent or a string: it cannot be null."""
    rest = {name: inner for name, inner in schema.items() if name != "anyOf" and (name, inner) != ("default", None)}
    kept = [part for part in schema.get("anyOf", []) if part.get("type") != "null"]
    if len(kept) == 1:
        return {**rest, **kept[0]}
    return {**rest, "anyOf": kept} if kept else rest


def _operation_id(route: Route) -> str:
    words = re.findall(r"[A-Za-z0-9]+", PATH_PARAMETER.sub(r"\1", route.path))
    return "_".join([route.method.lower(), *words])


def _failures(route: Route) -> Json:
    """One response per status, its codes listed."""
    codes: dict[int, list[str]] = defaultdict(list)
    for refusal in dict.fromkeys([*_always(route), *route.options.get("refusals", ())]):
        codes[refusal.status].append(refusal.code)
    return {
        str(status): {"description": ", ".join(codes[status]), "content": _json({"$ref": ERROR_REF})}
        for status in sorted(codes)
    }


def _always(route: Route) -> list[type[Refusal]]:
    """The refusals that follow from how the route is declared."""
    found: list[type[Refusal]] = [InvalidRequest] if route.body else []
    if route.body and route.method not in READ_METHODS:
        found += [MalformedJson, TooLarge]
    found += [InvalidProxyKey] if route.proxy_key else []
    found += [TokenMissing, TokenInvalid, NotAdmin] if route.admin else []
    found += [TooManyRequests] if route.options.get("limits") else []
    found += [TokenInvalid, UidMismatch] if route.body and caller_fields(route.body) else []
    return [*found, Refusal]
