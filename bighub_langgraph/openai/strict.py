"""JSON Schemas in the form that OpenAI's strict mode accepts.

The conversion is kept here on purpose. The OpenAI SDK has one for pydantic models only; it keeps
what the API refuses: `default`, `uniqueItems`, `minLength` and mappings with free keys. Here a
schema is either converted without a change of its meaning, or refused with the parameter's name.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

Schema = dict[str, Any]

# The keywords of https://platform.openai.com/docs/guides/structured-outputs, by type. Others, such
# as a string's length, are left out of the request and still checked before a call is evaluated.
_NUMBER_KEYWORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_KEYWORDS = {
    "string": ("pattern", "format"),
    "number": _NUMBER_KEYWORDS,
    "integer": _NUMBER_KEYWORDS,
    "array": ("minItems", "maxItems"),
}
_KEYWORDS_OF_ANY_TYPE = ("title", "description", "type", "enum", "const")
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
)
_CONSTRAINTS = frozenset(("type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"))


class StrictSchemaError(ValueError):
    """A schema cannot be expressed in strict mode."""


def to_strict_schema(schema: Mapping[str, Any]) -> Schema:
    """Convert the schema of a tool's parameters to strict form.

    Every object is closed and all its properties are required. An optional property becomes
    nullable; `normalize` removes the nulls that the model sends for it.

    Raises:
        StrictSchemaError: The conversion would change what the schema means; it names the
            parameter.
    """
    if schema.get("additionalProperties", False) is not False:
        raise StrictSchemaError("arguments of any name")
    for name, item in schema.get("properties", {}).items():
        try:
            parts = [_convert(part) for part in _find_reachable_schemas(item, schema)]
            _check_size(parts, levels=1 + _count_levels(item, schema, {}))
        except StrictSchemaError as error:
            raise StrictSchemaError(f"parameter {name!r}: {error}") from error
    strict_schema = _convert(schema)
    try:
        _check_size([strict_schema])
    except StrictSchemaError as error:
        raise StrictSchemaError(f"the schema: {error}") from error
    return strict_schema


def _check_size(parts: Sequence[Schema], levels: int = 1) -> None:
    """Refuse more than https://platform.openai.com/docs/guides/structured-outputs allows."""
    nodes = [node for part in parts for node in _find_mappings(part)]
    names = [name for node in nodes for name in node.get("properties", ())]
    enums = [list(map(str, node["enum"])) for node in nodes if isinstance(node.get("enum"), list)]
    lengths = [sum(map(len, enum)) for enum in enums]
    long_enums = [length for enum, length in zip(enums, lengths, strict=True) if len(enum) > 250]  # noqa: PLR2004 - theirs
    for size, limit, things in (
        (levels, 10, "levels"),
        (len(names), 5_000, "properties"),
        (sum(map(len, enums)), 1_000, "values in enums"),
        (max(long_enums, default=0), 15_000, "characters in an enum of more than 250 values"),
        (sum(lengths) + sum(map(len, names)), 120_000, "characters in names and enums"),
    ):
        if size > limit:
            raise StrictSchemaError(f"{size:,} {things}, of {limit:,} at most")


def _count_levels(schema: Any, root: Mapping[str, Any], cache: dict[str, int]) -> int:
    """Return how deeply objects and lists are nested. A recursion counts once."""
    if not isinstance(schema, Mapping):
        return 0
    if (reference := schema.get("$ref")) is not None:
        if reference not in cache:
            cache[reference] = 0
            cache[reference] = _count_levels(_resolve(schema, root), root, cache)
        return cache[reference]
    parts = [*schema.get("properties", {}).values(), schema.get("items")]
    parts += [part for word in ("anyOf", "oneOf", "allOf") for part in schema.get(word, ())]
    own = not {"object", "array"}.isdisjoint(_types_of(schema))
    return own + max(_count_levels(part, root, cache) for part in parts)


