"""Calls that are answered in place, and what the streams are told."""

from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.config import get_stream_writer

from bighub_langgraph.core.messages import for_model
from bighub_langgraph.core.record import Record
from bighub_langgraph.core.words import State
from bighub_langgraph.graph.state import CHANNEL


def answered(record: Record) -> ToolMessage:
    """The tool message of a call that ended without its tool."""
    status = "success" if record.state is State.ANSWERED else "error"
    about = {"status": record.state.value, "key": record.key}
    return ToolMessage(
        for_model(record),
        name=record.tool,
        tool_call_id=record.call_id,
        status=status,
        additional_kwargs={CHANNEL: about},
    )


def refused(name: str, call_id: str | None, fault: str) -> ToolMessage:
    """The tool message of a call that cannot even be proposed."""
    return ToolMessage(fault, name=name, tool_call_id=call_id or "", status="error")


def tell(event: dict[str, Any]) -> None:
    """Give an event to whoever listens with `stream_mode="custom"`."""
    try:
        write = get_stream_writer()
    except (RuntimeError, LookupError):  # outside of a graph there is no stream
        return
    write(event)
