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
        return digest(parts, of=f"call {self.call_id} of {self.tool!r}")


def digest(value: object, *, of: str = "value") -> str:
    """Digest a plain JSON value; what has no canonical JSON is an `InvalidCall`."""
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidCall(f"the arguments of {of} are not plain JSON: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()[:32]
