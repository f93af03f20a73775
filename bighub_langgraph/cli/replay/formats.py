"""The formats a recording may have, and the steps of a file in any of them."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from bighub_langgraph.cli.replay.chat import is_chat, read_chat
from bighub_langgraph.cli.replay.compact import is_compact, read_compact
from bighub_langgraph.cli.replay.recording import Flaw, Known, Proposed, Steps
from bighub_langgraph.cli.replay.records import BadLine, Record, read_records
from bighub_langgraph.cli.replay.responses import is_responses, read_responses


class Format(StrEnum):
    """How a recording is written."""

    COMPACT = "compact"
    CHAT = "chat"
    RESPONSES = "responses"


class Reader(NamedTuple):
    """How to tell a format, and how to read it."""

    recognises: Callable[[Any], bool]
    read: Callable[[Any, str], Steps]


# Asked in this order: Responses items may have roles too, chat messages never have their types.
READERS = {
    Format.COMPACT: Reader(is_compact, read_compact),
    Format.RESPONSES: Reader(is_responses, read_responses),
    Format.CHAT: Reader(is_chat, read_chat),
}


def read_steps(
    text: str, *, name: str, forced: Format | None = None
) -> Iterator[Proposed | Known | BadLine]:
    """Read a file's text; conversations without a name of their own are numbered after `name`."""
    for number, record in enumerate(read_records(text), start=1):
        if isinstance(record, BadLine):
            yield record
        else:
            yield from _steps(record, f"{name}-{number}", forced)


def detect(value: Any) -> Format | None:
    """Tell which format a record has."""
    return next((form for form, reader in READERS.items() if reader.recognises(value)), None)


def _steps(
    record: Record, name: str, forced: Format | None
) -> Iterator[Proposed | Known | BadLine]:
    form = forced or detect(record.value)
    if form is None:
        yield BadLine(record.line, f"none of the formats {', '.join(Format)}")
        return
    for step in READERS[form].read(record.value, name):
        yield BadLine(record.line, step.reason) if isinstance(step, Flaw) else step
