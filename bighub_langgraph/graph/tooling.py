"""The node that runs tools: each call once, whatever happens to the graph around it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp, ParentCommand
from langgraph.types import Command

from bighub_langgraph.core.call import ToolCall
from bighub_langgraph.core.current import entered
from bighub_langgraph.core.doubt import perform
from bighub_langgraph.core.events import event
from bighub_langgraph.core.flows import Ended, Paused, Ran
from bighub_langgraph.core.messages import after_edit
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.record import Executed, Failed, Record, Result
from bighub_langgraph.core.words import State
from bighub_langgraph.graph.answering import answered, tell
from bighub_langgraph.graph.routing import to_people
from bighub_langgraph.graph.state import CHANNEL, Plan, Planned, checkpointer_of
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

    def plan(self, key: str) -> Plan:
        """A plan that asks a person about this call."""
        args = self.message["args"]
        asking = Planned(id=self.call_id, name=self.name, args=args, key=key, next="ask")
        return Plan(thread=self.thread, turn=self.turn, calls=[asking])


async def guarded(
    one: OneCall, invoke: Invoke, guard: BighubGuard, config: RunnableConfig, ports: Ports
) -> Update:
    """Run one recorded call through a tool node; returns what goes into the state."""
    call = one.call
    policy = guard.rules.policy(call.tool)
    ran = await perform(call.key, policy, call.arguments, ports, _run(call.call_id, invoke, guard))
    tell(event("outcome", ran.record, replayed=ran.replayed))
    if ran.signal is not None:
        raise ran.signal
    if ran.record.state is State.UNKNOWN and checkpointer_of(config):
        plan = one.plan(call.key)
        return Command(goto=to_people(plan, plan["calls"]))
    return _said(ran, call)


def _run(call_id: str, invoke: Invoke, guard: BighubGuard) -> Callable[[Record], Any]:
    async def run(record: Record) -> Ended | Paused:
        with entered(record):
            try:
                update = await invoke()
            except ParentCommand as signal:  # the tool did its work and hands over
                return Ended(Executed(None), signal)
            except GraphBubbleUp as signal:
                return Paused(signal)
            except Exception as error:  # noqa: BLE001 - settled first, then raised as configured
                said = guard.rules.redact(f"{type(error).__name__}: {error}")
                return Ended(Failed(str(said)), error)
        return Ended(_result(update, call_id))

    return run


def _result(update: Update, call_id: str) -> Result:
    for message in _tool_messages(update):
        if message.tool_call_id == call_id and message.status == "error":
            return Failed(str(message.content), update)
    return Executed(update)


def _tool_messages(update: Update) -> list[ToolMessage]:
    """Every tool message in an update, however deep the framework has put it."""
    if isinstance(update, ToolMessage):
        return [update]
    if isinstance(update, Command):
        return _tool_messages(update.update)
    if isinstance(update, dict):
        update = list(update.values())
    if isinstance(update, list | tuple):
        return [message for one in update for message in _tool_messages(one)]
    return []


def _said(ran: Ran, call: ToolCall) -> Update:
    record = ran.record
    if record.result is None or record.result.output is None:
        return [answered(record)]
    update = record.result.output
    if not _tool_messages(update) and not isinstance(update, dict | list | Command):
        # Settled by a probe or a person: their words are the tool's output.
        return [_message(record, str(update))]
    if record.edited_from is not None:
        update = _rewritten(update, lambda message: _told_edit(message, call))
    return _rewritten(update, _replayed) if ran.replayed else update


def _message(record: Record, content: str) -> ToolMessage:
    status = "success" if record.state is State.EXECUTED else "error"
    return ToolMessage(content, name=record.tool, tool_call_id=record.call_id, status=status)


def _told_edit(message: ToolMessage, call: ToolCall) -> ToolMessage:
    if not isinstance(message.content, str):
        return message
    said = after_edit(call.tool, call.arguments, message.content)
    return message.model_copy(update={"content": said})


def _replayed(message: ToolMessage) -> ToolMessage:
    about = {**message.additional_kwargs, CHANNEL: {"replayed": True}}
    return message.model_copy(update={"additional_kwargs": about})


def _rewritten(update: Update, change: Callable[[ToolMessage], ToolMessage]) -> Update:
    if isinstance(update, ToolMessage):
        return change(update)
    if isinstance(update, Command):
        return replace(update, update=_rewritten(update.update, change))
    if isinstance(update, dict):
        return {key: _rewritten(one, change) for key, one in update.items()}
    if isinstance(update, list):
        return [_rewritten(one, change) for one in update]
    return update
