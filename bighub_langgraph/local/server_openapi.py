"""How the server's routes are described in its OpenAPI document."""

import re
from typing import Any

from bighub_langgraph.local.answering import Route

_WHOLE = {"type": "integer", "minimum": 0}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_WORD = {"type": "string", "minLength": 1, "maxLength": 500}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "limit": {**_WHOLE, "maximum": 1_000},
    "limit_recent": {**_WHOLE, "maximum": 1_000},
    "offset": {**_WHOLE, "maximum": 10**9},
    "window_hours": {**_WHOLE, "minimum": 1, "maximum": 8_784},
    "window_days": {**_WHOLE, "minimum": 1, "maximum": 3_660},
    "days": {**_WHOLE, "minimum": 1, "maximum": 3_660},
    "min_age_hours": {**_WHOLE, "maximum": 87_840},
    "min_risk_score": _SHARE,
    "max_risk_score": _SHARE,
    "has_outcome": {"type": "boolean"},
    "since": {"type": "string", "format": "date-time"},
    "until": {"type": "string", "format": "date-time"},
    "by": {"type": "string", "enum": ["domain", "tool", "actor"]},
    "risk_band": {"type": "string", "enum": ["low", "medium", "high"]},
}
_ERROR = {
    "type": "object",
    "required": ["detail"],
    "properties": {
        "detail": {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "object"}},
            ]
        }
    },
}
_REFUSALS = {
    "400": "The request cannot be read",
    "401": "No key, or one that is not good any more",
    "403": "The key may not do this",
    "404": "Nothing is known under this name",
    "409": "It contradicts what was said before",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "422": "Some fields do not fit; `detail` lists them",
    "429": "Too many requests; `Retry-After` says how long to wait",
    "503": "The store cannot be used at the moment",
    "501": "The embedded engine does not offer this",
}


def described(route: Route) -> dict[str, Any]:
    """What OpenAPI says of a route."""
    refusals = {
        status: {"description": words, "content": {"application/json": {"schema": _ERROR}}}
        for status, words in _REFUSALS.items()
    }
    told: dict[str, Any] = {
        "parameters": [*_in_path(route), *_in_query(route)],
        "responses": {"200": {"description": "The answer"}, **refusals},
        "security": [{"key": []}, {"bearer": []}],
    }
    if route.body is not None:
        told["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _inlined(route.body.model_json_schema())}},
        }
    return told


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "schema": _PARAMETERS.get(name, _WORD)}
        for name in route.query
    ]


def _inlined(schema: Any, definitions: dict[str, Any] | None = None) -> Any:
    """A schema without references, which an operation cannot resolve by itself."""
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    known = definitions if definitions is not None else schema.get("$defs", {})
    if "$ref" in schema:
        return _inlined(known[schema["$ref"].rsplit("/", 1)[-1]], known)
    return {name: _inlined(each, known) for name, each in schema.items() if name != "$defs"}
