"""JSON Schemas in the form that OpenAI's strict mode takes."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["NotSayable", "strict_fault", "strictly", "unsayable", "without_filler_nulls"]

Schema = dict[str, Any]

# https://platform.openai.com/docs/guides/structured-outputs: what is not named here is refused
# there. Limits that are left out (a string's length, unique items) are still checked here before a
# call goes on.
_KEPT = {
    "any": ("title", "description", "type", "enum", "const"),
    "string": ("pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "array": ("minItems", "maxItems"),
}
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)
_MEANINGS = frozenset(("type", "enum", "const", "anyOf", "oneOf"))
_NULL: Schema = {"type": "null"}


class NotSayable(ValueError):  # a verdict on a schema
    """A schema says something that strict mode cannot."""


def strictly(schema: Mapping[str, Any]) -> Schema:
    """Say a schema strictly; raise `NotSayable` where that would change what it means.

    Every object is closed and all its properties are required. A property that may be left out may
    be null instead; `without_filler_nulls` takes those nulls out again.
    """
    if "$ref" in schema:
        return _reference(schema)
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        return {**_description(schema), "anyOf": [strictly(branch) for branch in branches]}
    if len(merged := schema.get("allOf", ())) == 1:
        return strictly({**merged[0], **{k: v for k, v in schema.items() if k != "allOf"}})
    said = {key: value for key, value in schema.items() if key in _kept(schema)}
    if "object" in _types(schema):
        said |= _object(schema)
    if "array" in _types(schema):
        said |= _array(schema)
    if not said.keys() & {"type", "enum", "const"} or merged:
        raise NotSayable("it may be anything")
    if said.get("format") not in _FORMATS:
        said.pop("format", None)
    if "(?" in said.get("pattern", ""):  # look-around is not part of their regular expressions
        del said["pattern"]
    return said | _definitions(schema)


def unsayable(schema: Mapping[str, Any]) -> str:
    """Name the parameter that strict mode cannot say, and why."""
    if schema.get("additionalProperties", False) is not False:
        return "arguments of any name"
    for name, item in schema.get("properties", {}).items():
        for part in _reachable(item, schema):
            try:
                strictly(part)
            except NotSayable as fault:
                return f"parameter {name!r}: {fault}"
    return "the schema"


def strict_fault(schema: Mapping[str, Any]) -> str | None:
    """Name what keeps a hand-written schema from being sent as strict, or nothing."""
    try:
        if strictly(schema) == schema:
            return None
    except NotSayable:
        return unsayable(schema)
    required = schema.get("required", ())
    for name, item in schema.get("properties", {}).items():
        if name not in required:
            return f"parameter {name!r}, which is not required"
        if any(strictly(part) != part for part in _reachable(item, schema)):
            return f"parameter {name!r}, which is not closed or uses keywords of no effect there"
    return "the schema, which must close its object and use no other keywords"


def without_filler_nulls(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Take out the nulls that stand for nothing; `schema` is the one before `strictly`."""
    schema = _resolved(schema, root)
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        fitting: Mapping[str, Any] = next(
            (b for b in branches if _shaped_like(value, _resolved(b, root))), {}
        )
        return without_filler_nulls(value, fitting, root) if fitting else value
    if isinstance(value, dict) and "properties" in schema:
        return {
            name: without_filler_nulls(item, schema["properties"].get(name, {}), root)
            for name, item in value.items()
            if not _is_filler(name, item, schema, root)
        }
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [without_filler_nulls(item, schema["items"], root) for item in value]
    return value


def _admits_null(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> bool:
    """Say whether null is a value of the schema in its own right; references only with a root."""
    schema = _resolved(schema, root) if root else schema
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    anything = not schema.keys() & {*_MEANINGS, "allOf", "$ref"}
    return (
        anything
        or "null" in _types(schema)
        or None in schema.get("enum", ())
        or any(_admits_null(branch, root) for branch in branches)
    )


def _reference(schema: Mapping[str, Any]) -> Schema:
    reference: Schema = {"$ref": schema["$ref"]}
    # Strict mode takes nothing beside a reference, so that a description needs a place of its own.
    if described := _description(schema):
        return {**described, "anyOf": [reference]}
    return reference | _definitions(schema)


def _object(schema: Mapping[str, Any]) -> Schema:
    if schema.get("additionalProperties", False) is not False or "patternProperties" in schema:
        raise NotSayable("it is a mapping with any keys")
    properties: Mapping[str, Schema] = schema.get("properties", {})
    required = schema.get("required", ())
    return {
        "properties": {
            name: strictly(item) if name in required else _nullable(item)
            for name, item in properties.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(schema: Mapping[str, Any]) -> Schema:
    places = schema.get("prefixItems", ())
    if places and any(place != places[0] for place in places):
        raise NotSayable("it is a list with a different kind of item in each place")
    items = places[0] if places else schema.get("items")
    if not isinstance(items, Mapping):
        raise NotSayable("it is a list of anything")
    return {"items": strictly(items)}


def _nullable(schema: Schema) -> Schema:
    said = strictly(schema)
    hint = _default_hint(schema)
    if _admits_null(schema):
        return said
    described = " ".join(filter(None, (said.pop("description", ""), hint)))
    branches = said["anyOf"] if said.keys() == {"anyOf"} else [said]
    return {**({"description": described} if described else {}), "anyOf": [*branches, _NULL]}


def _default_hint(schema: Schema) -> str:
    default = schema.get("default")
    return "" if default is None else f"(null: the default, {json.dumps(default)})"


def _definitions(schema: Mapping[str, Any]) -> Schema:
    if "$defs" not in schema:
        return {}
    return {"$defs": {name: strictly(item) for name, item in schema["$defs"].items()}}


def _description(schema: Mapping[str, Any]) -> Schema:
    return {"description": schema["description"]} if "description" in schema else {}


def _kept(schema: Mapping[str, Any]) -> set[str]:
    return {key for kind in ("any", *_types(schema)) for key in _KEPT.get(kind, ())}


def _types(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _reachable(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A schema and every definition that it leads to."""
    seen, waiting = set[str](), [schema]
    while waiting:
        part = waiting.pop()
        yield part
        for reference in _references(part):
            if reference not in seen:
                seen.add(reference)
                waiting.append(_resolved({"$ref": reference}, root))


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for item in part.values():
            yield from _references(item)
    elif isinstance(part, list):
        for item in part:
            yield from _references(item)


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in schema:
        found: Any = root
        for step in schema["$ref"].removeprefix("#").strip("/").split("/"):
            found = found[step] if step else found
        schema = found
    return schema


def _shaped_like(value: Any, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, dict):
        return "object" in _types(schema) and value.keys() <= schema.get("properties", {}).keys()
    return isinstance(value, list) and "array" in _types(schema)


def _is_filler(name: str, item: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> bool:
    if item is not None or name in schema.get("required", ()) or name not in schema["properties"]:
        return False
    return not _admits_null(schema["properties"][name], root)
