"""Scripted answers of the model, and the events in which the service streams them."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
_numbers = itertools.count(1)


@dataclass
class Answer:
    """What the model says once.

    Attributes:
        items: Output items without ids.
        cut_after: Breaks the connection after so many events of the stream.
        ends_after: Ends the stream, without a word, after so many events.
        failure: An HTTP status and message instead of an answer.
        final: Fields that the response has at last instead; `ABSENT` ones it lacks.
        left_out: The types of events that a stream lacks.
    """

    items: list[Json] = field(default_factory=list)
    status: str = "completed"
    reason: str | None = None
    error: Json | None = None
    cut_after: int | None = None
    ends_after: int | None = None
    failure: tuple[int, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    final: Json = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


ABSENT = object()


def says(text: str, **options: Any) -> Answer:
    """A message."""
    return Answer([_message(_text(text))], **options)


def refuses(text: str) -> Answer:
    """A refusal."""
    return Answer([_message({"type": "refusal", "refusal": text})])


def calls(*wanted: tuple[str, Any], text: str = "", **options: Any) -> Answer:
    """Calls of functions, each a name with arguments; a text is sent as it is."""
    items = [_message(_text(text))] if text else []
    return Answer(items + [_call(name, arguments) for name, arguments in wanted], **options)


def fails(status: int, message: str = "no", **headers: str) -> Answer:
    """An error instead of an answer."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(failure=(status, message), headers=names)


def number(kind: str) -> str:
    """A new id."""
    return f"{kind}_{next(_numbers)}"


def response(answer: Answer, body: Json, *, reasons: bool) -> Json:
    """The response object, as the service gives it."""
    output = [{"id": number(_ID.get(item["type"], "item")), **item} for item in answer.items]
    if reasons and answer.items:
        output.insert(0, _reasoning(body))
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "total_tokens": 15,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }
    return {
        "id": number("resp"),
        "object": "response",
        "created_at": 1_760_000_000,
        "status": answer.status,
        "model": body["model"],
        "output": output,
        "error": answer.error,
        "incomplete_details": {"reason": answer.reason} if answer.reason else None,
        "instructions": body.get("instructions"),
        "metadata": {},
        "parallel_tool_calls": True,
        "temperature": body.get("temperature", 1.0),
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools", []),
        "top_p": 1.0,
        "usage": usage,
    }


def events(response_: Json, answer: Answer) -> Iterator[Json]:
    """The events in which a response is streamed."""
    every = [event for event in _events(response_, answer) if event["type"] not in answer.left_out]
    for place, event in enumerate(every):
        yield {"sequence_number": place, **event}


def _events(response_: Json, answer: Answer) -> Iterator[Json]:
    start_response = {**response_, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": start_response}
    yield {"type": "response.in_progress", "response": start_response}
    for index, item in enumerate(response_["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        yield {
            "type": "response.output_item.added",
            "output_index": index,
            "item": _started_item(item),
        }
        if item["type"] == "function_call":
            yield from _call_events(item, place)
        for number_, block in enumerate(item.get("content") or ()):
            yield from _block_events(block, {**place, "content_index": number_})
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {
        "type": f"response.{response_['status']}",
        "response": final_response(response_, answer),
    }


def final_response(response_: Json, answer: Answer) -> Json:
    """The response as it is sent at last."""
    final = {**response_, **answer.final}
    return {name: value for name, value in final.items() if value is not ABSENT}


def _started_item(item: Json) -> Json:
    empty: Json = {"function_call": {"arguments": ""}, "message": {"content": []}}
    return {**item, "status": "in_progress", **empty.get(item["type"], {})}


def _call_events(item: Json, place: Json) -> Iterator[Json]:
    for piece in _pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", "delta": piece, **place}
    done_fields = {"name": item["name"], "arguments": item["arguments"], **place}
    yield {"type": "response.function_call_arguments.done", **done_fields}


def _block_events(block: Json, place: Json) -> Iterator[Json]:
    name, kind = ("text", "output_text") if "text" in block else ("refusal", "refusal")
    yield {"type": "response.content_part.added", "part": {**block, name: ""}, **place}
    extra: Json = {"logprobs": []} if name == "text" else {}
    for piece in _pieces(block[name]):
        yield {"type": f"response.{kind}.delta", "delta": piece, **extra, **place}
    yield {"type": f"response.{kind}.done", name: block[name], **extra, **place}
    yield {"type": "response.content_part.done", "part": block, **place}


def _pieces(text: str, size: int = 6) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def _text(text: str) -> Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(block: Json) -> Json:
    return {"type": "message", "role": "assistant", "status": "completed", "content": [block]}


def _call(name: str, arguments: Any) -> Json:
    arguments_text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call_id = number("call")
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": name,
        "arguments": arguments_text,
        "status": "completed",
    }


def _reasoning(body: Json) -> Json:
    name = number("rs")
    item: Json = {"type": "reasoning", "id": name, "summary": []}
    if "reasoning.encrypted_content" in (body.get("include") or ()):
        item["encrypted_content"] = f"sealed:{name}"
    return item


_ID = {
    "message": "msg",
    "function_call": "fc",
    "mcp_approval_request": "mcpr",
    "web_search_call": "ws",
    "mcp_call": "mcp",
    "mcp_list_tools": "mcpl",
}
