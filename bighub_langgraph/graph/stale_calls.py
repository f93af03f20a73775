"""Calls that nobody waits for any more: their records are cancelled and the model gets an answer.

A new message while an approval is pending would leave a call without an answer in the history, and
providers refuse such a history from then on. A call that somebody removed from the history, or
changed or answered in it, is cancelled without an answer.
"""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from bighub_langgraph.core.call_endings import cancel_call, is_cancellable
from bighub_langgraph.core.models import CallRecord, State, ToolCall
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.recovery import wait_for_owner
from bighub_langgraph.graph.plan import (
    Plan,
    TurnId,
    calls_of,
    current_calls,
    is_current,
    key_of,
    plan_call,
    read_messages,
    read_plan,
    subplan,
    thread_id_of,
    to_tool_calls,
)
from bighub_langgraph.graph.tool_messages import (
    error_message,
    find_tool_messages,
    mark_replayed,
    record_message,
)
from bighub_langgraph.graph.validation import did_not_run

NEW_MESSAGE = "a new message came before it was approved"
CHANGED_IN_HISTORY = "it was changed in the history or removed from it"
ANSWERED_IN_HISTORY = "it was answered in the history"


async def close_stale_calls(
    state: object,
    config: RunnableConfig,
    ports: Ports,
    messages_key: str = "messages",
    *,
    answered_reason: str = ANSWERED_IN_HISTORY,
) -> list[BaseMessage] | None:
    """Return the messages with every call answered; None where all are answered already.

    `answered_reason` is why a call is cancelled that the history answers.
    """
    messages = read_messages(state, messages_key)
    plan = read_plan(state)
    if plan:
        await cancel_removed_calls(plan, messages, ports, answered_reason=answered_reason)
    answers = _answers_by_call(messages)
    # Of messages without an id at most one still has open calls: the plan's.
    thread, turn = (plan["thread"], plan["turn"]) if plan else ("", "")
    thread = thread_id_of(config) or thread
    closed_messages: list[BaseMessage] = []
    for index, message in enumerate(messages):
        closed_messages.append(message)
        calls = [call for call in calls_of(message) if (index, call["id"] or "") not in answers]
        if calls:
            stale_calls = to_tool_calls(TurnId(thread, message.id or turn), calls)
            closed_messages += await close_calls(stale_calls, NEW_MESSAGE, ports)
    return closed_messages if len(closed_messages) > len(messages) else None


def insert_answers(
    messages: Sequence[BaseMessage], closed_messages: Sequence[BaseMessage]
) -> list[BaseMessage]:
    """Return messages with the answers to their open calls, which are among `closed`."""
    answers = {
        (closed_messages[index].id, call_id): answer
        for (index, call_id), answer in _answers_by_call(closed_messages).items()
    }
    own = _answers_by_call(messages)
    completed_messages: list[BaseMessage] = []
    for index, message in enumerate(messages):
        ids = [call["id"] or "" for call in calls_of(message)]
        keys = [(message.id, call_id) for call_id in ids if (index, call_id) not in own]
        completed_messages += [message, *(answers[key] for key in keys if key in answers)]
    return completed_messages


def _answers_by_call(messages: Sequence[BaseMessage]) -> dict[tuple[int, str], ToolMessage]:
    """Return the answers by the position of the message that made the call and the call's id.

    Servers may use an id again in a later turn: an answer belongs to the last call before it.
    """
    positions: dict[str, int] = {}
    answers: dict[tuple[int, str], ToolMessage] = {}
    for index, message in enumerate(messages):
        if isinstance(message, AIMessage):
            positions |= {call["id"] or "": index for call in calls_of(message)}
        elif isinstance(message, ToolMessage) and message.tool_call_id in positions:
            answers[positions[message.tool_call_id], message.tool_call_id] = message
    return answers


async def close_calls(calls: Sequence[ToolCall], reason: str, ports: Ports) -> list[ToolMessage]:
    """Cancel calls of a turn; return what the model reads of each.

    A call that has run is answered with its result; one that is running is waited for. The reason
    is a sentence that says why nobody waits for them any more.
    """
    return [await _close_call(call, reason, ports) for call in calls]


async def _close_call(call: ToolCall, reason: str, ports: Ports) -> ToolMessage:
    record = await _find_latest_record(key_of(call), ports)
    if record is None:
        return error_message(call.tool, call.call_id, did_not_run(call.tool, reason))
    if record.state is State.RUNNING:
        record = await wait_for_owner(record, ports)
    if is_cancellable(record):
        record = await cancel_call(record, reason, ports)
    output = record.result.output if record.result is not None else None
    for message in find_tool_messages(output, record.turn):
        if message.tool_call_id == record.call_id:
            return mark_replayed(message)
    return record_message(record)


async def refresh_plan(plan: Plan, messages: Sequence[BaseMessage], ports: Ports) -> Plan:
    """Return the plan as the history wants it now.

    Calls that are no longer open are cancelled, and changed ones are new calls, to be evaluated.
    """
    current = current_calls(plan, messages)
    stale = [call for call in plan["calls"] if not is_current(call, current)]
    await _cancel([call["key"] for call in stale], CHANGED_IN_HISTORY, ports)
    changed_calls = [
        plan_call(current[call["id"]], None, "evaluate") for call in stale if call["id"] in current
    ]
    return subplan(plan, [call for call in plan["calls"] if call not in stale] + changed_calls)


async def cancel_removed_calls(
    plan: Plan,
    messages: Sequence[BaseMessage],
    ports: Ports,
    *,
    answered_reason: str = ANSWERED_IN_HISTORY,
) -> None:
    """Cancel the calls of a plan that are not open in the history any more as they were planned."""
    turn_id = TurnId(plan["thread"], plan["turn"])
    answers = _answers_by_call(messages)
    held_calls: dict[str, ToolCall] = {}
    answered_ids: set[str] = set()
    for index, message in enumerate(messages):
        if message.id in {None, turn_id.turn}:
            calls = to_tool_calls(turn_id, calls_of(message))
            held_calls |= {call.call_id: call for call in calls}
            answered_ids |= {call.call_id for call in calls if (index, call.call_id) in answers}
    active = [call for call in plan["calls"] if call["next"] != "done"]
    removed_keys = [call["key"] for call in active if not is_current(call, held_calls)]
    await _cancel(removed_keys, CHANGED_IN_HISTORY, ports)
    await _cancel(
        [call["key"] for call in active if call["id"] in answered_ids], answered_reason, ports
    )


async def _cancel(keys: Sequence[str | None], reason: str, ports: Ports) -> None:
    found_keys = [key for key in keys if key is not None]
    records = (await ports.find(found_keys)).values() if found_keys else ()
    for record in records:
        is_edited = record.state is State.EDITED
        latest = await _find_latest_record(record.key, ports) if is_edited else record
        if latest is not None and is_cancellable(latest):
            await cancel_call(latest, reason, ports)


async def _find_latest_record(key: str | None, ports: Ports) -> CallRecord | None:
    """Return the record with a key, or that of the call it was edited into."""
    latest = None
    while key and (record := (await ports.find([key])).get(key)) is not None:
        latest = record
        approval = record.approval if record.state is State.EDITED else None
        key = approval.edited_to if approval is not None else None
    return latest
