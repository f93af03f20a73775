"""Read recordings: compact, OpenAI chat messages, OpenAI Responses items, results of tau-bench."""

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bighub_langgraph.cli.replay.recording import InvalidEntry, RecordedCall, Steps, Trajectory

LABELS = ("state_changing", "error", "as_intended")
PART_TYPES = ("function_call", "function_call_output", "reasoning", "message")
# The tools of tau-bench that only read, by their first word. Any other tool changes state.
TAU_BENCH_READS = frozenset(("calculate", "find", "get", "list", "search", "think", "transfer"))
NAME_KEYS = ("trajectory_id", "thread_id", "session_id", "conversation", "id")


class Format(StrEnum):
    """The format of a recording."""

    COMPACT = "compact"
    CHAT = "chat"
    RESPONSES = "responses"
    TAU_BENCH = "tau-bench"


@dataclass(frozen=True, slots=True)
class JsonRecord:
    """A JSON value of a file: a conversation, or one message of it."""

    line: int
    value: Any

    def invalid(self, reason: str) -> InvalidEntry:
        """Report a part of this record that cannot be read."""
        return InvalidEntry(self.line, reason)


def read_steps(text: str, *, name: str, file_format: Format | None = None) -> Steps:
    """Read JSON lines or one JSON document.

    Conversations without a name are called `name` and a number. Without `file_format` the format of
    each conversation is detected.
    """
    for number, record in enumerate(read_records(text), start=1):
        if isinstance(record, InvalidEntry):
            yield record
            continue
        match file_format or detect_format(record.value):
            case Format.COMPACT:
                yield from _read_compact(record, f"{name}-{number}")
            case Format.CHAT:
                messages = _list_in(record.value, "messages")
                items = [item for message in messages for item in _convert_message(message)]
                yield from _read_items(record, items, f"{name}-{number}")
            case Format.RESPONSES:
                yield from _read_items(record, _responses_items(record.value), f"{name}-{number}")
            case Format.TAU_BENCH:
                yield from _read_tau_bench(record, f"{name}-{number}")
            case None:
                yield record.invalid(f"none of the formats {', '.join(Format)}")


def detect_format(value: Any) -> Format | None:
    """Detect a conversation's format."""
    if isinstance(value, Mapping) and isinstance(value.get("calls"), list):
        return Format.COMPACT
    if isinstance(value, Mapping) and isinstance(value.get("traj"), list):
        return Format.TAU_BENCH
    # Responses items may have roles too, but chat messages never have the items' types.
    types = ("function_call", "function_call_output")
    items = _responses_items(value)
    if any(isinstance(item, Mapping) and item.get("type") in types for item in items):
        return Format.RESPONSES
    messages = _list_in(value, "messages")
    has_role = any(isinstance(message, Mapping) and "role" in message for message in messages)
    return Format.CHAT if has_role else None


def _read_compact(record: JsonRecord, name: str) -> Steps:
    """Read `{"trajectory_id": ..., "calls": [{"tool", "arguments", ...}]}`."""
    if not isinstance(record.value, Mapping) or not isinstance(record.value.get("calls"), list):
        yield record.invalid('expected an object with a list "calls"')
        return
    trajectory = Trajectory(str(record.value.get("trajectory_id") or name))
    for number, entry in enumerate(record.value["calls"], start=1):
        if (problem := _find_problem(entry)) is not None:
            yield record.invalid(f"call {number}: {problem}")
            continue
        state_changing, error, as_intended = map(entry.get, LABELS)
        call = trajectory.propose(entry["tool"], entry["arguments"], state_changing=state_changing)
        yield call
        yield from trajectory.complete(call, error=error, as_intended=as_intended)
    yield from trajectory.final_outcomes


def _find_problem(entry: Any) -> str | None:
    if not isinstance(entry, Mapping):
        return "not an object"
    if not isinstance(entry.get("tool"), str) or not entry["tool"]:
        return '"tool" must be the name of a tool'
    if not isinstance(entry.get("arguments"), Mapping):
        return '"arguments" must be an object'
    wrong = (label for label in LABELS if not isinstance(entry.get(label), bool | None))
    return next((f'"{label}" must be true, false or null' for label in wrong), None)


