"""Answers of the model's service, whatever objects they come as, read into one type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bighub_langgraph.core.plain import plain
from bighub_langgraph.openai.errors import ProviderResponseError

__all__ = ["FunctionCall", "Reply", "attribute", "in_json", "read_reply", "serialized"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A tool call as the model asks for it; the arguments are not yet read."""

    call_id: str
    name: str
    arguments: Any


@dataclass(frozen=True, slots=True)
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
                str(item.get("call_id") or item.get("id") or ""),
                str(item.get("name")),
                item.get("arguments"),
            )
            for item in self.items
            if item.get("type") == "function_call"
        ]

    @property
    def approval_requests(self) -> list[Json]:
        """What a hosted MCP server asks to be allowed."""
        return [item for item in self.items if item.get("type") == "mcp_approval_request"]

    @property
    def whole(self) -> bool:
        """Whether its calls may run: a call in an answer that was cut off may be cut off itself."""
        return self.status == "completed" and all(
            (item.get("status") or "completed") == "completed"
            for item in self.items
            if item.get("type") == "function_call"
        )


def read_reply(response: Any) -> Reply:
    """Read a response; one without a status is complete, and what has no output is no response."""
    if attribute(response, "output") is None and attribute(response, "output_text") is None:
        raise ProviderResponseError(
            f"the model's service answered {response!r:.200}, not a response"
        )
    items = [in_json(item) for item in attribute(response, "output") or ()]
    return Reply(
        id=attribute(response, "id"),
        status=attribute(response, "status") or "completed",
        items=items,
        text=attribute(response, "output_text") or _text(items),
        refusal="".join(_parts(items, "refusal")),
        reason=attribute(attribute(response, "incomplete_details"), "reason") or "",
        error=_mapping(attribute(response, "error")),
        usage=_mapping(attribute(response, "usage")) or {},
    )


def attribute(thing: Any, name: str) -> Any:
    """Take a field of an object or of a mapping; None where there is none."""
    return thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name, None)


def in_json(thing: Any) -> Any:
    """Say an object of an SDK in plain JSON, as it came over the wire."""
    if callable(dump := getattr(thing, "model_dump", None)):
        # Fields the service did not send, or that the SDK adds itself, are refused when they are
        # sent back.
        exclude = getattr(thing, "__api_exclude__", None)
        return dump(mode="json", by_alias=True, exclude_unset=True, exclude=exclude)
    if isinstance(thing, Mapping):
        return {str(name): in_json(part) for name, part in thing.items()}
    if isinstance(thing, list | tuple):
        return [in_json(part) for part in thing]
    if hasattr(thing, "__dict__"):
        return in_json(vars(thing))
    return plain(thing)


def serialized(reply: Reply) -> Json:
    """The model's answer in the published adapter's words."""
    return {
        "response_id": reply.id,
        "output_text": reply.text,
        "output": [plain(item) for item in reply.items],
    }


def _mapping(thing: Any) -> Json | None:
    said = in_json(thing)
    return said if isinstance(said, dict) else None


def _text(items: Sequence[Json]) -> str:
    return "".join(_parts(items, "text"))


def _parts(items: Sequence[Json], name: str) -> list[str]:
    blocks = [block for item in items for block in _content(item)]
    return [block[name] for block in blocks if isinstance(block.get(name), str)]


def _content(item: Json) -> list[Json]:
    content = item.get("content") if item.get("type", "message") == "message" else None
    return [block for block in content or () if isinstance(block, dict)]
