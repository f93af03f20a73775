"""The records of a file, one JSON value each, with the line each begins on."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.cli.replay.strict_json import DECODER


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON value of a file: a whole conversation, or one message of it."""

    line: int
    value: Any


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be read, and why."""

    line: int
    reason: str


def read_records(text: str) -> Iterator[Record | BadLine]:
    """Read JSON lines, or one JSON document; a list of conversations gives a record for each."""
    found = list(_document(text) or _lines(text))
    parts = [one.value for one in found if isinstance(one, Record)]
    if parts and all(isinstance(part, Mapping) and _is_part(part) for part in parts):
        # Messages one a line, or one list of them: together they are one conversation.
        yield from (one for one in found if isinstance(one, BadLine))
        first = next(one.line for one in found if isinstance(one, Record))
        yield Record(first, parts)
    else:
        yield from found


def _document(text: str) -> list[Record]:
    """Read the text as one JSON value; nothing comes where it is more than one, or none."""
    try:
        whole = DECODER.decode(text)
    except (ValueError, RecursionError):
        return []
    if isinstance(whole, list):
        return list(_elements(text))
    return [Record(1 + text.count("\n", 0, _skip(text, 0)), whole)]


def _lines(text: str) -> list[Record | BadLine]:
    # Not `splitlines`, which also parts lines at U+2028 and the like: JSON strings may hold them.
    lines = [_line(number, line) for number, line in enumerate(text.split("\n"), start=1)]
    found = [one for one in lines if one is not None]
    if any(isinstance(one, Record) and isinstance(one.value, dict | list) for one in found):
        return found
    return [_broken_document(text)] if found else []


def _line(number: int, line: str) -> Record | BadLine | None:
    if not line.strip():
        return None
    try:
        return Record(number, DECODER.decode(line))
    except json.JSONDecodeError as error:
        return BadLine(number, f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return BadLine(number, f"not JSON: {error}")


def _broken_document(text: str) -> BadLine:
    """Say once where a document breaks, not for each of its lines that it is no JSON alone."""
    try:
        DECODER.decode(text)
    except json.JSONDecodeError as error:
        return BadLine(error.lineno, f"not JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return BadLine(1, f"not JSON: {error}")
    return BadLine(1, "neither a list nor an object")


def _elements(text: str) -> Iterator[Record]:
    """Read the elements of a list one by one, for the line each begins on."""
    line, counted = 1, 0
    position = _skip(text, _skip(text, 0) + 1)
    while text[position] != "]":
        line, counted = line + text.count("\n", counted, position), position
        value, end = DECODER.raw_decode(text, position)
        yield Record(line, value)
        position = _skip(text, end, beyond=" \t\r\n,")


def _skip(text: str, position: int, beyond: str = " \t\r\n") -> int:
    while text[position] in beyond:
        position += 1
    return position


def _is_part(value: Mapping[str, Any]) -> bool:
    """Tell a message or an item, which is a part of a conversation, from a conversation."""
    is_whole = any(isinstance(value.get(key), list) for key in ("calls", "messages", "input"))
    return not is_whole and ("role" in value or str(value.get("type", "")) in _ITEMS)


_ITEMS = ("function_call", "function_call_output", "reasoning", "message")
