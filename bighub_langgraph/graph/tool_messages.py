"""Tool messages for calls that did not run, and changes to the updates that tools return."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeGuard

from langchain_core.messages import AIMessage, ToolMessage
from langgraph.config import get_stream_writer
from langgraph.types import Command, Send

from bighub_langgraph.core.model_messages import message_for_model
from bighub_langgraph.core.models import CallRecord, State
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.plan import CHANNEL, Plan

NOT_IN_JOURNAL = (
    "this call was not run, and its record is no longer in the journal; ask again if it is needed"
)


def record_message(record: CallRecord) -> ToolMessage:
    """Return the tool message of a call that ended without its tool."""
    return ToolMessage(
        message_for_model(record),
        name=record.tool,
        tool_call_id=record.call_id,
        status="success" if record.state is State.ANSWERED else "error",
        additional_kwargs={CHANNEL: {"status": record.state.value, "key": record.key}},
    )


def error_message(name: str, call_id: str | None, error: str) -> ToolMessage:
    """Return the tool message of a call that cannot be evaluated."""
    return ToolMessage(error, name=name, tool_call_id=call_id or "", status="error")


async def answer_finished_calls(plan: Plan, ports: Ports) -> list[ToolMessage]:
    """Return the tool messages of the planned calls that go no further."""
    finished_calls = [call for call in plan["calls"] if call["next"] == "done"]
    keys = [call["key"] for call in finished_calls if call["key"] is not None]
    records = await ports.find(keys) if keys else {}
    messages = []
    for call in finished_calls:
        record = records.get(call["key"] or "")
        if record is not None:
            messages.append(record_message(record))
        else:
            error = call.get("error", NOT_IN_JOURNAL)
            messages.append(error_message(call["name"], call["id"], error))
    return messages


def find_tool_messages(update: Any, turn: str) -> list[ToolMessage]:
    """Return the tool messages of a turn in an update of the state, at any depth."""
    matches: list[ToolMessage] = []

    def collect(message: ToolMessage) -> ToolMessage:
        matches.append(message)
        return message

    map_tool_messages(update, turn, collect)
    return matches


def map_tool_messages(update: Any, turn: str, change: Callable[[ToolMessage], ToolMessage]) -> Any:
    """Return an update of the state with every tool message of a turn changed.

    The update of a handoff repeats the history, in which an earlier turn may have the same ids: of
    such a list only what comes after the turn's AI message belongs to the turn.
    """
    if isinstance(update, ToolMessage):
        return change(update)
    if isinstance(update, Command):
        return replace(update, update=map_tool_messages(update.update, turn, change))
    if isinstance(update, dict):
        return {key: map_tool_messages(part, turn, change) for key, part in update.items()}
    if isinstance(update, list | tuple):
        start = max((n for n, part in enumerate(update) if _starts_turn(part, turn)), default=0)
        return [
            *update[:start],
            *(map_tool_messages(part, turn, change) for part in update[start:]),
        ]
    return update


def _starts_turn(part: Any, turn: str) -> bool:
    return isinstance(part, AIMessage) and bool(part.tool_calls) and part.id in {None, turn}


def mark_replayed(message: ToolMessage) -> ToolMessage:
    """Return a message that says it holds a stored result."""
    about = {**message.additional_kwargs, CHANNEL: {"replayed": True}}
    return message.model_copy(update={"additional_kwargs": about})


def goes_to_parent(part: Any) -> TypeGuard[Command[Any]]:
    """Whether a part of an update is a command for the graph around this one."""
    return isinstance(part, Command) and part.graph == Command.PARENT


def sent_tool_messages(command: Command[Any], turn: str) -> list[ToolMessage]:
    """Return the tool messages of a turn in a command's update and in the inputs it sends."""
    inputs = [target.arg for target in _targets(command) if isinstance(target, Send)]
    return find_tool_messages([command.update, *inputs], turn)


def add_to_update(
    command: Command[Any], messages: Sequence[ToolMessage], messages_key: str
) -> Command[Any]:
    """Return a command with further messages in its update."""
    update = command.update
    if isinstance(update, list):
        return replace(command, update=[*update, *messages])
    if isinstance(update, dict):
        messages = [*update.get(messages_key, []), *messages]
        return replace(command, update={**update, messages_key: messages})
    return command


def join_parent_sends(parts: Sequence[Any]) -> list[Any]:
    """Join the commands that only send to the parent: LangGraph obeys only the first of them."""
    commands = [
        part
        for part in parts
        if goes_to_parent(part) and {type(target) for target in _targets(part)} == {Send}
    ]
    if not commands:
        return list(parts)
    joined_command = replace(
        commands[0], goto=[send for part in commands for send in _targets(part)]
    )
    return [*(part for part in parts if part not in commands), joined_command]


def remove_goto(part: Any, node: str) -> Any:
    """Return a part of an update without its `goto` to a node of this graph.

    The guard's own edges lead from the tools to the model, once every call of the turn is answered.
    A tool that goes there too would run the model a second time.
    """
    if not isinstance(part, Command) or part.graph is not None:
        return part
    return replace(part, goto=[target for target in _targets(part) if target != node])


def _targets(command: Command[Any]) -> Sequence[Any]:
    return command.goto if isinstance(command.goto, list | tuple) else [command.goto]


def emit_event(event: dict[str, Any]) -> None:
    """Write an event to the stream of `stream_mode="custom"`."""
    try:
        write = get_stream_writer()
    except (RuntimeError, LookupError):  # outside of a graph there is no stream
        return
    write(event)
