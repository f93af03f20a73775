"""The outputs of tools as bytes in the journal, and back: JSON, or the codec of a host."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.core.models import ToolFailed, ToolOutcome, ToolSucceeded

log = logging.getLogger("bighub_langgraph")


class ResultCodec(NamedTuple):
    """How outputs of tools that are not JSON become bytes and back; `dumps` may raise."""

    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]


_JSON = "json"
_codecs: dict[str, ResultCodec] = {}


def register_codec(name: str, codec: ResultCodec) -> None:
    """Store outputs that are not JSON with a codec from now on. Rows keep the codec's name."""
    _codecs[name] = codec


def _find_codec(name: str) -> ResultCodec:
    if name in _codecs:
        return _codecs[name]
    try:  # another host wrote the row
        import bighub_langgraph.graph  # noqa: F401 - it registers LangGraph's codec

        return _codecs[name]
    except (KeyError, ImportError) as error:
        raise JournalError(
            f"the journal holds a tool's output that was stored by {name}, which is needed to "
            f"read it and cannot be imported: {error}"
        ) from error


def dump_result(result: ToolOutcome | None) -> tuple[str | None, bytes | None]:
    """Return the codec's name and the bytes of a result."""
    if result is None:
        return None, None
    output = result.output
    if not _is_json(output):
        for name, codec in _codecs.items():
            try:
                return name, codec.dumps(output)
            except Exception:
                log.exception("an output cannot be stored as it is; its description is stored")
        output = to_jsonable(output)
    return _JSON, json.dumps(output).encode()


def load_result(
    codec: str | None, data: bytes | None, details: Mapping[str, Any]
) -> ToolOutcome | None:
    """Return a result from the codec's name, the bytes, and the record's details."""
    if codec is None or data is None:
        return None
    output = json.loads(data) if codec == _JSON else _find_codec(codec).loads(bytes(data))
    if details["error"] is not None:
        return ToolFailed(details["error"], output)
    return ToolSucceeded(output, details["content"])


def _is_json(value: object) -> bool:
    """Whether JSON gives back exactly this value."""
    if value is None or type(value) in {str, bool, int}:
        return True
    if type(value) is float:
        return value == value and value not in {float("inf"), float("-inf")}  # noqa: PLR0124 - NaN
    if type(value) is list:
        return all(map(_is_json, value))
    if type(value) is dict:
        return all(type(key) is str and _is_json(item) for key, item in value.items())
    return False
