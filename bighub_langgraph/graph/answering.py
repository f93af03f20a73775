"""Calls that are answered in place, and what the streams are told."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.config import get_stream_writer
from langgraph.types import Command

from bighub_langgraph.core.model_messages import message_for_model
from bighub_langgraph.core.models import CallRecord, State
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.state import CHANNEL, Plan

FORGOTTEN = "this call was not run, and the journal no longer knows why; ask again if it is needed"


def answered(record: CallRecord) -> ToolMessage:
    """The tool message of a call that ended without its tool."""
    status = "success" if record.state is State.ANSWERED else "error"
    about = {"status": record.state.value, "key": record.key}
    return ToolMessage(
        message_for_model(record),
        name=record.tool,
        tool_call_id=record.call_id,
        status=status,
        additional_kwargs={CHANNEL: about},
    )


def refused(name: str, call_id: str | None, fault: str) -> ToolMessage:
    """The tool message of a call that cannot even be proposed."""
    return ToolMessage(fault, name=name, tool_call_id=call_id or "", status="error")


async def answers_in(plan: Plan, ports: Ports) -> list[ToolMessage]:
    """The tool messages of those calls of a plan that go no further."""
    over = [one for one in plan["calls"] if one["next"] == "done"]
    keys = [one["key"] for one in over if one["key"] is not None]
    records = await ports.find(keys) if keys else {}
    return [
        answered(record)
        if (record := records.get(one["key"] or "")) is not None
        else refused(one["name"], one["id"], one.get("fault", FORGOTTEN))
        for one in over
    ]


def tool_messages(update: Any) -> list[ToolMessage]:
    """Every tool message in an update of the state, however deep the framework has put it."""
    if isinstance(update, ToolMessage):
        return [update]
    if isinstance(update, Command):
        return tool_messages(update.update)
    if isinstance(update, dict):
        update = list(update.values())
    if isinstance(update, list | tuple):
        return [message for one in update for message in tool_messages(one)]
    return []


def rewritten(update: Any, change: Callable[[ToolMessage], ToolMessage]) -> Any:
    """An update of the state with its tool messages changed."""
    if isinstance(update, ToolMessage):
        return change(update)
    if isinstance(update, Command):
        return replace(update, update=rewritten(update.update, change))
    if isinstance(update, dict):
        return {key: rewritten(one, change) for key, one in update.items()}
    if isinstance(update, list):
        return [rewritten(one, change) for one in update]
    return update


def replayed(message: ToolMessage) -> ToolMessage:
    """A message that is handed out again, and says so."""
    about = {**message.additional_kwargs, CHANNEL: {"replayed": True}}
    return message.model_copy(update={"additional_kwargs": about})


def tell(event: dict[str, Any]) -> None:
    """Give an event to whoever listens with `stream_mode="custom"`."""
    try:
        write = get_stream_writer()
    except (RuntimeError, LookupError):  # outside of a graph there is no stream
        return
    write(event)
