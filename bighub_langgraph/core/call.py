"""A tool call as the model proposes it, and the key that binds a record to exactly this call."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bighub_langgraph.core.errors import InvalidCall


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call of one assistant message.

    Attributes:
        thread: Thread id of a graph, run id of the facade.
        turn: Id of the assistant message or response that asked for it.
        call_id: The provider's id of the call, unique within the turn.
        tool: The tool's name.
        arguments: What the model wants to pass, plain JSON.
    """

    thread: str
    turn: str
    call_id: str
    tool: str
    arguments: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Digest of all five parts, 32 hexadecimal digits; the same anywhere."""
        parts = (self.thread, self.turn, self.call_id, self.tool, self.arguments)
        try:
            return _digest(parts)
        except _NOT_JSON as error:
            raise _not_plain(f"call {self.call_id} of {self.tool!r}", error) from error


def digest(value: object, *, of: str = "value") -> str:
    """Digest a plain JSON value; what has no canonical JSON is an `InvalidCall`."""
    try:
        return _digest(value)
    except _NOT_JSON as error:
        raise _not_plain(of, error) from error


def _digest(value: object) -> str:
    return hashlib.sha256(_canonical(value).encode()).hexdigest()[:32]


def _not_plain(what: str, error: Exception) -> InvalidCall:
    return InvalidCall(f"the arguments of {what} are not plain JSON: {error}")


_NOT_JSON = (TypeError, ValueError, RecursionError)
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