def _read_tau_bench(record: JsonRecord, name: str) -> Steps:
    """Read a result of tau-bench: a call is as intended if it is one of the task's reference calls.

    Source: `historical_trajectories/*.json` of sierra-research/tau-bench.
    """
    result = record.value if isinstance(record.value, Mapping) else {}
    info = result.get("info")
    task = info.get("task") if isinstance(info, Mapping) else None
    references = [
        (action.get("name"), action.get("kwargs"))
        for action in _list_in(task, "actions")
        if isinstance(action, Mapping)
    ]
    items = [item for message in _list_in(result, "traj") for item in _convert_message(message)]
    for item in items:
        if not isinstance(item, dict) or item.get("type") != "function_call":
            continue
        with suppress(TypeError, ValueError):  # reported where the items are read
            tool, arguments = _parse_call(item)
            item["state_changing"] = tool.partition("_")[0] not in TAU_BENCH_READS
            if item["state_changing"] and isinstance(task, Mapping):
                item["as_intended"] = (tool, arguments) in references
    if "task_id" in result:
        name = f"task-{result['task_id']}-{result.get('trial', 0)}"
    yield from _read_items(record, items, name)


def _read_items(record: JsonRecord, items: list[Any], name: str) -> Steps:
    """Read Responses items: `function_call`, and `function_call_output` with the same id."""
    if not items:
        keys = '"messages", "input", "output" or "traj"'
        yield record.invalid(f"expected a list, alone or under {keys}")
        return
    trajectory = Trajectory(_find_name(record.value) or name)
    open_calls: defaultdict[str, deque[tuple[RecordedCall, bool | None]]] = defaultdict(deque)
    for item in items:
        if not isinstance(item, Mapping):
            yield record.invalid("a message or an item is not an object")
            continue
        call_id = str(item.get("call_id"))
        if item.get("type") == "function_call":
            try:
                state_changing = _find_label(item, "state_changing")
                call = trajectory.propose(*_parse_call(item), state_changing=state_changing)
            except (TypeError, ValueError, RecursionError) as error:
                yield record.invalid(f"call {call_id}: {error}")
                continue
            yield call
            open_calls[call_id].append((call, _find_label(item, "as_intended")))
        elif item.get("type") == "function_call_output" and open_calls[call_id]:
            call, as_intended = open_calls[call_id].popleft()
            as_intended = _find_label(item, "as_intended") if as_intended is None else as_intended
            yield from trajectory.complete(call, error=_is_error(item), as_intended=as_intended)
    yield from trajectory.final_outcomes


def _parse_call(item: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    tool = item.get("name")
    if not isinstance(tool, str) or not tool:
        raise ValueError("no name of a tool")
    try:
        arguments = DECODER.decode(item.get("arguments") or "{}")
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"arguments of {tool}: {error}") from error
    if not isinstance(arguments, dict):
        raise TypeError(f"arguments of {tool}: not an object")
    return tool, arguments


def _responses_items(value: Any) -> list[Any]:
    # The model reads `input` before it writes `output`.
    if isinstance(value, list):
        return value
    return _list_in(value, "input") + _list_in(value, "output")


def _convert_message(message: Any) -> Iterator[Any]:
    """Convert a chat message to Responses items."""
    if not isinstance(message, Mapping):
        yield message
    elif message.get("role") == "tool":
        call_id, content = message.get("tool_call_id"), message.get("content")
        yield {**message, "type": "function_call_output", "call_id": call_id, "output": content}
    elif message.get("role") == "assistant":
        for call in _list_in(message, "tool_calls"):
            fields = call if isinstance(call, Mapping) else {}
            function = fields.get("function")
            arguments = function if isinstance(function, Mapping) else {}
            yield {**arguments, "type": "function_call", "call_id": fields.get("id")}
    else:
        yield message


