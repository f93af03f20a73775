"""What OpenAI's Responses API refuses beyond its OpenAPI document, one function a rule."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class Refused(Exception):
    """A request that the service answers with an error."""

    def __init__(self, message: str, *, status: int = 400, code: str | None = None) -> None:
        self.status, self.code = status, code
        super().__init__(message)


@dataclass
class Memory:
    """What the service remembers of its own answers, and of what it was asked to store."""

    responses: dict[str, list[Json]] = field(default_factory=dict)
    conversations: dict[str, list[Json]] = field(default_factory=dict)
    reasoning_of: dict[str, str] = field(default_factory=dict)
    following: dict[str, str] = field(default_factory=dict)


def conversation_items(body: Json, memory: Memory) -> list[Json]:
    """The whole conversation that a request stands for; `Refused` when it is not stored."""
    input_ = body["input"]
    items = [{"role": "user", "content": input_}] if isinstance(input_, str) else list(input_)
    if body.get("previous_response_id") and body.get("conversation"):
        raise Refused("Mutually exclusive parameters: 'previous_response_id' and 'conversation'.")
    if previous := body.get("previous_response_id"):
        if previous not in memory.responses:
            raise Refused(
                f"Previous response with id '{previous}' not found.",
                code="previous_response_not_found",
            )
        return memory.responses[previous] + items
    if conversation := body.get("conversation"):
        name = conversation if isinstance(conversation, str) else conversation["id"]
        return memory.conversations.setdefault(name, []) + items
    return items


def check(body: Json, items: list[Json], memory: Memory) -> None:
    """Refuse a request as OpenAI would."""
    for rule in RULES:
        for message in rule(body, items, memory):
            raise Refused(message)


def _pairs(_body: Json, items: list[Json], _memory: Memory) -> Iterator[str]:
    kinds = ("function_call", "custom_tool_call")
    called_ids = [item["call_id"] for item in items if item.get("type") in kinds]
    outputs = [f"{kind}_output" for kind in kinds]
    answered_ids = [item["call_id"] for item in items if item.get("type") in outputs]
    for call_id in called_ids:
        if call_id not in answered_ids:
            yield f"No tool output found for function call {call_id}."
    for call_id in answered_ids:
        if call_id not in called_ids:
            yield f"No tool call found for function call output with call_id {call_id}."
        if answered_ids.count(call_id) > 1:
            yield f"Duplicate tool output for function call {call_id}."


def _short_ids(body: Json, _items: list[Json], _memory: Memory) -> Iterator[str]:
    for number, item in enumerate(body["input"] if isinstance(body["input"], list) else ()):
        if len(item.get("id") or "") > 64:
            yield f"Invalid 'input[{number}].id': string too long. Expected a maximum length of 64."


def _unique_ids(_body: Json, items: list[Json], _memory: Memory) -> Iterator[str]:
    ids = [item["id"] for item in items if item.get("id")]
    for name in {name for name in ids if ids.count(name) > 1}:
        yield f"Duplicate item found with id {name}."


def _reasoning(body: Json, items: list[Json], memory: Memory) -> Iterator[str]:
    ids = [item.get("id") for item in items]
    sent_ids = [item.get("id") for item in body["input"] if isinstance(item, dict)]
    for place, item in enumerate(items):
        name = item.get("id")
        if item.get("type") == "reasoning":
            is_sealed = body.get("store") is not False or name not in sent_ids
            if not is_sealed and item.get("encrypted_content") != f"sealed:{name}":
                yield f"Item '{name}' not found. Items are not persisted when `store` is false."
            next_id = ids[place + 1] if place + 1 < len(ids) else None
            if next_id != memory.following.get(name or "", next_id):
                yield f"Item '{name}' of type 'reasoning' lacks its required following item."
        required = memory.reasoning_of.get(name or "")
        if required and required not in ids[:place]:
            yield (
                f"Item '{name}' of type '{item['type']}' was provided without its required "
                f"'reasoning' item: '{required}'."
            )


def _encryption(body: Json, _items: list[Json], _memory: Memory) -> Iterator[str]:
    if "reasoning.encrypted_content" in (body.get("include") or ()) and not reasons(body["model"]):
        yield "Encrypted content is not supported with this model."


def reasons(model: str) -> bool:
    """Whether a model reasons."""
    return model.startswith(("o", "gpt-5"))


def _tool_choice(body: Json, _items: list[Json], _memory: Memory) -> Iterator[str]:
    choice = body.get("tool_choice")
    names = [tool.get("name") for tool in body.get("tools") or ()]
    if (
        isinstance(choice, dict)
        and choice.get("type") == "function"
        and choice["name"] not in names
    ):
        yield f"Tool choice '{choice['name']}' not found in 'tools' parameter."


def _strict_tools(body: Json, _items: list[Json], _memory: Memory) -> Iterator[str]:
    for tool in body.get("tools") or ():
        if tool.get("type") == "function" and tool.get("strict"):
            schema = tool["parameters"]
            for fault in strict_faults(schema, ()):
                yield f"Invalid schema for function '{tool['name']}': {fault}"
            if schema.get("type") != "object":
                yield f"Invalid schema for function '{tool['name']}': type must be 'object'"


_ALLOWED = frozenset(
    [
        *("type", "enum", "const", "anyOf", "$ref", "$defs", "properties", "required", "items"),
        *("additionalProperties", "description", "title", "pattern", "format", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"),
    ]
)
_FORMATS = frozenset("date-time time date duration email hostname ipv4 ipv6 uuid".split())  # noqa: SIM905


def strict_faults(schema: Any, path: tuple[str, ...]) -> Iterator[str]:
    """What strict mode refuses in a schema."""
    place = f"In context={path}, "
    if schema.keys() - _ALLOWED:
        yield f"{place}{sorted(schema.keys() - _ALLOWED)} is not permitted."
    if not schema.keys() & {"type", "enum", "const", "anyOf", "$ref"}:
        yield f"{place}schema must have a 'type' key."
    if "$ref" in schema and schema.keys() - {"$ref", "$defs"}:
        yield f"{place}$ref cannot have keywords {sorted(schema.keys() - {'$ref'})}."
    if schema.get("format", "date") not in _FORMATS:
        yield f"{place}'{schema['format']}' is not a valid format."
    if "(?" in schema.get("pattern", ""):
        yield f"{place}regex lookaround is not supported."
    yield from _structure_faults(schema, path, place)


def _structure_faults(schema: Json, path: tuple[str, ...], place: str) -> Iterator[str]:
    kinds = schema.get("type", ())
    kinds = (kinds,) if isinstance(kinds, str) else kinds
    if "object" in kinds:
        if schema.get("additionalProperties") is not False:
            yield f"{place}'additionalProperties' is required to be supplied and to be false."
        if set(schema.get("required", ())) != schema.get("properties", {}).keys():
            yield f"{place}'required' is required to be an array including every key in properties."
    if "array" in kinds and "items" not in schema:
        yield f"{place}array schema missing items."
    for name, part in schema.get("properties", {}).items():
        yield from strict_faults(part, (*path, "properties", name))
    for name, part in schema.get("$defs", {}).items():
        yield from strict_faults(part, (*path, "$defs", name))
    for number, part in enumerate(schema.get("anyOf", ())):
        yield from strict_faults(part, (*path, "anyOf", str(number)))
    if "items" in schema:
        yield from strict_faults(schema["items"], (*path, "items"))


RULES: tuple[Callable[[Json, list[Json], Memory], Iterator[str]], ...] = (
    _pairs,
    _short_ids,
    _unique_ids,
    _reasoning,
    _encryption,
    _tool_choice,
    _strict_tools,
)