def _convert(schema: Any) -> Schema:
    if isinstance(schema, bool):
        raise StrictSchemaError("it may be anything")
    if "$ref" in schema:
        return _convert_reference(schema)
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        branches = [_convert(branch) for branch in branches]
        return {**_copy_description(schema), "anyOf": branches}
    if len(parts := schema.get("allOf", ())) == 1:
        return _convert({**parts[0], **{k: v for k, v in schema.items() if k != "allOf"}})
    types = _types_of(schema)
    keywords = {*_KEYWORDS_OF_ANY_TYPE}.union(*(_KEYWORDS.get(name, ()) for name in types))
    strict_schema = {keyword: value for keyword, value in schema.items() if keyword in keywords}
    if "object" in types:
        strict_schema |= _convert_object(schema)
    if "array" in types:
        strict_schema |= _convert_array(schema)
    if not strict_schema.keys() & {"type", "enum", "const"} or parts:
        raise StrictSchemaError("it may be anything")
    if strict_schema.get("format") not in _FORMATS:
        strict_schema.pop("format", None)
    if "(?" in strict_schema.get("pattern", ""):  # their regular expressions have no look-around
        del strict_schema["pattern"]
    return strict_schema


def find_strict_violation(schema: Mapping[str, Any]) -> str | None:
    """Name what prevents a hand-written schema from being sent as strict, if anything does."""
    try:
        if to_strict_schema(schema) == schema:
            return None
    except StrictSchemaError as error:
        return str(error)
    required_names = schema.get("required", ())
    for name, item in schema.get("properties", {}).items():
        if name not in required_names:
            return f"parameter {name!r}, which is not required"
        if any(_convert(part) != part for part in _find_reachable_schemas(item, schema)):
            return f"parameter {name!r}, which is not closed or uses keywords of no effect there"
    return "the schema, which must close its object and use no other keywords"


