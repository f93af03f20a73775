"""`tools_node`: a ToolNode behind the guard, for every form of input a ToolNode takes."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.evaluation import RefusedCall, evaluate_calls
from bighub_langgraph.core.execution import cancel_call
from bighub_langgraph.core.model_messages import invalid_call_message
from bighub_langgraph.core.models import State
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.answering import answered, refused, tell
from bighub_langgraph.graph.checks import faults, refuse_forgetful
from bighub_langgraph.graph.closing import end_calls
from bighub_langgraph.graph.inputs import Calls, messages_around, read_calls
from bighub_langgraph.graph.langgraph_internals import (
    checkpointer_of,
    may_have_wrapper,
    messages_key_of,
    only_blocks,
    unreadable_run,
)
from bighub_langgraph.graph.leaving import (
    close_behind,
    close_turn,
    joined,
    leaves,
    without_goto,
)
from bighub_langgraph.graph.reporting import tell_of, tell_soon
from bighub_langgraph.graph.routing import to_people
from bighub_langgraph.graph.state import CHANNEL, execution_info, thread_of
from bighub_langgraph.graph.stored import until_stored
from bighub_langgraph.graph.tooling import (
    OneCall,
    Update,
    plan_to_ask,
    run_once,
    said,
)
from bighub_langgraph.guard import BighubGuard

ASK_ELSEWHERE = (
    "a person has to approve it, and this node cannot ask: put the guard into the graph with "
    "add_guard(builder, tools, guard)"
)


class GuardedTools(Runnable[Any, Any]):
    """A node that runs tool calls at most once each; made by `tools_node`."""

    def __init__(
        self,
        guard: BighubGuard,
        tool_node: ToolNode,
        messages_key: str,
        *,
        then: str | None = None,
    ) -> None:
        self.name = tool_node.name
        self._guard = guard
        self._tool_node = tool_node
        self._messages_key = messages_key
        self._then = then

    @property
    def tools_by_name(self) -> dict[str, BaseTool]:
        """The tools there are."""
        return self._tool_node.tools_by_name

    @property
    def complete(self) -> bool:
        """Whether there are no other tools; the ToolNode's own wrapper may bring some."""
        return not may_have_wrapper(self._tool_node)

    def inside_guard(self, then: str) -> "GuardedTools":
        """The same in a graph whose edges tell BIGHUB of a whole turn, and go on to `then`."""
        return GuardedTools(self._guard, self._tool_node, self._messages_key, then=then)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **given: Any) -> Any:  # noqa: A002
        """Run the calls of an input, without an event loop."""
        return run_sync(self._run(input, config, given, self._guard.runtime.ports))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **given: Any) -> Any:  # noqa: A002
        """Run the calls of an input on the running loop."""
        return await self._run(input, config, given, self._guard.runtime.async_ports)

    async def _run(
        self, given: Any, config: RunnableConfig | None, options: dict[str, Any], ports: Ports
    ) -> Any:
        # Called by hand inside a node, it finds that node's config, as a ToolNode does.
        config = config or ensure_config()
        blocking = ports is not self._guard.runtime.async_ports
        calls = await read_calls(given, config, self._messages_key, blocking=blocking)
        turn = _Turn(
            self._guard,
            self._tool_node,
            self._messages_key,
            calls,
            config,
            options,
            self._then,
        )
        return await turn.run(ports)


