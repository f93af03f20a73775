"""Running one call through somebody's tools: once, whatever happens to the graph around it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage
from langgraph.errors import GraphBubbleUp, ParentCommand, is_invalid_resume

from bighub_langgraph.core.context import enter_call
from bighub_langgraph.core.execution import (
    ExecutionResult,
    ToolFinished,
    ToolPaused,
    execute_or_recover,
)
from bighub_langgraph.core.jsonable import exception_text
from bighub_langgraph.core.model_messages import output_after_edit
from bighub_langgraph.core.models import (
    CallRecord,
    State,
    ToolCall,
    ToolFailed,
    ToolOutcome,
    ToolSucceeded,
)
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.reporting import build_event
from bighub_langgraph.graph.answering import answered, replayed, rewritten, tell, tool_messages
from bighub_langgraph.graph.state import Plan, Planned
from bighub_langgraph.guard import BighubGuard

# What a ToolNode returns: an update of the state, or a list of updates and commands.
Update = Any
Invoke = Callable[[], Awaitable[Update]]


@dataclass(frozen=True, slots=True)
class OneCall:
    """One call at the tools' door, with the way to its record.

    Attributes:
        message: The tool call as the tool node wants it.
        thread: First part of its key.
        turn: Second part.
    """

    message: dict[str, Any]
    thread: str
    turn: str

    @property
    def name(self) -> str:
        """The tool."""
        return str(self.message["name"])

    @property
    def call_id(self) -> str:
        """The provider's id of the call."""
        return str(self.message["id"])

    @property
    def call(self) -> ToolCall:
        """The call in the journal's terms."""
        return ToolCall(self.thread, self.turn, self.call_id, self.name, self.message["args"])


async def run_once(
    call: ToolCall, key: str, invoke: Invoke, guard: BighubGuard, ports: Ports
) -> ExecutionResult:
    """Run a call recorded under a key, or find out what became of it; the streams hear of it."""
    policy = guard.runtime.settings.policy_for(call.tool)
    ran = await execute_or_recover(
        key, policy, call.arguments, ports, _run(call.call_id, invoke, guard)
    )
    if ran.record.state is not State.PAUSED:
        tell(build_event("outcome", ran.record, replayed=ran.replayed))
    return ran


def said(ran: ExecutionResult, call: ToolCall) -> Update:
    """What goes into the state for a call that was run, now or earlier."""
    record = ran.record
    if record.result is None or record.result.output is None:
        return [answered(record)]
    update = record.result.output
    if not tool_messages(update) and not isinstance(update, dict | list) and _is_text(update):
        # Settled by a probe or a person: their words are the tool's output.
        return [_message(record, str(update))]
    if record.edited_from is not None:
        update = rewritten(update, lambda message: _told_edit(message, call))
    return rewritten(update, replayed) if ran.replayed else update


def plan_to_ask(call: ToolCall) -> Plan:
    """A plan that asks a person about a call in doubt."""
    asking = Planned(
        id=call.call_id, name=call.tool, args=dict(call.arguments), key=call.key, next="ask"
    )
    return Plan(thread=call.thread, turn=call.turn, calls=[asking])


def _run(call_id: str, invoke: Invoke, guard: BighubGuard) -> Callable[[CallRecord], Any]:
    async def run(record: CallRecord) -> ToolFinished | ToolPaused:
        with enter_call(record):
            try:
                update = await invoke()
            except ParentCommand as signal:  # the tool did its work and hands over
                return ToolFinished(ToolSucceeded(None), signal)
            except GraphBubbleUp as signal:
                return ToolPaused(signal)
            except Exception as error:  # noqa: BLE001 - settled first, then raised as configured
                if is_invalid_resume(error):  # its own question got an answer that does not fit
                    return ToolPaused(error)
                told = f"{type(error).__name__}: {exception_text(error)}"
                return ToolFinished(
                    ToolFailed(guard.runtime.ports.reporting.redact_text(told)), error
                )
        return ToolFinished(_result(update, call_id))

    return run


def _result(update: Update, call_id: str) -> ToolOutcome:
    for message in tool_messages(update):
        if message.tool_call_id == call_id and message.status == "error":
            return ToolFailed(str(message.content), update)
    return ToolSucceeded(update)


def _is_text(update: Update) -> bool:
    return not hasattr(update, "goto")


def _message(record: CallRecord, content: str) -> ToolMessage:
    status = "success" if record.state is State.EXECUTED else "error"
    return ToolMessage(content, name=record.tool, tool_call_id=record.call_id, status=status)


def _told_edit(message: ToolMessage, call: ToolCall) -> ToolMessage:
    if not isinstance(message.content, str) or message.tool_call_id != call.call_id:
        return message
    told = output_after_edit(call.tool, call.arguments, message.content)
    return message.model_copy(update={"content": told})
