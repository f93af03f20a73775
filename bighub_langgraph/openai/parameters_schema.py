"""Parameters of a tool that come from a JSON Schema written by hand (`parameters_schema=`)."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it brings no types
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from bighub_langgraph.core.json_schema import with_exact_multiples
from bighub_langgraph.openai.arguments import SchemaParameters, find_binding_fault, shorten_message
from bighub_langgraph.openai.errors import AdapterConfigurationError
from bighub_langgraph.openai.function_schema import warn_about_schema
from bighub_langgraph.openai.strict import find_strict_violation

Json = dict[str, Any]
# Keywords that describe, or that the validator of another keyword reads.
_OTHER_KEYWORDS = frozenset(
    (
        *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default"),
        *("example", "examples", "deprecated", "readOnly", "writeOnly", "discriminator"),
        *("contentMediaType", "contentEncoding", "then", "else", "minContains", "maxContains"),
    )
)


def parameters_from_schema(
    schema: Any, fn: Callable[..., Any], tool: str, *, strict: bool = True
) -> SchemaParameters:
    """Use a JSON Schema (Draft 2020-12) as it is.

    Raises:
        AdapterConfigurationError: It is not a valid schema of an object, uses what is not checked
            here, or does not match the function.
    """
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise AdapterConfigurationError(
            f"tool {tool!r}: parameters_schema must be a JSON Schema with type 'object'"
        )
    if not _is_json(schema):
        raise AdapterConfigurationError(
            f"tool {tool!r}: parameters_schema must consist of what JSON can express"
        )
    # `$schema` could select another draft. With an empty registry no document is ever fetched.
    rules = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
    validator = _Validator(rules, registry=Registry())
    try:
        faults = sorted(set(_find_faults(rules, validator)))
    except jsonschema.SchemaError as error:
        place = ".".join(map(str, error.absolute_path)) or "its root"
        raise AdapterConfigurationError(
            f"tool {tool!r}: parameters_schema is not a valid JSON Schema at {place}: "
            f"{shorten_message(error)}"
        ) from error
    if faults:
        raise AdapterConfigurationError(
            f"tool {tool!r}: parameters_schema uses {', '.join(faults)}, "
            "which is not checked here; leave it out, or check it in the tool"
        )
    if fault := find_binding_fault(fn, schema.get("properties", {})):
        raise AdapterConfigurationError(
            f"tool {tool!r}: parameters_schema does not match the function: {fault}"
        )
    violation = find_strict_violation(schema) if strict else None
    if violation:
        warn_about_schema(tool, f"strict mode refuses {violation}; sent with strict: false")
    return SchemaParameters(tool, schema, strict and not violation, fn, validator)


def _is_json(schema: Json) -> bool:
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return False
    return bool(json.loads(text) == schema)


def _find_faults(schema: Json, validator: Any) -> Iterator[str]:
    """Yield the keywords that nothing checks, and the references that cannot be followed.

    Raises:
        SchemaError: A part is not a valid schema.
    """
    root = DRAFT202012.create_resource(schema)
    parts, visited_ids = [(schema, Registry().resolver_with_root(root))], set[int]()
    _Validator.check_schema(schema)
    while parts:
        part, resolver = parts.pop()
        if id(part) in visited_ids or not isinstance(part, Mapping):
            continue
        visited_ids.add(id(part))
        resolver = resolver.in_subresource(DRAFT202012.create_resource(part))
        yield from map(str, part.keys() - _Validator.VALIDATORS.keys() - _OTHER_KEYWORDS)
        for keyword in part.keys() & {"$ref", "$dynamicRef"}:
            try:
                target = resolver.lookup(part[keyword])
                _Validator.check_schema(target.contents)  # it may stand where no schema stands
                validator.evolve(schema=part).is_valid(None)  # ends, unless it leads to itself
            except (Unresolvable, jsonschema.SchemaError, RecursionError):
                yield f"the reference {part[keyword]!r}"
            else:
                parts.append((target.contents, target.resolver))
        if part.get("additionalProperties") is False and "patternProperties" not in part:
            missing_names = set(part.get("required", ())) - part.get("properties", {}).keys()
            yield from (
                f"the required property {name!r} without a schema" for name in missing_names
            )
        parts.extend((subschema, resolver) for subschema in DRAFT202012.subresources_of(part))


_Validator = with_exact_multiples(jsonschema.Draft202012Validator)