def normalize(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """Remove nulls that stand for omitted properties, and write numbers as their type asks for.

    So 5 and 5.0 are the same arguments, and text that stands for a number is one for everybody.

    Args:
        value: What the model sent.
        schema: The schema of the value before its conversion to strict form.
        root: The schema that holds the definitions.
    """
    scalar = _SCALARS.get(type(value))
    if value is None or (scalar and scalar == schema.get("type")):
        return value
    schema = _resolve(schema, root)
    branches = schema.get("anyOf") or schema.get("oneOf")
    if scalar:
        return _normalize_scalar(value, [_resolve(part, root) for part in branches or [schema]])
    if branches:
        resolved_branches = (_resolve(branch, root) for branch in branches)
        branch_of_value = next(
            (branch for branch in resolved_branches if _has_shape(value, branch)), None
        )
        return value if branch_of_value is None else normalize(value, branch_of_value, root)
    if isinstance(value, dict) and "properties" in schema:
        properties: Mapping[str, Any] = schema["properties"]
        optional = properties.keys() - set(schema.get("required", ()))
        return {
            name: normalize(item, properties.get(name, {}), root)
            for name, item in value.items()
            if item is not None or name not in optional or _admits_null(properties[name], root)
        }
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [normalize(item, schema["items"], root) for item in value]
    return value


_NUMBERS: dict[str, type] = {"integer": int, "number": float, "boolean": bool}
_SCALARS = {str: "string", **{kind: name for name, kind in _NUMBERS.items()}}


def _normalize_scalar(value: Any, branches: Sequence[Mapping[str, Any]]) -> Any:
    kinds = {kind for branch in branches for kind in _types_of(branch) or [""]} - {"null"}
    # A union of several kinds reads its values by itself.
    kind = _NUMBERS.get(kinds.pop()) if len(kinds) == 1 else None
    if kind is float and isinstance(value, int):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is None or not isinstance(value, str):
        return value
    from pydantic import TypeAdapter, ValidationError  # late, because this is rare

    try:
        return check_finite(TypeAdapter(kind).validate_python(value), value)
    except ValidationError:
        return value


def check_finite(number: float, text: str) -> float:
    """Return a number that was read from a text, unless JSON has no such number."""
    if not isfinite(number):
        raise ValueError(f"{text} is not a number that JSON can express")
    return number


def _convert_reference(schema: Mapping[str, Any]) -> Schema:
    reference: Schema = {"$ref": schema["$ref"]}
    # Strict mode allows no keyword beside a reference, so a description wraps it.
    description = _copy_description(schema)
    return {**description, "anyOf": [reference]} if description else reference


def _convert_object(schema: Mapping[str, Any]) -> Schema:
    if schema.get("additionalProperties", False) is not False or "patternProperties" in schema:
        raise StrictSchemaError("it is a mapping with any keys")
    properties: Mapping[str, Schema] = schema.get("properties", {})
    required_names = schema.get("required", ())
    definitions = {name: _convert(item) for name, item in schema.get("$defs", {}).items()}
    return {
        **({"$defs": definitions} if "$defs" in schema else {}),
        "properties": {
            name: _convert(item) if name in required_names else _make_nullable(item)
            for name, item in properties.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }


def _convert_array(schema: Mapping[str, Any]) -> Schema:
    places = schema.get("prefixItems", ())
    if places and any(place != places[0] for place in places):
        raise StrictSchemaError("it is a list with a different kind of item in each place")
    items = places[0] if places else schema.get("items")
    if not isinstance(items, Mapping):
        raise StrictSchemaError("it is a list of anything")
    return {"items": _convert(items)}


def _make_nullable(schema: Schema) -> Schema:
    """Return the schema of an optional property, whose description says its default."""
    strict_schema, admits_null = _convert(schema), _admits_null(schema)
    hint = ""
    if (default := schema.get("default")) is not None:
        text = json.dumps(default, ensure_ascii=False)
        hint = f"(default: {text})" if admits_null else f"(null: the default, {text})"
    text = " ".join(filter(None, (strict_schema.pop("description", ""), hint)))
    description = {"description": text} if text else {}
    if admits_null:
        return {**strict_schema, **description}
    branches = strict_schema["anyOf"] if strict_schema.keys() == {"anyOf"} else [strict_schema]
    return {**description, "anyOf": [*branches, {"type": "null"}]}


def _admits_null(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> bool:
    """Whether the schema itself allows null. References are followed only with a `root`."""
    schema = _resolve(schema, root) if root else schema
    branches = schema.get("anyOf") or schema.get("oneOf") or ()
    return (
        not schema.keys() & _CONSTRAINTS
        or "null" in _types_of(schema)
        or None in schema.get("enum", ())
        or any(_admits_null(branch, root) for branch in branches)
    )


def _has_shape(value: Any, schema: Mapping[str, Any]) -> bool:
    if isinstance(value, dict):
        return "object" in _types_of(schema) and value.keys() <= schema.get("properties", {}).keys()
    return isinstance(value, list) and "array" in _types_of(schema)


def _copy_description(schema: Mapping[str, Any]) -> Schema:
    return {"description": schema["description"]} if "description" in schema else {}


def _types_of(schema: Mapping[str, Any]) -> list[str]:
    types = schema.get("type", [])
    return [types] if isinstance(types, str) else list(types)


def _find_reachable_schemas(schema: Any, root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield a schema and every definition that it refers to."""
    references, schemas = set[str](), [schema]
    while schemas:
        part = schemas.pop()
        yield part
        nodes = _find_mappings(part)
        new = {ref for node in nodes if isinstance(ref := node.get("$ref"), str)} - references
        references |= new
        schemas.extend(_resolve({"$ref": reference}, root) for reference in new)


def _find_mappings(part: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every mapping in a schema."""
    if isinstance(part, Mapping):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for item in part:
            yield from _find_mappings(item)


def _resolve(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    visited_references = list[str]()
    while "$ref" in schema:
        reference = schema["$ref"]
        target: Any = root
        for step in reference.removeprefix("#").strip("/").split("/"):
            target = target.get(step) if step and isinstance(target, Mapping) else target
        if not isinstance(target, Mapping) or reference in visited_references:
            raise StrictSchemaError(f"it refers to {reference!r}")
        visited_references.append(reference)
        schema = target
    return schema