def tools_node(
    guard: BighubGuard,
    tools: Sequence[BaseTool | Callable[..., Any]] | ToolNode,
    *,
    messages_key: str | None = None,
) -> GuardedTools:
    """A node that runs tools behind the guard.

    Calls that `evaluate` has sent run by their record. Any other call is evaluated here first; one
    that needs a person is blocked, for this node cannot ask.

    Args:
        guard: Asks, records and reports.
        tools: Tools, or a ToolNode that keeps its settings and wrappers, inside the guard: what a
            wrapper of yours changes in a call, BIGHUB does not see.
        messages_key: Where the messages are; the ToolNode's own key, or `messages`.
    """
    if not isinstance(tools, ToolNode):
        tools = ToolNode(tools, messages_key=messages_key or "messages")
    own = messages_key_of(tools) or messages_key
    if own is None:
        raise ConfigurationError(
            "this ToolNode does not show where it keeps its messages: pass messages_key="
        )
    if messages_key not in {None, own}:
        raise ConfigurationError(
            f"the ToolNode keeps its messages in {own!r}, not in {messages_key!r}: "
            f"pass ToolNode(..., messages_key={messages_key!r})"
        )
    return GuardedTools(guard, tools, own)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One invocation of the node."""

    guard: BighubGuard
    tool_node: ToolNode
    messages_key: str
    calls: Calls
    config: RunnableConfig
    options: dict[str, Any]
    then: str | None

    async def run(self, ports: Ports) -> Any:
        """Run every call that may run, and answer the others."""
        refuse_forgetful(ports.journal, self.config)
        blocking = ports is not self.guard.runtime.async_ports
        await until_stored(self.config, execution_info(self.config), ports, blocking=blocking)
        ready = await (self._sent(ports) if self.calls.sent else self._evaluated(ports))
        try:
            updates = await self._updates(ready, ports)
        except Exception:  # a tool's own, settled by now; nobody behind this node will tell
            await tell_of(None, self.guard, ports)
            raise
        flat = [part for one in updates for part in (one if isinstance(one, list) else [one])]
        read = partial(self._messages, ports)
        parts = joined(await close_turn(flat, self.calls, ports, self.messages_key, read))
        if self.then is not None:
            parts = [without_goto(part, self.then) for part in parts]
        if self.then is not None and not any(map(leaves, parts)):
            tell_soon(self.guard, ports)
        else:
            await tell_of(None, self.guard, ports)
        return _combined(parts, self.calls.form, self.messages_key)

    async def _updates(self, calls: Sequence[OneCall | ToolMessage], ports: Ports) -> list[Update]:
        """What the calls give, of which at most `max_concurrency` run at once."""
        most = self.config.get("max_concurrency") or max(len(calls), 1)
        updates: list[Update] = []
        for start in range(0, len(calls), most):
            batch = calls[start : start + most]
            updates += await ports.gather([self._update(one, ports) for one in batch])
        return updates

    async def _messages(self, ports: Ports) -> list[BaseMessage]:
        """The messages around the calls."""
        if self.calls.messages is not None:
            return self.calls.messages
        blocking = ports is not self.guard.runtime.async_ports
        return await messages_around(self.config, self.messages_key, blocking=blocking)

    async def _sent(self, ports: Ports) -> Sequence[OneCall | ToolMessage]:
        """Calls that were evaluated on the way here, unless this run cannot be read."""
        calls = self.calls.calls
        if problem := unreadable_run(self.config, execution_info(self.config)):
            return await end_calls(calls, self.calls.thread, self.calls.turn, problem, ports)
        return [OneCall(call, call[CHANNEL]["thread"], call[CHANNEL]["turn"]) for call in calls]

    async def _evaluated(self, ports: Ports) -> list[OneCall | ToolMessage]:
        """Evaluate calls that nobody has evaluated on the way here, side by side."""
        calls = self.calls.calls
        wrong = faults(calls, None, self.config, execution_info(self.config))
        return await ports.gather(
            [
                self._looked_at(OneCall(call, self.calls.thread, self.calls.turn), fault, ports)
                for call, fault in zip(calls, wrong, strict=True)
            ]
        )

    async def _looked_at(
        self, one: OneCall, fault: str | None, ports: Ports
    ) -> OneCall | ToolMessage:
        if fault is not None:
            return refused(one.name, one.message.get("id"), fault)
        return one if self._unguarded(one.name) else await self._considered(one, ports)

    def _unguarded(self, name: str) -> bool:
        """Whether a call needs no decision: it changes nothing, or there is nothing to run."""
        unknown = name not in self.tool_node.tools_by_name and not may_have_wrapper(self.tool_node)
        return unknown or self.guard.runtime.settings.policy_for(name).read_only

    async def _considered(self, one: OneCall, ports: Ports) -> OneCall | ToolMessage:
        session = thread_of(self.config) or self.calls.turn
        [record] = await evaluate_calls(
            [one.call],
            self.guard.runtime.settings,
            ports,
            session=session,
            trajectory=session,
            on_new=lambda record: tell(self.guard.runtime.emit_decision(record)),
        )
        if isinstance(record, RefusedCall):
            return refused(one.name, one.call_id, invalid_call_message(one.name, record.error))
        if record.state is State.AWAITING:
            record = await cancel_call(record, ASK_ELSEWHERE, ports)
        return answered(record) if record.state in ENDED_WITHOUT_TOOL else one

    async def _update(self, one: OneCall | ToolMessage, ports: Ports) -> Update:
        if isinstance(one, ToolMessage):
            return [one]
        if self._unguarded(one.name):
            return await self._invoked(one, ports)
        if ports is self.guard.runtime.async_ports and self._blocking(one.name):
            # Claim, tool and result in one function: a cancelled task cannot part them.
            return await asyncio.to_thread(run_sync, self._guarded(one, self.guard.runtime.ports))
        return await self._guarded(one, ports)

    async def _guarded(self, one: OneCall, ports: Ports) -> Update:
        call = one.call
        ran = await run_once(call, call.key, lambda: self._invoked(one, ports), self.guard, ports)
        if ran.signal is not None:
            read = partial(self._messages, ports)
            raise await close_behind(ran.signal, self.calls, ports, self.messages_key, read)
        if ran.record.state is State.UNKNOWN and self.calls.sent and checkpointer_of(self.config):
            plan = plan_to_ask(call)
            return Command(goto=to_people(plan, plan["calls"]))
        return said(ran, call)

    async def _invoked(self, one: OneCall, ports: Ports) -> Update:
        given = self.calls.for_tool_node(one.message)
        if ports is self.guard.runtime.async_ports:
            return await self.tool_node.ainvoke(given, self.config, **self.options)
        return self.tool_node.invoke(given, self.config, **self.options)

    def _blocking(self, name: str) -> bool:
        """Whether the ToolNode would do no more than to run the tool in a thread."""
        stock = type(self.tool_node) is ToolNode and not may_have_wrapper(self.tool_node)
        return stock and only_blocks(self.tool_node.tools_by_name.get(name))


# A person has not been and will not be asked about these here.
ENDED_WITHOUT_TOOL = frozenset({State.BLOCKED, State.ANSWERED, State.EDITED})


def _combined(parts: Sequence[Any], form: str, messages_key: str) -> Any:
    """The updates of all calls as one, in the form a ToolNode gives them."""
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
