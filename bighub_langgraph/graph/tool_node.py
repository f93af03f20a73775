"""`tools_node`: a ToolNode whose calls run once each, for every form of input a ToolNode takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.errors import ParentCommand
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.models import State, ToolCall
from bighub_langgraph.graph.langgraph_internals import (
    checkpointer_of,
    execution_info,
    has_state,
    may_have_wrapper,
    messages_key_of,
    only_blocks,
    unreadable_run,
    with_state,
)
from bighub_langgraph.graph.nodes import GuardNode, send_plan
from bighub_langgraph.graph.plan import (
    CHANNEL,
    Plan,
    PlannedCall,
    TurnId,
    is_stale,
    key_of,
    last_turn,
    message_tool_call,
    new_plan,
    plan_calls,
    question_plan,
    read_messages,
    subplan,
    to_tool_calls,
)
from bighub_langgraph.graph.stale_calls import close_calls, refresh_plan
from bighub_langgraph.graph.tool_execution import (
    GraphHost,
    Update,
    check_run,
    evaluate_plan,
    read_surrounding_messages,
    run_once,
    run_read_only,
    update_of,
    with_decision,
)
from bighub_langgraph.graph.tool_messages import (
    add_to_update,
    answer_finished_calls,
    find_tool_messages,
    goes_to_parent,
    join_parent_sends,
    remove_goto,
    sent_tool_messages,
)
from bighub_langgraph.graph.validation import warn_about_policies
from bighub_langgraph.guard_runtime import GuardRuntime

if TYPE_CHECKING:
    from bighub_langgraph.guard import BighubGuard

CANNOT_ASK = (
    "a person has to approve it, and this node cannot ask: put the guard into the graph with "
    "add_guard(builder, tools, guard)"
)
HANDED_OVER = "the conversation was handed over before it ran"

Form = Literal["calls", "messages", "state"]


def tools_node(
    guard: "BighubGuard",
    tools: Sequence[BaseTool | Callable[..., Any]] | ToolNode,
    *,
    messages_key: str | None = None,
) -> "GuardedTools":
    """Return a node that runs tools behind the guard.

    Calls that `evaluate` has sent run by their record. Any other call is evaluated here first; one
    that needs a person is blocked, because this node cannot ask. A ToolNode keeps its settings, its
    `messages_key` and its wrappers: BIGHUB does not see what a wrapper of yours changes in a call.
    """
    if not isinstance(tools, ToolNode):
        tools = ToolNode(tools, messages_key=messages_key or "messages")
    own_key = messages_key_of(tools) or messages_key
    if own_key is None:
        raise ConfigurationError(
            "this ToolNode does not show where it keeps its messages: pass messages_key="
        )
    if messages_key not in {None, own_key}:
        raise ConfigurationError(
            f"the ToolNode keeps its messages in {own_key!r}, not in {messages_key!r}: "
            f"pass ToolNode(..., messages_key={messages_key!r})"
        )
    warn_about_policies(guard.runtime.settings.tools.keys(), tools.tools_by_name.keys())
    return GuardedTools(guard.runtime, tools, own_key)


class GuardedTools(GuardNode):
    """A node that runs tool calls at most once each; made by `tools_node`.

    Attributes:
        tools_by_name: The tools; LangGraph also shows them in the picture of a graph.
        all_tools_known: Whether the ToolNode has no wrapper that may bring further tools.
        blocking_tools: The tools whose function the ToolNode only runs in a thread.
        then: The node after the tools, if the edges of `add_guard` deliver the reports.
    """

    def __init__(self, runtime: GuardRuntime, tool_node: ToolNode, messages_key: str) -> None:
        super().__init__(self._run, runtime, tool_node.name)
        self.tool_node = tool_node
        self.messages_key = messages_key
        self.tools_by_name = tool_node.tools_by_name
        self.all_tools_known = not may_have_wrapper(tool_node)
        is_stock = type(tool_node) is ToolNode and self.all_tools_known
        self.blocking_tools = {
            name for name, tool in self.tools_by_name.items() if is_stock and only_blocks(tool)
        }
        self.then: str | None = None

    async def _run(
        self, value: Any, config: RunnableConfig, host: GraphHost, **options: Any
    ) -> Any:
        node_input = await _read_input(value, config, self.messages_key, host)
        return await _Invocation(self, node_input, config, options).run(host)


@dataclass(frozen=True, slots=True)
class _Invocation:
    """One invocation of the node."""

    node: GuardedTools
    input: "_ToolNodeInput"
    config: RunnableConfig
    options: dict[str, Any]

    async def run(self, host: GraphHost) -> Any:
        """Run every call that may run, and answer the others."""
        await check_run(self.config, host)
        calls = await self._prepare(host)
        try:
            updates = await self._gather_updates(calls, host)
        except Exception:  # a tool's own, recorded by now; no later step delivers its report
            await host.ports.deliver(None)
            raise
        parts = [part for update in updates for part in _as_list(update)]
        parts = join_parent_sends(await self._close_turn(parts, host))
        then = self.node.then
        if then is not None and not any(map(goes_to_parent, parts)):
            host.ports.schedule_delivery()
        else:
            await host.ports.deliver(None)
        if then is not None:
            parts = [remove_goto(part, then) for part in parts]
        return _combine(parts, self.input.form, self.node.messages_key)

    async def _prepare(self, host: GraphHost) -> Sequence[PlannedCall | ToolMessage | Command[Any]]:
        """Return the calls that may run, and what becomes of the others."""
        source = self.input
        if source.plan is None:
            return await self._evaluate(source.calls, host)
        if problem := unreadable_run(self.config):
            return await close_calls(source.calls, problem, host.ports)
        plan = source.plan
        if execution_info(self.config):
            key = self.node.messages_key
            messages = await read_surrounding_messages(self.config, key, host)
            if is_stale(plan, messages):
                plan = await refresh_plan(plan, messages, host.ports)
        if any(call["next"] == "evaluate" for call in plan["calls"]):
            return [Command(goto=send_plan(plan))]
        calls = to_tool_calls(source.turn_id, plan["calls"])
        if [key_of(call) for call in calls] == [call["key"] for call in plan["calls"]]:
            return plan["calls"]  # as they were evaluated
        return await self._evaluate(calls, host)

    async def _evaluate(
        self, calls: Sequence[ToolCall], host: GraphHost
    ) -> list[PlannedCall | ToolMessage]:
        """Evaluate calls where nobody can be asked."""
        names = self.node.tools_by_name.keys() if self.node.all_tools_known else None
        # The ToolNode answers calls of tools that do not exist.
        plan = new_plan(self.input.turn_id, host.runtime.settings, plan_calls(calls, names))
        await evaluate_plan(plan, self.config, host, cannot_ask=CANNOT_ASK)
        answers = iter(await answer_finished_calls(plan, host.ports))
        return [next(answers) if call["next"] == "done" else call for call in plan["calls"]]

    async def _gather_updates(
        self, calls: Sequence[PlannedCall | ToolMessage | Command[Any]], host: GraphHost
    ) -> list[Update]:
        """Return the update of each call; at most `max_concurrency` calls run at once."""
        size = self.config.get("max_concurrency") or max(len(calls), 1)
        updates: list[Update] = []
        for start in range(0, len(calls), size):
            batch = calls[start : start + size]
            updates += await host.ports.gather([self._get_update(call, host) for call in batch])
        return updates

    async def _get_update(
        self, call: PlannedCall | ToolMessage | Command[Any], host: GraphHost
    ) -> Update:
        if isinstance(call, ToolMessage | Command):
            return call
        if call["key"] is None:
            [read_only_call] = to_tool_calls(self.input.turn_id, [call])
            return await run_read_only(read_only_call, lambda: self._invoke_tool(call, host), host)
        if call["name"] in self.node.blocking_tools:
            # Claim, tool and result in one function, which a cancelled task cannot interrupt.
            return await host.run_in_thread(partial(self._run_guarded, call, call["key"]))
        return await self._run_guarded(call, call["key"], host)

    async def _run_guarded(self, planned_call: PlannedCall, key: str, host: GraphHost) -> Update:
        [call] = to_tool_calls(self.input.turn_id, [planned_call])
        result = await run_once(call, key, lambda: self._invoke_tool(planned_call, host), host)
        if isinstance(result.signal, ParentCommand):
            [command] = await self._close_turn([result.signal.args[0]], host)
            raise ParentCommand(command)
        if result.signal is not None:
            raise result.signal
        is_unknown = result.record.state is State.UNKNOWN
        if is_unknown and self.input.plan is not None and checkpointer_of(self.config):
            return Command(goto=send_plan(question_plan(call, key, host.runtime.settings)))
        return update_of(result, call)

    async def _invoke_tool(self, call: PlannedCall, host: GraphHost) -> Update:
        value = self.input.value_for(call)
        config = with_decision(self.config, call["name"])
        return await host.invoke(self.node.tool_node, value, config, **self.options)

    async def _close_turn(self, parts: Sequence[Any], host: GraphHost) -> list[Any]:
        """Let a command to the parent answer the calls it leaves behind.

        The graph that is left keeps nothing of the turn: open calls are cancelled, running ones are
        waited for, and the results of finished ones go along.
        """
        commands = [part for part in parts if goes_to_parent(part)]
        if not commands:
            return list(parts)
        messages = self.input.messages
        if messages is None:
            messages = await read_surrounding_messages(self.config, self.node.messages_key, host)
        turn = self.input.turn_id.turn
        sent_messages = [
            message for command in commands for message in sent_tool_messages(command, turn)
        ]
        sent_ids = {message.tool_call_id for message in sent_messages}
        calls = to_tool_calls(self.input.turn_id, last_turn(messages).open_calls)
        calls = [call for call in calls if call.call_id not in sent_ids]
        answers = await close_calls(calls, HANDED_OVER, host.ports)
        carrier = next((part for part in commands if find_tool_messages(part.update, turn)), None)
        if carrier is None:
            return list(parts)
        command = add_to_update(carrier, answers, self.node.messages_key)
        return [command if part is carrier else part for part in parts]


def _as_list(update: Update) -> list[Any]:
    return update if isinstance(update, list) else [update]


def _combine(parts: Sequence[Any], form: str, messages_key: str) -> Any:
    """Return the updates of all calls as one, in the form a ToolNode returns them."""
    groups = [_as_list(part[messages_key] if isinstance(part, dict) else part) for part in parts]
    if not any(isinstance(part, Command) for part in parts):
        messages = [message for group in groups for message in group]
        return messages if form == "messages" else {messages_key: messages}
    outputs = groups if form == "messages" else [{messages_key: group} for group in groups]
    pairs = zip(parts, outputs, strict=True)
    return [part if isinstance(part, Command) else output for part, output in pairs]


@dataclass(frozen=True, slots=True)
class _ToolNodeInput:
    """The calls of an input, whose form is also that of the output.

    Attributes:
        plan: The plan of the calls, where the guard's own edges sent them.
        state: The state for tools that ask for it; None where the ToolNode reads it by itself.
        messages: The messages around the calls; None where they were not needed yet.
    """

    form: Form
    calls: list[ToolCall]
    turn_id: TurnId
    plan: Plan | None = None
    state: Any = None
    messages: list[BaseMessage] | None = None

    def value_for(self, call: PlannedCall) -> Any:
        """Return an input of a ToolNode with one call alone."""
        tool_call = message_tool_call(call)
        if self.form == "messages":
            # With one call in the last AI message: a ToolNode runs all that it is shown.
            messages = self.messages or []
            index = max(n for n, item in enumerate(messages) if isinstance(item, AIMessage))
            message = messages[index].model_copy(update={"tool_calls": [tool_call]})
            return [*messages[:index], message, *messages[index + 1 :]]
        return [tool_call] if self.state is None else with_state(tool_call, self.state)


async def _read_input(
    value: Any, config: RunnableConfig, messages_key: str, host: GraphHost
) -> _ToolNodeInput:
    """Read a state, a list of messages, a list of calls, or one call with a state."""
    form: Form = "calls"
    values, state = None, None
    last = value[-1] if isinstance(value, list) and value else None
    if isinstance(last, Mapping) and last.get("type") == "tool_call":
        if all(CHANNEL in call for call in value):
            return _read_sent_calls(value)
        values, messages = value, await read_surrounding_messages(config, messages_key, host)
    elif has_state(value):
        values, state = [value["tool_call"]], value["state"]
        messages = read_messages(state, messages_key)
    else:
        form, state = "messages" if isinstance(value, list) else "state", value
        messages = read_messages(value, messages_key)
    turn = last_turn(messages)
    if values is None and turn.message is None:
        raise ValueError("there is no AI message in the input, so there is no tool call to run")
    turn_id = TurnId.of(config, turn.message)
    calls = to_tool_calls(turn_id, turn.open_calls if values is None else values)
    return _ToolNodeInput(form, calls, turn_id, state=state, messages=messages)


def _read_sent_calls(values: Sequence[Mapping[str, Any]]) -> _ToolNodeInput:
    """Read calls that the guard's own edges sent, each with its part of the plan."""
    planned_calls: list[Any] = [
        {**call, "args": value["args"]} for value in values for call in value[CHANNEL]["calls"]
    ]
    plan = subplan(values[0][CHANNEL], planned_calls)
    turn_id = TurnId(plan["thread"], plan["turn"])
    calls = to_tool_calls(turn_id, plan["calls"])
    return _ToolNodeInput("calls", calls, turn_id, plan)
