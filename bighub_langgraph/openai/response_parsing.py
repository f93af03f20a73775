"""Parse the responses that clients of the Responses API return, of any type."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import NoneType
from typing import Any, NamedTuple

from bighub_langgraph.core.jsonable import MAPPING, copy_jsonable, replace_surrogates, to_jsonable
from bighub_langgraph.core.redaction import redact_text
from bighub_langgraph.openai.errors import ProviderResponseError

Json = dict[str, Any]

_EMPTY: Json = {}  # a default; no one changes it


class ModelResponse(NamedTuple):
    """One response of the model.

    Attributes:
        status: completed, incomplete, failed or another status of the service; completed where it
            sends none.
        items: The output items as JSON, ready for the input of the next request.
        incomplete_reason: Why the response is incomplete.
        error: The service's error, where the response failed.
        usage: Token counts.
    """

    id: str | None
    status: str
    items: Sequence[Json]
    text: str
    refusal: str = ""
    incomplete_reason: str = ""
    error: Json | None = None
    usage: Json = _EMPTY

    @property
    def tool_calls(self) -> list[Json]:
        """The items that call a function or a custom tool, in order."""
        return [item for item in self.items if item.get("type") in TOOL_CALLS]

    @property
    def approval_requests(self) -> list[Json]:
        """The items in which a hosted MCP server requests an approval."""
        return [item for item in self.items if item.get("type") == "mcp_approval_request"]

    @property
    def is_complete(self) -> bool:
        """Whether the calls may run. In a response that was cut off, a call may be cut off too.

        A server that sends no status may still send a reason or an error.
        """
        if self.status != "completed" or self.incomplete_reason or self.error:
            return False
        return all(
            (item.get("status") or "completed") == "completed"
            for item in self.items
            if item.get("type") in TOOL_CALLS
        )


def call_id_of(item: Json) -> str:
    """Return the id by which the output of a call refers to it."""
    return str(item.get("call_id") or item.get("id") or "")


def parse_response(response: Any) -> ModelResponse:
    """Parse a response: an object of OpenAI's SDK, a mapping, or any object with such attributes.

    Raises:
        ProviderResponseError: It has neither an output nor a status, so it is not a response.
    """
    id_, status, output, details, error, usage = get_fields(response, *RESPONSE_FIELDS)
    items = [item for item in to_items(output or ()) if isinstance(item, dict)]
    output_text = refusal = ""
    for item in items:
        if item.get("type", "message") == "message":
            for block in _content_blocks(item.get("content")):
                output_text += str(block.get("text") or "")
                refusal += str(block.get("refusal") or "")
    text = output_text or get_text(response)
    error = to_item(error) if error else None
    if output is None and text is None and status is None:
        raise ProviderResponseError(
            f"the model's service answered with an error, not a response: {describe_error(error)}"
            if error
            else f"the model's service answered {response!r:.200}, not a response"
        )
    usage = to_item(usage) if usage else {}
    return ModelResponse(
        id=None if id_ is None else str(id_),
        status=str(status or "completed"),
        items=items,
        text=text or "",
        refusal=refusal,
        incomplete_reason=(_incomplete_reason(details) if details else "") or _unanswerable(items),
        error=error if isinstance(error, dict) or error is None else {"message": error},
        usage=usage if isinstance(usage, dict) else {},
    )


def _content_blocks(content: Any) -> list[Json]:
    """Return the blocks of a message; some servers send a text for them."""
    blocks = [content] if isinstance(content, str) else content
    return [
        {"type": "output_text", "text": block} if isinstance(block, str) else block
        for block in (blocks if isinstance(blocks, list) else ())
        if isinstance(block, str | dict)
    ]


def _incomplete_reason(details: Any) -> str:
    reason = get_field(details, "reason")
    return str(reason or (details if isinstance(details, str) else ""))


def _unanswerable(items: Sequence[Json]) -> str:
    """Return why a run cannot go on after these items; "" where it can."""
    ids = {item.get("call_id") for item in items if str(item.get("type")).endswith("call_output")}
    kinds: list[str] = []
    for item in items:
        kind = str(item.get("type") or "message")
        if kind == "message":
            # It follows what the service did by itself, but not what it asks a client for.
            kinds = [kind for kind in kinds if kind in _CLIENT_CALLS]
        elif kind not in _ANSWERED_TYPES and item.get("call_id", kind) not in ids:
            kinds.append(kind)
    return f"nothing here answers {' and '.join(dict.fromkeys(kinds))}" if kinds else ""


TOOL_CALLS = ("function_call", "custom_tool_call")
# Calls that are made for a client to run.
_CLIENT_CALLS = ("computer_call", "local_shell_call", "shell_call", "apply_patch_call")
# Items that need no answer, or have one from us.
_ANSWERED_TYPES = {
    *TOOL_CALLS,
    *("mcp_approval_request", "mcp_list_tools", "mcp_call", "reasoning", "compaction"),
    *("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
}

RESPONSE_FIELDS = ("id", "status", "output", "incomplete_details", "error", "usage")


def get_text(response: Any) -> Any:
    """Return the `output_text` of a response; None where it has none."""
    # A property of the SDK's class, which raises where the output or a content is null.
    with suppress(TypeError):
        return get_field(response, "output_text")
    return None


def describe_error(error: Any) -> str:
    """Return what a service's error says."""
    message = get_field(error, "message") or get_field(error, "code") or error
    return redact_text(str(message))


