"""The private channel of the guard, and how messages are read.

The channel carries a plan from `evaluate` to the edge behind it: which calls there are and what
comes next for each, in plain JSON. From there on every part of the plan travels with the `Send` of
its task, so that tasks of one superstep never write over each other. Users' schemas do not show the
channel; nodes declare it by `input_schema`.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, NotRequired, TypedDict
from uuid import uuid4

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ToolCall,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import ExecutionInfo

from bighub_langgraph.graph.langgraph_internals import runtime_of

CHANNEL = "bighub"

Next = Literal["execute", "ask", "evaluate", "done"]


class Planned(TypedDict):
    """One call of the turn.

    Attributes:
        id: The provider's id of the call.
        name: The tool.
        args: What it would run with; a person's edit replaces them.
        key: Its record in the journal; None for read-only tools.
        next: What comes next: a Send to the tools, a question, an evaluation, nothing.
        edit: A person's yes to edited arguments, until they are evaluated.
        fault: Why it cannot even be proposed, where that is so.
    """

    id: str
    name: str
    args: dict[str, Any]
    key: str | None
    next: Next
    edit: NotRequired[dict[str, Any]]
    fault: NotRequired[str]


class Plan(TypedDict):
    """The guard's plan of one turn.

    Attributes:
        thread: First part of every key: the thread id, or a minted id.
        turn: Second part: the AI message's id, or a minted id.
        calls: The turn's calls.
        per_call: Whether each call is asked about in a question of its own.
        unclear: Why the last answer was not understood.
    """

    thread: str
    turn: str
    calls: list[Planned]
    per_call: NotRequired[bool]
    unclear: NotRequired[str]


def part_of(plan: Plan, calls: Sequence[Planned]) -> Plan:
    """A plan of some of the calls."""
    part = Plan(thread=plan["thread"], turn=plan["turn"], calls=list(calls))
    if plan.get("per_call"):
        part["per_call"] = True
    return part


def newer(_: Plan | None, plan: Plan) -> Plan:
    """The channel's reducer: the last writer counts, and several may write in one superstep."""
    return plan


class GuardState(TypedDict):
    """What the guard's nodes share beside the messages."""

    bighub: NotRequired[Annotated[Plan, newer]]


@lru_cache(maxsize=32)
def input_schema(messages_key: str) -> type:
    """The schema of what a guard's node reads: the messages and the private channel."""
    # The functional form, as the user names one of the keys.
    keys = {messages_key: Sequence[Any], CHANNEL: NotRequired[Annotated[Plan, newer]]}
    schema: type = TypedDict("GuardInput", keys)  # type: ignore[misc]
    return schema


def read(state: Any, key: str) -> Any:
    """A key of a state, whatever kind of state it is."""
    return state.get(key) if isinstance(state, Mapping) else getattr(state, key, None)


def messages_of(state: Any, messages_key: str) -> list[BaseMessage]:
    """The messages of a state, or the state itself where it is a list of them."""
    found = (state if isinstance(state, list) else read(state, messages_key)) or []
    # As a reducer left them, most of the time; to look is faster than to convert.
    if isinstance(found, list) and all(isinstance(one, BaseMessage) for one in found):
        return list(found)
    return list(convert_to_messages(found))


def last_turn(messages: Sequence[BaseMessage]) -> tuple[AIMessage | None, set[str]]:
    """The last AI message, and the ids of its calls that are answered behind it."""
    answered: set[str] = set()
    for message in reversed(messages):
        if isinstance(message, AIMessage):
            return message, answered
        if isinstance(message, ToolMessage):
            answered.add(message.tool_call_id)
    return None, answered


def unanswered(message: AIMessage | None, answered: Collection[str]) -> list[ToolCall]:
    """The calls of a message that have no answer. A call without an id is answered under ""."""
    calls = [] if message is None else message.tool_calls
    return [call for call in calls if (call["id"] or "") not in answered]


def message_of(state: Any, call_id: str | None) -> AIMessage | None:
    """The AI message that asks for a call, under whatever key a state keeps its messages."""
    if isinstance(state, list):
        lists = [state]
    else:
        fields = state if isinstance(state, Mapping) else getattr(state, "__dict__", {})
        lists = [value for value in fields.values() if isinstance(value, list)]
    for messages in lists:
        for message in reversed(messages):
            if isinstance(message, AIMessage) and any(
                one["id"] == call_id for one in message.tool_calls
            ):
                return message
    return None


def thread_of(config: RunnableConfig) -> str | None:
    """The thread id, if the run has one."""
    thread = config.get("configurable", {}).get("thread_id")
    return None if thread is None else str(thread)


def execution_info(config: RunnableConfig) -> ExecutionInfo | None:
    """What LangGraph says of the task that a configuration belongs to; None outside of a graph."""
    runtime = runtime_of(config)
    return None if runtime is None else runtime.execution_info


def authenticated_user(config: RunnableConfig) -> str | None:
    """The user a server has authenticated, if it is a server that runs us."""
    runtime = runtime_of(config)
    server = None if runtime is None else runtime.server_info
    return None if server is None or server.user is None else str(server.user.identity)


def minted() -> str:
    """An id for a thread or a turn that has none."""
    return f"minted-{uuid4().hex}"