def _list_in(value: Any, key: str) -> list[Any]:
    """Get a list, or an object's list with this key; an empty list if it is neither."""
    items = value.get(key) if isinstance(value, Mapping) else value
    return items if isinstance(items, list) else []


def _find_name(value: Any) -> str | None:
    names = [value.get(key) for key in NAME_KEYS] if isinstance(value, Mapping) else []
    return next((name for name in names if isinstance(name, str) and name), None)


def _is_error(result: Mapping[str, Any]) -> bool:
    """Whether a call failed: by its label, else by how tools usually return an error."""
    if (label := _find_label(result, "error")) is not None:
        return label
    if result.get("status") == "error":
        return True
    text = _read_text(result.get("output")).strip()
    if text.lower().startswith("error"):
        return True
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(content, dict) and bool(content.get("error"))


def _read_text(content: Any) -> str:
    """Get the text of a message: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and "text" in part]
    return "\n".join(text for text in texts if isinstance(text, str))


def _find_label(result: Mapping[str, Any], name: str) -> bool | None:
    label = result.get(name)
    return label if isinstance(label, bool) else None


# -- JSON ------------------------------------------------------------------------------------------


def _reject_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


# Python's default decoder accepts NaN and Infinity, which are not JSON.
DECODER = json.JSONDecoder(parse_constant=_reject_constant)


def read_records(text: str) -> Iterator[JsonRecord | InvalidEntry]:
    """Read JSON lines, or one JSON document; a list of conversations yields a record for each."""
    document = _decode(text, 1)
    if isinstance(document, InvalidEntry):
        entries = _read_lines(text, document)
    elif isinstance(document.value, list):
        entries = list(_read_elements(text))
    else:
        entries = [JsonRecord(1 + text.count("\n", 0, _skip(text, 0)), document.value)]
    records = [entry for entry in entries if isinstance(entry, JsonRecord)]
    if records and all(_is_part(record.value) for record in records):
        # Messages, one a line or in one list, are together one conversation.
        yield from (entry for entry in entries if isinstance(entry, InvalidEntry))
        yield JsonRecord(records[0].line, [record.value for record in records])
    else:
        yield from entries


def _read_lines(text: str, document_error: InvalidEntry) -> list[JsonRecord | InvalidEntry]:
    """Read JSON lines; of a broken document, which has no readable lines, get its one error."""
    # `splitlines` would also split at U+2028, which may occur in a JSON string.
    lines = enumerate(text.split("\n"), start=1)
    entries = [_decode(line, number) for number, line in lines if line.strip()]
    values = [entry.value for entry in entries if isinstance(entry, JsonRecord)]
    is_readable = any(isinstance(value, dict | list) for value in values)
    return entries if is_readable or not entries else [document_error]


def _decode(text: str, line: int) -> JsonRecord | InvalidEntry:
    try:
        return JsonRecord(line, DECODER.decode(text))
    except json.JSONDecodeError as error:
        reason = f"not JSON: {error.msg} at column {error.colno}"
        return InvalidEntry(line + error.lineno - 1, reason)
    except (ValueError, RecursionError) as error:
        return InvalidEntry(line, f"not JSON: {error}")


def _read_elements(text: str) -> Iterator[JsonRecord]:
    """Decode the elements of a list one by one, to get the line each begins on."""
    line, line_end = 1, 0
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "]":
        line, line_end = line + text.count("\n", line_end, position), position
        value, end = DECODER.raw_decode(text, position)
        yield JsonRecord(line, value)
        position = _skip(text, end, " \t\r\n,")


def _skip(text: str, position: int, characters: str = " \t\r\n") -> int:
    while text[position] in characters:
        position += 1
    return position


def _is_part(value: Any) -> bool:
    """Whether a value is a message or an item of a conversation, not a whole conversation."""
    if not isinstance(value, Mapping):
        return False
    if any(isinstance(value.get(key), list) for key in ("calls", "messages", "input", "traj")):
        return False
    return "role" in value or value.get("type") in PART_TYPES