def serialize_response(response: ModelResponse) -> Json:
    """Return the response in the form of the published adapter."""
    return {
        "response_id": response.id,
        "output_text": response.text,
        "output": copy_jsonable(list(response.items)),
    }


def is_response(answer: Any) -> bool:
    """Whether a client that was asked to stream returned the complete response instead."""
    if hasattr(answer, "__next__") or hasattr(answer, "__anext__"):
        return False
    fields = get_fields(answer, "output", "status")
    return isinstance(answer, MAPPING) or any(field is not None for field in fields)


def get_field(source: Any, name: str) -> Any:
    """Return a field of a mapping or an attribute of an object; None where there is none."""
    return None if source is None else get_fields(source, name)[0]


def get_fields(source: Any, *names: str) -> list[Any]:
    """Return fields like `get_field`, of a source that is not None."""
    if isinstance(source, MAPPING):
        return [source.get(name) for name in names]
    values = [getattr(source, name, None) for name in names]
    # What can be called is no data: a mock makes up each attribute that it was not given.
    return [None if callable(value) else value for value in values]


def to_items(values: Iterable[Any]) -> list[Any]:
    """Return items of any client as JSON, as they came over the wire."""
    return list(map(to_item, values))


def to_item(value: Any) -> Any:
    """Return one item of any client as JSON, as it came over the wire."""
    try:
        return _to_json(value)
    except RecursionError:
        return to_jsonable(value)


_LEAVES = frozenset({str, bool, int, float, NoneType})


def _to_json(value: Any) -> Any:
    # A lone surrogate has no UTF-8, and a request that holds one cannot be sent.
    if (kind := type(value)) is dict:
        # ASCII text is by far the most common; a call for each is felt in `benchmarks/facade`.
        return {
            name if type(name) is str and name.isascii() else replace_surrogates(str(name)): (
                member if type(member) is str and member.isascii() else _to_json(member)
            )
            for name, member in value.items()
        }
    if kind is list:
        return [_to_json(member) for member in value]
    if kind in _LEAVES:
        return to_jsonable(value)
    if callable(getattr(value, "model_dump", None)) and isinstance(
        fields := _dump_model(value), dict
    ):
        value = fields
    elif isinstance(value, Mapping):
        value = dict(value)
    elif hasattr(value, "__dict__"):
        value = {name: field for name, field in vars(value).items() if not name.startswith("_")}
    else:
        return to_jsonable(value)
    return _to_json(value)


def _dump_model(model: Any) -> Any:
    # The service refuses fields that it did not send, such as those that `responses.parse` adds.
    item = model.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    if isinstance(item, dict):
        for part in (item, *(item.get("content") or ())):
            if isinstance(part, dict):
                part.pop("parsed", None)
                part.pop("parsed_arguments", None)
    return item
