"""The node in front of the model: a new message while an approval is pending closes the old calls.

Otherwise the history would hold calls without answers, and providers refuse it from then on.
"""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Overwrite

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.flows import close
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.record import Record
from bighub_langgraph.core.words import State
from bighub_langgraph.graph.answering import answered, refused
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.state import messages_of, thread_of, unanswered
from bighub_langgraph.guard import BighubGuard

OPEN = "open"
OVERTAKEN = "a new message came before it was approved"


def opening_node(guard: BighubGuard, *, messages_key: str = "messages") -> Node:
    """A node that answers dangling calls right behind their AI message and closes their records."""

    async def flow(state: Any, config: RunnableConfig, ports: Ports) -> dict[str, Any] | None:
        messages = messages_of(state, messages_key)
        mended = await closed(messages, thread_of(config), ports)
        return None if mended is None else {messages_key: Overwrite(mended)}

    return Node(flow, guard, OPEN)


async def closed(
    messages: Sequence[BaseMessage], thread: str | None, ports: Ports
) -> list[BaseMessage] | None:
    """The messages with every dangling call answered; None when there is none."""
    done = {one.tool_call_id for one in messages if isinstance(one, ToolMessage)}
    if not any(_dangling(one, done) for one in messages):
        return None
    mended: list[BaseMessage] = []
    for message in messages:
        mended.append(message)
        mended += [await _closed(message, one, thread, ports) for one in _dangling(message, done)]
    return mended


def _dangling(message: BaseMessage, done: set[str]) -> list[Any]:
    if not isinstance(message, AIMessage):
        return []
    return unanswered(message, done)


async def _closed(message: BaseMessage, call: Any, thread: str | None, ports: Ports) -> ToolMessage:
    record = await _record(message, call, thread, ports)
    if record is None:
        return refused(call["name"], call["id"], f"{call['name']} did not run: {OVERTAKEN}.")
    if record.state in {State.AWAITING, State.ALLOWED, State.PAUSED}:
        record = await close(record, OVERTAKEN, ports)
    return answered(record)


async def _record(
    message: BaseMessage, call: Any, thread: str | None, ports: Ports
) -> Record | None:
    if thread is None or message.id is None:
        return None
    try:
        key = ToolCall(thread, message.id, call["id"], call["name"], call["args"]).key
    except InvalidCall:
        return None
    return (await ports.find([key])).get(key)
