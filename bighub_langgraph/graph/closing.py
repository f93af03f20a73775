"""Calls that nobody will wait for any more: their records are closed, and the model is told."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import ToolMessage

from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.execution import cancel_call, wait_for_owner
from bighub_langgraph.core.models import CallRecord, State, ToolCall
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.answering import answered, refused, replayed, tool_messages

_OPEN = frozenset({State.AWAITING, State.ALLOWED, State.PAUSED})


async def end_calls(
    calls: Sequence[Any], thread: str | None, turn: str | None, reason: str, ports: Ports
) -> list[ToolMessage]:
    """Close calls of a turn; returns what the model reads of each.

    A call that has run is answered with what it returned, one that runs just now is waited for.

    Args:
        calls: Tool calls of one AI message.
        thread: First part of their keys, where it is known.
        turn: Second part, where it is known.
        reason: Why nobody waits, in a sentence.
        ports: The journal's.
    """
    return [await _ended(call, thread, turn, reason, ports) for call in calls]


async def _ended(
    call: Any, thread: str | None, turn: str | None, reason: str, ports: Ports
) -> ToolMessage:
    record = None
    if thread is not None and turn is not None and call["id"]:
        record = await _latest(call, thread, turn, ports)
    if record is None:
        return refused(call["name"], call["id"], f"{call['name']} did not run: {reason}.")
    if record.state is State.RUNNING:
        record = await wait_for_owner(record, ports)
    if record.state in _OPEN:
        record = await cancel_call(record, reason, ports)
    return _answer(record)


async def _latest(call: Any, thread: str, turn: str, ports: Ports) -> CallRecord | None:
    """The record of a call, or that of the call it was edited into."""
    try:
        key = ToolCall(thread, turn, call["id"], call["name"], call["args"]).key
    except InvalidCall:
        return None
    record = (await ports.find([key])).get(key)
    while record is not None and record.state is State.EDITED and record.approval is not None:
        edited = record.approval.edited_to
        further = (await ports.find([edited])).get(edited)
        if further is None:
            break
        record = further
    return record


def _answer(record: CallRecord) -> ToolMessage:
    stored = tool_messages(record.result.output) if record.result is not None else []
    mine = [one for one in stored if one.tool_call_id == record.call_id]
    return replayed(mine[0]) if mine else answered(record)
