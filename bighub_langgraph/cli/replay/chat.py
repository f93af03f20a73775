"""OpenAI chat messages: assistant messages with `tool_calls`, answered by tool messages."""

from collections.abc import Mapping, Sequence
from typing import Any

from bighub_langgraph.cli.replay.recording import Flaw, Steps
from bighub_langgraph.cli.replay.results import CallsById, name_of
from bighub_langgraph.cli.replay.trajectory import Trajectory


def is_chat(record: Any) -> bool:
    """Tell a conversation by its messages, each with a role."""
    messages = _messages(record)
    return bool(messages) and any(isinstance(m, Mapping) and "role" in m for m in messages)


def read_chat(record: Any, name: str) -> Steps:
    """Read a list of messages, or an object with the list under `messages`."""
    messages = _messages(record)
    if not messages:
        yield Flaw('expected a list of messages, or an object with a list "messages"')
        return
    trajectory = Trajectory(name_of(record) or name)
    calls = CallsById(trajectory)
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, Mapping):
            yield Flaw(f"message {number}: not an object")
        elif message.get("role") == "assistant":
            yield from _proposed(message, calls)
        elif message.get("role") == "tool":
            yield from calls.settle(message.get("tool_call_id"), message, message.get("content"))
    yield from trajectory.end()


def _proposed(message: Mapping[str, Any], calls: CallsById) -> Steps:
    entries = message.get("tool_calls")
    for entry in entries if isinstance(entries, list) else ():
        function = entry.get("function") if isinstance(entry, Mapping) else None
        if isinstance(function, Mapping):
            yield from calls.propose(
                entry.get("id"), function.get("name"), function.get("arguments")
            )
        else:
            yield Flaw("a tool call without a function")


def _messages(record: Any) -> Sequence[Any]:
    messages = record.get("messages") if isinstance(record, Mapping) else record
    return messages if isinstance(messages, list) else ()
