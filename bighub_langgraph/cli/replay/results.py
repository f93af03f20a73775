"""Calls and results as OpenAI's formats tell them: arguments as text, results by call id."""

import json
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import Any

from bighub_langgraph.cli.replay.recording import Flaw, Proposed, RecordedCall, Steps
from bighub_langgraph.cli.replay.strict_json import DECODER
from bighub_langgraph.cli.replay.trajectory import Trajectory


class CallsById:
    """Proposes the calls of a conversation and settles each when its result comes."""

    def __init__(self, trajectory: Trajectory) -> None:
        self._trajectory = trajectory
        self._waiting: defaultdict[str, deque[RecordedCall]] = defaultdict(deque)

    def propose(self, call_id: Any, tool: Any, arguments: Any) -> Steps:
        """Read a call as the model wrote it."""
        if not isinstance(tool, str) or not tool:
            yield Flaw(f"call {call_id}: no name of a tool")
            return
        try:
            parsed = DECODER.decode(arguments or "{}")
        except (TypeError, ValueError, RecursionError) as error:
            yield Flaw(f"call {call_id}: arguments of {tool}: {error}")
            return
        if not isinstance(parsed, dict):
            yield Flaw(f"call {call_id}: arguments of {tool}: not an object")
            return
        call = self._trajectory.propose(tool, parsed)
        self._waiting[str(call_id)].append(call)
        yield Proposed(call)

    def settle(self, call_id: Any, result: Mapping[str, Any], text: Any) -> Steps:
        """Read what a result tells about its call; a result without a call tells nothing."""
        if waiting := self._waiting[str(call_id)]:
            yield from self._trajectory.settle(
                waiting.popleft(),
                error=_failed(result, text),
                as_intended=_label(result, "as_intended"),
            )


def name_of(record: Any) -> str | None:
    """A conversation's own name, where it has one."""
    found = [record.get(key) for key in _NAMES] if isinstance(record, Mapping) else []
    return next((name for name in found if isinstance(name, str) and name), None)


_NAMES = ("trajectory_id", "thread_id", "session_id", "conversation", "id")


def _text_of(content: Any) -> str:
    """The text of a message, whether it is a string or a list of parts."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and "text" in part]
    return "\n".join(text for text in texts if isinstance(text, str))


def _failed(result: Mapping[str, Any], text: Any) -> bool:
    """Tell a failed call by an explicit label, else by how tools commonly word an error."""
    if (label := _label(result, "error")) is not None:
        return label
    if result.get("status") == "error":
        return True
    said = _text_of(text).strip()
    return said.lower().startswith("error") or _names_an_error(said)


def _names_an_error(said: str) -> bool:
    """Tell whether a result is a JSON object with something under `error`."""
    try:
        parsed = json.loads(said)
    except (ValueError, RecursionError):
        return False
    return isinstance(parsed, dict) and bool(parsed.get("error"))


def _label(result: Mapping[str, Any], name: str) -> bool | None:
    label = result.get(name)
    return label if isinstance(label, bool) else None
