"""Answers of the model's service, whatever objects they come as, read into one type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NamedTuple

from bighub_langgraph.core.jsonable import MAPPING, copy_jsonable, to_jsonable
from bighub_langgraph.openai.errors import ProviderResponseError

__all__ = [
    "FunctionCall",
    "Reply",
    "attribute",
    "id_of_call",
    "in_json",
    "read_reply",
    "serialized",
]

Json = dict[str, Any]


class FunctionCall(NamedTuple):
    """A tool call as the model asks for it; the arguments are not yet read."""

    call_id: str
    name: str
    arguments: Any


@dataclass(frozen=True)
class Reply:
    """One answer of the model.

    Attributes:
        status: completed, incomplete, failed or another word of the service's; completed if it says
            none.
        items: Every output item as plain JSON, fit to be sent again in the next request's input.
        reason: Why an answer is incomplete.
    """

    id: str | None
    status: str
    items: Sequence[Json]
    text: str
    refusal: str = ""
    reason: str = ""
    error: Json | None = None
    usage: Json = field(default_factory=dict)

    @property
    def calls(self) -> list[FunctionCall]:
        """The tool calls, in order."""
        return [
            FunctionCall(
                id_of_call(item),
                str(item.get("name")),
                item.get("arguments"),
            )
            for item in self.items
            if item.get("type") == "function_call"
        ]

    @property
    def asks(self) -> bool:
        """Whether it wants anything: that a tool runs, or that a hosted server may run one."""
        kinds = [item.get("type") for item in self.items]
        return "function_call" in kinds or "mcp_approval_request" in kinds

    @property
    def approval_requests(self) -> list[Json]:
        """What a hosted MCP server asks to be allowed."""
        return [item for item in self.items if item.get("type") == "mcp_approval_request"]

    @property
    def whole(self) -> bool:
        """Whether its calls may run: a call in an answer that was cut off may be cut off itself.

        A server that gives no status may still say why it stopped.
        """
        cut_off = [
            item
            for item in self.items
            if item.get("type") == "function_call"
            and (item.get("status") or "completed") != "completed"
        ]
        return self.status == "completed" and not (cut_off or self.reason or self.error)


def id_of_call(item: Json) -> str:
    """The id that tells a call of one answer from the others."""
    return str(item.get("call_id") or item.get("id") or "")


def read_reply(response: Any) -> Reply:
    """Read a response; one without a status is complete, and what has no output is no response."""
    id_, status, output, text, details, error, usage = _read(response, *_OF_A_RESPONSE)
    if output is None and text is None:
        raise ProviderResponseError(
            f"the model's service answered {response!r:.200}, not a response"
        )
    items = [in_json(item) for item in output or ()]
    blocks = _blocks(items)
    return Reply(
        id=id_,
        status=status or "completed",
        items=items,
        text=text or _said(blocks, "text"),
        refusal=_said(blocks, "refusal") if blocks else "",
        reason=attribute(details, "reason") or "",
        error=_mapping(error),
        usage=_mapping(usage) or {},
    )


_OF_A_RESPONSE = (
    *("id", "status", "output", "output_text"),
    *("incomplete_details", "error", "usage"),
)


def attribute(thing: Any, name: str) -> Any:
    """Take a field of an object or of a mapping; None where there is none."""
    return None if thing is None else _read(thing, name)[0]


def _read(thing: Any, *names: str) -> list[Any]:
    if isinstance(thing, MAPPING):
        return [thing.get(name) for name in names]
    return [getattr(thing, name, None) for name in names]


def in_json(thing: Any) -> Any:
    """Say an object of an SDK in plain JSON, as it came over the wire."""
    if type(thing) in _WORDS:
        return thing if type(thing) is str and thing.isascii() else to_jsonable(thing)
    if type(thing) is not dict and callable(dump := getattr(thing, "model_dump", None)):
        # Fields the service did not send, or that the SDK adds itself, are refused when they are
        # sent back.
        return _without_parsed(dump(mode="json", by_alias=True, exclude_unset=True))
    if isinstance(thing, MAPPING):
        return _members(thing)
    if isinstance(thing, list | tuple):
        return [in_json(part) for part in thing]
    if hasattr(thing, "__dict__"):
        return _members(vars(thing))
    return to_jsonable(thing)


def _without_parsed(item: Any) -> Any:
    """An output item without what `responses.parse` adds to it and to its content."""
    if not isinstance(item, dict):
        return item
    kept = {name: part for name, part in item.items() if name not in _PARSED}
    if isinstance(content := kept.get("content"), list):
        kept["content"] = [_without_parsed(block) for block in content]
    return kept


_PARSED = frozenset({"parsed", "parsed_arguments"})


def _members(thing: Mapping[Any, Any]) -> Json:
    return {
        str(name): part if type(part) is str and part.isascii() else in_json(part)
        for name, part in thing.items()
    }


_WORDS = frozenset({str, int, float, bool, NoneType})


def serialized(reply: Reply) -> Json:
    """The model's answer in the published adapter's words."""
    return {
        "response_id": reply.id,
        "output_text": reply.text,
        "output": copy_jsonable(list(reply.items)),
    }


def _mapping(thing: Any) -> Json | None:
    if thing is None:
        return None
    said = in_json(thing)
    return said if isinstance(said, dict) else None


def _blocks(items: Sequence[Json]) -> list[Json]:
    """What the messages among some items are made of."""
    contents = [item.get("content") for item in items if item.get("type", "message") == "message"]
    return [block for content in contents for block in content or () if isinstance(block, dict)]


def _said(blocks: Sequence[Json], name: str) -> str:
    return "".join([block[name] for block in blocks if isinstance(block.get(name), str)])
