"""The events of a streamed answer, from the service's words to ours."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bighub_langgraph.openai.replies import attribute, in_json

__all__ = ["Stream", "translated"]

Json = dict[str, Any]


@dataclass(slots=True)
class Stream:
    """What earlier events of a stream said that later ones leave out.

    Attributes:
        response_id: From `response.created`; no other event repeats it.
        calls: Call id and name of each function call, by its item's id.
        final: The whole response, once it is there.
    """

    response_id: str | None = None
    calls: dict[str, Json] = field(default_factory=dict)
    final: Any = None


def translated(raw: Any, stream: Stream) -> Json | None:
    """Say a raw event in our words; None for events that only the service cares about."""
    _remember(raw, stream)
    say = _EVENTS.get(attribute(raw, "type"))
    if say is None:
        return None
    response_id = attribute(raw, "response_id") or stream.response_id
    return {**say(raw, stream), "response_id": response_id}


def _remember(raw: Any, stream: Stream) -> None:
    response = attribute(raw, "response")
    stream.response_id = attribute(response, "id") or stream.response_id
    if attribute(raw, "type") in _FINAL:
        stream.final = response
    item = attribute(raw, "item")
    if attribute(item, "type") == "function_call" and attribute(item, "id"):
        named = {"call_id": attribute(item, "call_id"), "name": attribute(item, "name")}
        stream.calls[attribute(item, "id")] = named


_FINAL = ("response.completed", "response.done", "response.incomplete", "response.failed")


def _call(raw: Any, stream: Stream) -> Json:
    known = stream.calls.get(attribute(raw, "item_id") or "", {})
    return {
        "call_id": attribute(raw, "call_id") or known.get("call_id"),
        "name": attribute(raw, "name") or known.get("name"),
        "output_index": attribute(raw, "output_index"),
    }


def _item_added(raw: Any, _stream: Stream) -> Json:
    item = attribute(raw, "item")
    named = {name: attribute(item, name) for name in ("call_id", "name") if attribute(item, name)}
    place = {"item_type": attribute(item, "type"), "output_index": attribute(raw, "output_index")}
    return {"type": "output_item_added", **place, **named}


def _failed(raw: Any, _stream: Stream) -> Json:
    error = attribute(raw, "error") or attribute(attribute(raw, "response"), "error")
    return {"type": "response_failed", "error": in_json(error) if error else None}


def _done(raw: Any, _stream: Stream) -> Json:
    status = attribute(attribute(raw, "response"), "status")
    return {"type": "response_done", "status": status or "completed"}


def _text(kind: str, name: str) -> Callable[[Any, Stream], Json]:
    return lambda raw, _: {"type": kind, name: attribute(raw, name) or ""}


def _arguments(kind: str, name: str) -> Callable[[Any, Stream], Json]:
    return lambda raw, stream: {
        "type": kind,
        name: attribute(raw, name) or "",
        **_call(raw, stream),
    }


_EVENTS: dict[str, Callable[[Any, Stream], Json]] = {
    "response.output_text.delta": _text("llm_delta", "delta"),
    "response.output_text.done": _text("llm_text_done", "text"),
    "response.refusal.delta": _text("refusal_delta", "delta"),
    "response.output_item.added": _item_added,
    "response.function_call_arguments.delta": _arguments("function_call_args_delta", "delta"),
    "response.function_call_arguments.done": _arguments("function_call_args_done", "arguments"),
    "response.completed": _done,
    "response.done": _done,
    "response.incomplete": _done,
    "response.failed": _failed,
}
