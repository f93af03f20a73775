"""Read a file's JSON values, with the line each begins on."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.cli.replay.recording import InvalidEntry

PART_TYPES = ("function_call", "function_call_output", "reasoning", "message")


def _reject_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


# Python's default decoder accepts NaN and Infinity, which are not JSON.
DECODER = json.JSONDecoder(parse_constant=_reject_constant)


@dataclass(frozen=True, slots=True)
class JsonRecord:
    """A JSON value of a file: a conversation, or one message of it."""

    line: int
    value: Any

    def invalid(self, reason: str) -> InvalidEntry:
        """Report a part of this record that cannot be read."""
        return InvalidEntry(self.line, reason)


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
    line, counted = 1, 0
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "]":
        line, counted = line + text.count("\n", counted, position), position
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
    if any(isinstance(value.get(key), list) for key in ("calls", "messages", "input")):
        return False
    return "role" in value or value.get("type") in PART_TYPES
