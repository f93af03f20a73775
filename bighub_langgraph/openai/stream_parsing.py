"""Parse the events of a streamed response into ours."""

from collections.abc import Callable
from typing import Any

from bighub_langgraph.openai.errors import StreamInterruptedError
from bighub_langgraph.openai.response_parsing import (
    RESPONSE_FIELDS,
    TOOL_CALLS,
    ModelResponse,
    describe_error,
    get_field,
    get_fields,
    get_text,
    parse_response,
    to_item,
)

Json = dict[str, Any]


class StreamParser:
    """Parses the events of one streamed response.

    Attributes:
        calls: Call id and name of each function call, by the id of its item.
        response: The complete response, once it has arrived.
    """

    def __init__(self) -> None:
        self.calls: dict[str, Json] = {}
        self.response: ModelResponse | None = None
        self._response_id: str | None = None
        # What was streamed, by its place: some gateways leave it out of the final response.
        self._items: dict[tuple[Any, int], Json] = {}
        self._done_places: set[tuple[Any, int]] = set()
        self._texts: dict[tuple[Any, int], str] = {}

    def parse(self, raw: Any) -> Json | None:
        """Return a raw event as one of ours; None for an event that users do not need.

        Raises:
            StreamInterruptedError: The event reports an error.
        """
        kind, response, item = get_fields(raw, "type", "response", "item")
        if kind == "error":
            message = describe_error(get_field(raw, "error") or raw)
            raise StreamInterruptedError(f"the stream reports an error: {message}")
        # Later events repeat neither the response's id nor the call's id and name.
        self._response_id = get_field(response, "id") or self._response_id
        if get_field(item, "type") == "function_call" and (item_id := get_field(item, "id")):
            self.calls[item_id] = {name: get_field(item, name) for name in ("call_id", "name")}
        self._keep(kind, raw, item)
        if kind in _FINAL_EVENTS:
            self.response = self._parse_final(_FINAL_EVENTS[kind], response)
        if kind not in _EVENTS:
            return None
        response_id = get_field(raw, "response_id") or self._response_id
        return {**_EVENTS[kind](raw, self), "response_id": response_id}

    def _keep(self, kind: str, raw: Any, item: Any) -> None:
        match kind:
            case "response.output_item.added" | "response.output_item.done":
                if not isinstance(new_item := to_item(item), dict):
                    return
                is_done = kind.endswith("done")
                if not is_done and new_item.get("type") in TOOL_CALLS:  # incomplete until it ends
                    new_item["status"] = "in_progress"
                place = self._find_place(raw, new_item)
                self._items[place] = new_item
                if is_done:
                    self._done_places.add(place)
            case "response.function_call_arguments.done":
                place = self._find_place(raw, {})
                if place in self._items:
                    arguments = get_field(raw, "arguments")
                    self._items[place] |= {"arguments": arguments, "status": "completed"}
            case "response.output_text.delta":
                place = self._find_place(raw, {})
                self._texts[place] = self._texts.get(place, "") + (get_field(raw, "delta") or "")

    def _find_place(self, raw: Any, item: Json) -> tuple[Any, int]:
        """Return the place of an item among those that were streamed, or a new one.

        Some gateways give every item one index or id, or none: an item takes the place of no other
        call, and of no item that is done.
        """
        index, item_id = get_fields(raw, "output_index", "item_id")
        item_id, call_id = item.get("id") or item_id, item.get("call_id")
        same_call = {
            place: other
            for place, other in self._items.items()
            if call_id is None or other.get("call_id") in (None, call_id)
        }
        for place, other in same_call.items():
            if item_id is not None and other.get("id") == item_id:
                return place
        for place in same_call:
            if place[0] == index and not (item and place in self._done_places):
                return place
        return index, len(self._items)

    def _parse_final(self, status: str | None, response: Any) -> ModelResponse:
        """Parse the final response; where it lacks items that were streamed, it gets them."""
        fields = dict(zip(RESPONSE_FIELDS, get_fields(response, *RESPONSE_FIELDS), strict=True))
        output = fields["output"] or ()
        items = [self._with_text(place) for place in self._items]
        if not output or len(output) < sum(item.get("status") != "in_progress" for item in items):
            fields["output"] = items
        fields["output_text"] = "".join(self._texts.values()) or get_text(response)
        fields["status"] = status or fields["status"] or "completed"
        fields["id"] = fields["id"] or self._response_id
        return parse_response(fields)

    def _with_text(self, place: tuple[Any, int]) -> Json:
        item, text = self._items[place], self._texts.get(place)
        if not text or item.get("content"):
            return item
        block = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
        return {**item, "status": "completed", "content": [block]}


def _item_added_event(raw: Any, _: StreamParser) -> Json:
    item = get_field(raw, "item")
    names = {name: value for name in ("call_id", "name") if (value := get_field(item, name))}
    return {
        "type": "output_item_added",
        "item_type": get_field(item, "type"),
        "output_index": get_field(raw, "output_index"),
        **names,
    }


def _failed_event(raw: Any, _: StreamParser) -> Json:
    error = get_field(raw, "error") or get_field(get_field(raw, "response"), "error")
    return {"type": "response_failed", "error": to_item(error) if error else None}


def _done_event(raw: Any, _: StreamParser) -> Json:
    status = get_field(get_field(raw, "response"), "status")
    return {"type": "response_done", "status": status or "completed"}


def _text_event(kind: str, name: str) -> Callable[[Any, StreamParser], Json]:
    return lambda raw, _: {"type": kind, name: get_field(raw, name) or ""}


def _arguments_event(kind: str, name: str) -> Callable[[Any, StreamParser], Json]:
    def build(raw: Any, parser: StreamParser) -> Json:
        call = parser.calls.get(get_field(raw, "item_id") or "", {})
        return {
            "type": kind,
            name: get_field(raw, name) or "",
            "call_id": get_field(raw, "call_id") or call.get("call_id"),
            "name": get_field(raw, "name") or call.get("name"),
            "output_index": get_field(raw, "output_index"),
        }

    return build


# With the status that the event says by itself, whatever its response says.
_FINAL_EVENTS = {
    "response.completed": None,
    "response.done": None,
    "response.incomplete": "incomplete",
    "response.failed": "failed",
}

_EVENTS: dict[str, Callable[[Any, StreamParser], Json]] = {
    "response.output_text.delta": _text_event("llm_delta", "delta"),
    "response.output_text.done": _text_event("llm_text_done", "text"),
    "response.refusal.delta": _text_event("refusal_delta", "delta"),
    "response.output_item.added": _item_added_event,
    "response.function_call_arguments.delta": _arguments_event("function_call_args_delta", "delta"),
    "response.function_call_arguments.done": _arguments_event(
        "function_call_args_done", "arguments"
    ),
    "response.completed": _done_event,
    "response.done": _done_event,
    "response.incomplete": _done_event,
    "response.failed": _failed_event,
}
