"""The forms in which a tool node is given its calls, read into one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.prebuilt import ToolNode

from bighub_langgraph.graph.langgraph_internals import has_state, with_state
from bighub_langgraph.graph.state import (
    CHANNEL,
    execution_info,
    last_turn,
    messages_of,
    minted,
    thread_of,
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
        messages: The messages around the calls; None where they were not needed yet.
    """

    form: Form
    calls: list[dict[str, Any]]
    thread: str
    turn: str
    state: Any = None
    messages: list[BaseMessage] | None = None

    @property
    def sent(self) -> bool:
        """Whether every call comes from the guard's own edges."""
        return _sent(self.calls)

    def for_tool_node(self, call: Mapping[str, Any]) -> Any:
        """One call as a ToolNode takes it, in the form that was given."""
        plain = {name: value for name, value in call.items() if name != CHANNEL}
        if self.form == "messages":
            return _narrowed(self.messages or [], plain)
        return [plain] if self.state is None else with_state(plain, self.state)


async def read_calls(
    given: Any, config: RunnableConfig, messages_key: str, *, blocking: bool
) -> Calls:
    """Read an input: a state, a list of messages, a list of calls, or one call with a state.

    Args:
        given: The input.
        config: The task's configuration.
        messages_key: Where a state keeps its messages.
        blocking: Whether there is no event loop to wait on.
    """
    thread = thread_of(config) or minted()
    if isinstance(given, list) and given and _is_call(given[-1]):
        if _sent(given):  # it says itself where its records are
            way = _way(given[0])
            return Calls("calls", list(given), way["thread"], way["turn"])
        messages = await messages_around(config, messages_key, blocking=blocking)
        return Calls("calls", list(given), thread, _turn_of(messages), messages=messages)
    if has_state(given):
        messages = messages_of(given["state"], messages_key)
        call = [given["tool_call"]]
        return Calls("calls", call, thread, _turn_of(messages), given["state"], messages)
    messages = messages_of(given, messages_key)
    message, done = last_turn(messages)
    if message is None:
        raise ValueError("there is no AI message in the input, so there is no tool call to run")
    calls = [dict(one) for one in message.tool_calls if one["id"] not in done]
    form: Form = "messages" if isinstance(given, list) else "state"
    return Calls(form, calls, thread, message.id or minted(), given, messages)


async def messages_around(
    config: RunnableConfig, messages_key: str, *, blocking: bool
) -> list[BaseMessage]:
    """The messages in the state of the graph around a task that was sent calls alone.

    A ToolNode reads that state for its tools, and shows it to its wrapper; there is no other public
    way to it.
    """
    states: list[Any] = []

    def look(request: Any, _: Any) -> ToolMessage:
        states.append(request.state)
        return ToolMessage("", tool_call_id=request.tool_call["id"])

    async def alook(request: Any, handler: Any) -> ToolMessage:
        return look(request, handler)

    if execution_info(config) is None:
        return []
    reader = ToolNode([], wrap_tool_call=look, awrap_tool_call=alook)
    call = {"name": "read_state", "args": {}, "id": "read_state", "type": "tool_call"}
    if blocking:
        reader.invoke([call], config)
    else:
        await reader.ainvoke([call], config)
    return messages_of(states[0], messages_key)


def _sent(calls: Sequence[Mapping[str, Any]]) -> bool:
    return bool(calls) and all("thread" in _way(call) for call in calls)


def _way(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the guard's edges wrote on a call."""
    way: Mapping[str, Any] = call.get(CHANNEL) or {}
    return way


def _turn_of(messages: Sequence[BaseMessage]) -> str:
    message, _ = last_turn(messages)
    return (message.id if message is not None else None) or minted()


def _narrowed(messages: Sequence[BaseMessage], call: dict[str, Any]) -> list[BaseMessage]:
    """The messages, the last AI message with one call alone: a ToolNode runs all it is shown."""
    last = max(at for at, one in enumerate(messages) if isinstance(one, AIMessage))
    alone = messages[last].model_copy(update={"tool_calls": [call]})
    return [*messages[:last], alone, *messages[last + 1 :]]


def _is_call(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("type") == "tool_call"
