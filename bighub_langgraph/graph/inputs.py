"""The forms in which a tool node is given its calls, read into one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.runnables import RunnableConfig

from bighub_langgraph.graph.state import (
    CHANNEL,
    last_turn,
    messages_of,
    minted,
    thread_of,
    unanswered,
)

Form = Literal["calls", "messages", "state"]


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one input.

    Attributes:
        form: Which form the input has, and so which form the output takes.
        calls: Tool calls; those sent by the guard's own edges carry the way to their record.
        thread: First part of the calls' keys.
        turn: Second part.
        state: The state that tools may ask for; None where the tool node finds it by itself.
    """

    form: Form
    calls: list[dict[str, Any]]
    thread: str
    turn: str
    state: Any = None

    @property
    def sent(self) -> bool:
        """Whether every call comes from the guard's own edges."""
        return bool(self.calls) and all(CHANNEL in call for call in self.calls)

    def for_tool_node(self, call: Mapping[str, Any]) -> Any:
        """One call as a ToolNode takes it."""
        plain = {name: value for name, value in call.items() if name != CHANNEL}
        if self.state is None:
            return [plain]
        return {"__type": "tool_call_with_context", "tool_call": plain, "state": self.state}


def read_calls(given: Any, config: RunnableConfig, messages_key: str) -> Calls:
    """Read an input: a state, a list of messages, a list of calls, or one call with a state."""
    thread = thread_of(config) or minted()
    if isinstance(given, Mapping) and given.get("__type") == "tool_call_with_context":
        turn = _turn_of(given["state"], messages_key)
        return Calls("calls", [given["tool_call"]], thread, turn, given["state"])
    if isinstance(given, list) and given and _is_call(given[-1]):
        return Calls(
            "calls", list(given), thread, _turn_of(_read(config, messages_key), messages_key)
        )
    message, done = last_turn(messages_of(given, messages_key))
    if message is None:
        raise ValueError("there is no AI message in the input, so there is no tool call to run")
    calls = [dict(one) for one in unanswered(message, done)]
    form: Form = "messages" if isinstance(given, list) else "state"
    return Calls(form, calls, thread, message.id or minted(), given)


_FRESH = True


def _turn_of(state: Any, messages_key: str) -> str:
    message, _ = last_turn(messages_of(state, messages_key))
    return (message.id if message is not None else None) or minted()


def _read(config: RunnableConfig, messages_key: str) -> dict[str, Any]:
    """The messages of the graph around a task that was sent without a state."""
    reader = config.get("configurable", {}).get("__pregel_read")
    try:
        found: dict[str, Any] = {} if reader is None else reader([messages_key], _FRESH)
    except KeyError:  # the graph keeps its messages elsewhere
        return {}
    return found


def _is_call(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "tool_call"
