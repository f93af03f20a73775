"""The node in front of the model: a new message while an approval is pending closes the old calls.

Otherwise the history would hold calls without answers, and providers refuse it from then on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Overwrite

from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.closing import end_calls
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.state import CHANNEL, Plan, messages_of, read, thread_of
from bighub_langgraph.guard import BighubGuard

OPEN = "open"
OVERTAKEN = "a new message came before it was approved"


def opening_node(guard: BighubGuard, *, messages_key: str = "messages") -> Node:
    """A node that answers dangling calls right behind their AI message and closes their records."""

    async def flow(state: Any, config: RunnableConfig, ports: Ports) -> dict[str, Any] | None:
        mended = await mend(state, config, ports, messages_key)
        return None if mended is None else {messages_key: Overwrite(mended)}

    return Node(flow, guard, OPEN)


def overtaken(messages: Sequence[BaseMessage]) -> bool:
    """Whether there is a call that a later message has left without an answer."""
    done = _done(messages)
    return any(_dangling(one, done) for one in messages)


async def mend(
    state: Any, config: RunnableConfig, ports: Ports, messages_key: str = "messages"
) -> list[BaseMessage] | None:
    """The messages with every dangling call answered; None when there is none."""
    messages = messages_of(state, messages_key)
    if not overtaken(messages):
        return None
    done = _done(messages)
    plan: Plan | None = read(state, CHANNEL)
    thread = thread_of(config) or (plan["thread"] if plan else None)
    mended: list[BaseMessage] = []
    for message in messages:
        mended.append(message)
        # Messages without an id have one AI message at most that is still open: the plan's.
        turn = message.id or (plan["turn"] if plan else None)
        mended += await end_calls(_dangling(message, done), thread, turn, OVERTAKEN, ports)
    return mended


def answered_in(
    messages: Sequence[BaseMessage], told: Mapping[str, ToolMessage]
) -> list[BaseMessage]:
    """Messages with the answers of their dangling calls, as far as they are told."""
    done = _done(messages)
    return [
        one
        for message in messages
        for one in (
            message,
            *(told[call["id"]] for call in _dangling(message, done) if call["id"] in told),
        )
    ]


def _done(messages: Sequence[BaseMessage]) -> set[str]:
    return {one.tool_call_id for one in messages if isinstance(one, ToolMessage)}


def _dangling(message: BaseMessage, done: set[str]) -> Sequence[Any]:
    if not isinstance(message, AIMessage):
        return []
    return [call for call in message.tool_calls if (call["id"] or "") not in done]
