"""`tools_node`: a ToolNode behind the guard, for every form of input a ToolNode takes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from bighub_langgraph.core.drive import run_sync
from bighub_langgraph.core.flows import Refused, close, consider
from bighub_langgraph.core.messages import not_possible
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.words import State
from bighub_langgraph.graph.answering import answered, refused, tell
from bighub_langgraph.graph.checks import faults, refuse_forgetful
from bighub_langgraph.graph.inputs import Calls, read_calls
from bighub_langgraph.graph.routing import TOOLS
from bighub_langgraph.graph.state import CHANNEL
from bighub_langgraph.graph.tooling import OneCall, Update, guarded
from bighub_langgraph.guard import BighubGuard

ASK_ELSEWHERE = (
    "a person has to approve it, and this node cannot ask: put the guard into the graph with "
    "add_guard(builder, tools, guard)"
)


class GuardedTools(Runnable[Any, Any]):
    """A node that runs tool calls at most once each; made by `tools_node`."""

    def __init__(self, guard: BighubGuard, tool_node: ToolNode, messages_key: str) -> None:
        self.name = TOOLS
        self._guard = guard
        self._tool_node = tool_node
        self._messages_key = messages_key

    @property
    def tools_by_name(self) -> dict[str, BaseTool]:
        """The tools there are."""
        return self._tool_node.tools_by_name

    def invoke(self, input: Any, config: RunnableConfig | None = None, **given: Any) -> Any:  # noqa: A002
        """Run the calls of an input, without an event loop."""
        config = config or {}
        calls = read_calls(input, config, self._messages_key)
        turn = _Turn(self._guard, self._tool_node, self._messages_key, calls, config, given)
        return run_sync(turn.run(self._guard.ports))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **given: Any) -> Any:  # noqa: A002
        """Run the calls of an input on the running loop."""
        config = config or {}
        calls = read_calls(input, config, self._messages_key)
        turn = _Turn(self._guard, self._tool_node, self._messages_key, calls, config, given)
        return await turn.run(self._guard.aports)


def tools_node(
    guard: BighubGuard,
    tools: Sequence[BaseTool | Callable[..., Any]] | ToolNode,
    *,
    messages_key: str = "messages",
) -> GuardedTools:
    """A node that runs tools behind the guard.

    Calls that `evaluate` has sent run by their record. Any other call is evaluated here first; one
    that needs a person is blocked, for this node cannot ask.

    Args:
        guard: Asks, records and reports.
        tools: Tools, or a ToolNode that keeps its settings and wrappers, inside the guard.
        messages_key: Where the messages are.
    """
    known = tools if isinstance(tools, ToolNode) else ToolNode(tools, messages_key=messages_key)
    return GuardedTools(guard, known, messages_key)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One invocation of the node."""

    guard: BighubGuard
    tool_node: ToolNode
    messages_key: str
    calls: Calls
    config: RunnableConfig
    given: dict[str, Any]

    async def run(self, ports: Ports) -> Any:
        """Run every call that may run, and answer the others."""
        refuse_forgetful(ports.journal, self.config)
        ready = self._sent() if self.calls.sent else await self._evaluated(ports)
        updates = await ports.gather([self._update(one, ports) for one in ready])
        if ports is self.guard.aports:
            await self.guard.courier.astart()
        else:
            self.guard.courier.start()
        return _combined(updates, self.calls.form, self.messages_key)

    def _sent(self) -> list[OneCall | ToolMessage]:
        return [
            OneCall(call, call[CHANNEL]["thread"], call[CHANNEL]["turn"])
            for call in self.calls.calls
        ]

    async def _evaluated(self, ports: Ports) -> list[OneCall | ToolMessage]:
        """Evaluate calls that nobody has evaluated on the way here."""
        ready: list[OneCall | ToolMessage] = []
        calls = self.calls.calls
        for call, fault in zip(calls, faults(calls, None), strict=True):
            one = OneCall(call, self.calls.thread, self.calls.turn)
            if fault is not None:
                ready.append(refused(call["name"], call.get("id"), fault))
            elif self._unguarded(call["name"]):
                ready.append(one)
            else:
                ready.append(await self._considered(one, ports))
        return ready

    def _unguarded(self, name: str) -> bool:
        """Whether a call needs no decision: it changes nothing, or there is nothing to run."""
        unknown = name not in self.tool_node.tools_by_name and not _wrapped(self.tool_node)
        return unknown or self.guard.rules.policy(name).read_only

    async def _considered(self, one: OneCall, ports: Ports) -> OneCall | ToolMessage:
        [record] = await consider(
            [one.call],
            self.guard.rules,
            ports,
            fresh=lambda record: tell(self.guard.announce(record)),
        )
        if isinstance(record, Refused):
            return refused(one.name, one.call_id, not_possible(one.name, record.error))
        if record.state is State.AWAITING:
            record = await close(record, ASK_ELSEWHERE, ports)
        return answered(record) if record.state in _ANSWERED else one

    async def _update(self, one: OneCall | ToolMessage, ports: Ports) -> Update:
        if isinstance(one, ToolMessage):
            return [one]
        if self._unguarded(one.name):
            return await self._invoked(one, ports)
        if ports is self.guard.aports and self._blocking(one.name):
            # Claim, tool and result in one function: a cancelled task cannot part them.
            return await asyncio.to_thread(run_sync, self._guarded(one, self.guard.ports))
        return await self._guarded(one, ports)

    async def _guarded(self, one: OneCall, ports: Ports) -> Update:
        return await guarded(one, lambda: self._invoked(one, ports), self.guard, self.config, ports)

    async def _invoked(self, one: OneCall, ports: Ports) -> Update:
        given = self.calls.for_tool_node(one.message)
        if ports is self.guard.aports:
            return await self.tool_node.ainvoke(given, self.config, **self.given)
        return self.tool_node.invoke(given, self.config, **self.given)

    def _blocking(self, name: str) -> bool:
        tool = self.tool_node.tools_by_name.get(name)
        return tool is not None and not _wrapped(self.tool_node) and _sync_only(tool)


# Ended without the tool; a person has not been and will not be asked here.
_ANSWERED = frozenset({State.BLOCKED, State.ANSWERED, State.SUPERSEDED})


def _wrapped(tool_node: ToolNode) -> bool:
    """Whether a ToolNode brings wrappers of its own."""
    names = ("_wrap_tool_call", "_awrap_tool_call")
    return any(getattr(tool_node, name, None) is not None for name in names)


def _sync_only(tool: BaseTool) -> bool:
    if isinstance(tool, StructuredTool | Tool):
        return tool.coroutine is None
    return type(tool)._arun is BaseTool._arun  # noqa: SLF001 - the hook that subclasses override


def _combined(updates: Sequence[Update], form: str, messages_key: str) -> Any:
    """The updates of all calls as one, in the form a ToolNode gives them."""
    parts = [
        part for update in updates for part in (update if isinstance(update, list) else [update])
    ]
    if any(isinstance(part, Command) for part in parts):
        return [_part(part, form, messages_key) for part in parts]
    messages = [message for part in parts for message in _messages(part, messages_key)]
    return messages if form == "messages" else {messages_key: messages}


def _messages(part: Any, messages_key: str) -> list[Any]:
    if isinstance(part, dict):
        return list(part[messages_key])
    return list(part) if isinstance(part, list) else [part]


def _part(part: Any, form: str, messages_key: str) -> Any:
    if isinstance(part, Command):
        return part
    messages = _messages(part, messages_key)
    return messages if form == "messages" else {messages_key: messages}
