"""Calls that nobody waits for any more: their records are cancelled and the model gets an answer.

A new message while an approval is pending would leave a call without an answer in the history, and
providers refuse such a history from then on.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.types import Overwrite

from bighub_langgraph.core.approval_answers import cancel_call
from bighub_langgraph.core.models import CallRecord, State, ToolCall
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.recovery import wait_for_owner
from bighub_langgraph.graph.nodes import GuardNode
from bighub_langgraph.graph.plan import (
    TurnId,
    key_of,
    open_calls,
    read_messages,
    read_plan,
    thread_id_of,
)
from bighub_langgraph.graph.tool_execution import GraphHost
from bighub_langgraph.graph.tool_messages import (
    error_message,
    find_tool_messages,
    mark_replayed,
    record_message,
)
from bighub_langgraph.graph.validation import did_not_run

if TYPE_CHECKING:
    from bighub_langgraph.guard import BighubGuard

CLOSE_STALE_CALLS = "close_stale_calls"
NEW_MESSAGE = "a new message came before it was approved"

_CANCELLABLE = frozenset({State.AWAITING, State.ALLOWED, State.PAUSED})


def stale_calls_node(guard: "BighubGuard", *, messages_key: str = "messages") -> GuardNode:
    """Return a node that answers stale calls right behind their AI message."""

    async def close(state: Any, config: RunnableConfig, host: GraphHost) -> dict[str, Any] | None:
        messages = await close_stale_calls(state, config, host.ports, messages_key)
        return None if messages is None else {messages_key: Overwrite(messages)}

    return GuardNode(close, guard.runtime, CLOSE_STALE_CALLS)


async def close_stale_calls(
    state: Any, config: RunnableConfig, ports: Ports, messages_key: str = "messages"
) -> list[BaseMessage] | None:
    """Return the messages with every call answered; None where all are answered already."""
    messages = read_messages(state, messages_key)
    answered = _answered_ids(messages)
    if not any(open_calls(message, answered) for message in messages):
        return None
    plan = read_plan(state)
    thread = thread_id_of(config) or (plan["thread"] if plan else "")
    closed: list[BaseMessage] = []
    for message in messages:
        # Of messages without an id at most one still has open calls: the plan's.
        turn_id = TurnId(thread, message.id or (plan["turn"] if plan else ""))
        calls = open_calls(message, answered, turn_id)
        closed += [message, *await close_calls(calls, NEW_MESSAGE, ports)]
    return closed


def insert_answers(
    messages: Sequence[BaseMessage], closed: Sequence[BaseMessage]
) -> list[BaseMessage]:
    """Return messages with the answers to their open calls, which are among `closed`."""
    answers = {item.tool_call_id: item for item in closed if isinstance(item, ToolMessage)}
    answered = _answered_ids(messages)
    completed: list[BaseMessage] = []
    for message in messages:
        ids = [call.call_id for call in open_calls(message, answered)]
        completed += [message, *(answers[call_id] for call_id in ids if call_id in answers)]
    return completed


async def close_calls(calls: Sequence[ToolCall], reason: str, ports: Ports) -> list[ToolMessage]:
    """Cancel calls of a turn; return what the model reads of each.

    A call that has run is answered with its result; one that is running is waited for. The reason
    is a sentence that says why nobody waits for them any more.
    """
    return [await _close_call(call, reason, ports) for call in calls]


async def _close_call(call: ToolCall, reason: str, ports: Ports) -> ToolMessage:
    record = await _find_latest_record(call, ports)
    if record is None:
        return error_message(call.tool, call.call_id, did_not_run(call.tool, reason))
    if record.state is State.RUNNING:
        record = await wait_for_owner(record, ports)
    if record.state in _CANCELLABLE:
        record = await cancel_call(record, reason, ports)
    output = record.result.output if record.result is not None else None
    for message in find_tool_messages(output):
        if message.tool_call_id == record.call_id:
            return mark_replayed(message)
    return record_message(record)


async def _find_latest_record(call: ToolCall, ports: Ports) -> CallRecord | None:
    """Return the record of a call, or that of the call it was edited into."""
    latest, key = None, key_of(call)
    while key and (record := (await ports.find([key])).get(key)) is not None:
        latest = record
        approval = record.approval if record.state is State.EDITED else None
        key = approval.edited_to if approval is not None else None
    return latest


def _answered_ids(messages: Sequence[BaseMessage]) -> set[str]:
    return {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
