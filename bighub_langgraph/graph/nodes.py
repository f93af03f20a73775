"""The nodes that evaluate calls, ask a person and report outcomes, and the edges between them."""

import itertools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.runnables import Runnable, RunnableConfig, ensure_config
from langchain_core.tools import BaseTool
from langgraph.graph import END
from langgraph.types import Command, Overwrite, Send

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.graph.approval_requests import ask_person
from bighub_langgraph.graph.plan import (
    CHANNEL,
    GuardState,
    OptionalConfig,
    Plan,
    TurnId,
    calls_of,
    is_stale,
    last_turn,
    message_tool_call,
    new_plan,
    plan_calls,
    read_messages,
    read_plan,
    subplan,
    to_tool_calls,
)
from bighub_langgraph.graph.run_fence import fence_run
from bighub_langgraph.graph.stale_calls import (
    cancel_removed_calls,
    close_stale_calls,
    refresh_plan,
)
from bighub_langgraph.graph.tool_execution import (
    AsyncGraphHost,
    GraphHost,
    evaluate_plan,
    read_surrounding_messages,
)
from bighub_langgraph.graph.tool_messages import answer_finished_calls
from bighub_langgraph.guard_runtime import GuardRuntime

if TYPE_CHECKING:
    from bighub_langgraph.guard import BighubGuard

CLOSE_STALE_CALLS = "close_stale_calls"
EVALUATE = "evaluate"
APPROVE = "approve"
TOOLS = "tools"
REPORT = "report"

Flow = Callable[..., Coroutine[Any, Any, Any]]


class GuardNode(Runnable[Any, Any]):
    """A node or edge that runs one flow for `invoke` and `ainvoke`.

    The flow takes the input, the configuration, the host, and options passed on to a ToolNode. A
    node claims its task for one run; an edge belongs to the task of its node.
    """

    def __init__(
        self, flow: Flow, runtime: GuardRuntime, name: str | None, *, is_edge: bool = False
    ) -> None:
        self._flow = flow if is_edge else self._run_in_fence
        self._inner_flow = flow
        self._host, self._async_host = GraphHost(runtime), AsyncGraphHost(runtime)
        self.name = name

    def invoke(self, input: Any, config: OptionalConfig = None, **options: Any) -> Any:  # noqa: A002
        """Run the flow without an event loop."""
        # Called inside a node without a configuration, it uses the node's, as a ToolNode does.
        return run_sync(self._flow(input, config or ensure_config(), self._host, **options))

    async def _run_in_fence(
        self, value: Any, config: RunnableConfig, host: GraphHost, **options: Any
    ) -> Any:
        async with fence_run(config, host):
            return await self._inner_flow(value, config, host, **options)

    async def ainvoke(self, input: Any, config: OptionalConfig = None, **options: Any) -> Any:  # noqa: A002
        """Run the flow on the running loop."""
        return await self._flow(input, config or ensure_config(), self._async_host, **options)


def evaluate_node(
    guard: "BighubGuard",
    *,
    messages_key: str = "messages",
    tools: Mapping[str, BaseTool] | None = None,
    all_tools_known: bool = True,
) -> GuardNode:
    """Return a node that evaluates the open calls of the last AI message.

    It plans the turn in the private channel, where `route_by_recommendation` reads the plan. Calls
    that may not run are answered at once. With `tools` and `all_tools_known` these include calls
    that fit no tool; a ToolNode's own wrapper may bring further tools.
    """
    settings = guard.runtime.settings

    async def evaluate_turn(state: Any, config: RunnableConfig, host: GraphHost) -> dict[str, Any]:
        plan = read_plan(state)
        # `send_plan` has sent the plan, or the turn is new, or it is evaluated again.
        if plan and any(call["next"] == "evaluate" for call in plan["calls"]):
            plan = subplan(plan, [call.copy() for call in plan["calls"]])
        else:
            messages = read_messages(state, messages_key)
            turn = last_turn(messages)
            if plan and turn.message is not None and plan["turn"] == turn.message.id:
                await refresh_plan(plan, messages, host.ports)
            elif plan:
                await cancel_removed_calls(plan, messages, host.ports)
            turn_id = TurnId.of(config, turn.message)
            calls = to_tool_calls(turn_id, turn.open_calls)
            plan = new_plan(turn_id, settings, plan_calls(calls))
        await evaluate_plan(plan, config, host, tools=tools, all_tools_known=all_tools_known)
        return {messages_key: await answer_finished_calls(plan, host.ports), CHANNEL: plan}

    return GuardNode(evaluate_turn, guard.runtime, EVALUATE)


def route_by_recommendation(state: GuardState) -> list[Send | str]:
    """Send every allowed call to `tools` on its own, and those that need a person to `approve`.

    With nothing to run and nothing to ask it goes to `report`. If somebody has changed the calls
    in the history since, it goes to `evaluate` again.
    """
    return route_plan(state, "messages")


def route_plan(state: Any, messages_key: str) -> list[Send | str]:
    """Route as `route_by_recommendation`, with the messages under any key."""
    plan = read_plan(state)
    if not plan:
        return [REPORT]
    is_shown = not isinstance(state, Mapping) or messages_key in state
    if is_shown and is_stale(plan, read_messages(state, messages_key)):
        return [EVALUATE]
    return send_plan(plan)


def send_plan(plan: Plan) -> list[Send | str]:
    """Send each call of a plan where it goes next, or go to `report` with none.

    A call goes to the tools with its part of the plan.
    """
    goto: list[Send | str] = [
        Send(TOOLS, [{**message_tool_call(call), CHANNEL: subplan(plan, [{**call, "args": {}}])}])
        for call in plan["calls"]
        if call["next"] == "execute"
    ]
    if questions := [call for call in plan["calls"] if call["next"] == "ask"]:
        groups = [[call] for call in questions] if plan["per_call"] else [questions]
        parts = [subplan(plan, group, unclear=plan["unclear"]) for group in groups]
        goto += [Send(APPROVE, {CHANNEL: part}) for part in parts]
    if edited_calls := [call for call in plan["calls"] if call["next"] == "evaluate"]:
        goto.append(Send(EVALUATE, {CHANNEL: subplan(plan, edited_calls)}))
    return goto or [REPORT]


def approval_node(
    guard: "BighubGuard",
    *,
    messages_key: str = "messages",
    tools: Mapping[str, BaseTool] | None = None,
) -> GuardNode:
    """Return a node that asks a person about the calls that need one, and records the answers.

    It is the only node that interrupts, once per task. Edits are checked against `tools`.
    """

    async def approve(state: Any, config: RunnableConfig, host: GraphHost) -> Command[Any]:
        question: Plan = state[CHANNEL]  # sent by `send_plan`
        history = await read_surrounding_messages(config, messages_key, host)
        if is_stale(question, history):
            return Command(goto=send_plan(await refresh_plan(question, history, host.ports)))
        plan = await ask_person(question, tools, config, host)
        messages = await answer_finished_calls(plan, host.ports)
        return Command(update={messages_key: messages}, goto=send_plan(plan))

    return GuardNode(approve, guard.runtime, APPROVE)


def stale_calls_node(guard: "BighubGuard", *, messages_key: str = "messages") -> GuardNode:
    """Return a node that answers stale calls right behind their AI message."""

    async def close(state: Any, config: RunnableConfig, host: GraphHost) -> dict[str, Any] | None:
        messages = await close_stale_calls(state, config, host.ports, messages_key)
        return None if messages is None else {messages_key: Overwrite(messages)}

    return GuardNode(close, guard.runtime, CLOSE_STALE_CALLS)


def outcome_node(
    guard: "BighubGuard",
    *,
    messages_key: str = "messages",
    then: str | None = "model",
    end: str = END,
    tools: Mapping[str, BaseTool] | None = None,
) -> GuardNode:
    """Return a node that starts the delivery of outcomes.

    It goes to `then` once every call of the turn is answered, so that the model runs once per turn,
    or to `end` if all ran tools of `tools` with `return_direct`. With None for `then` your own
    edges do that.
    """

    async def report_turn(state: Any, _: RunnableConfig, host: GraphHost) -> Command[Any] | None:
        messages = read_messages(state, messages_key)
        plan = read_plan(state)
        is_complete = _is_answered(messages)
        await host.ports.deliver(plan["turn"] if plan and is_complete else None)
        if not is_complete or then is None:
            return None
        return Command(goto=await _next_node(messages, tools or {}, then, end, host))

    return GuardNode(report_turn, guard.runtime, REPORT)


def report_edge(
    guard: "BighubGuard",
    *,
    messages_key: str,
    then: str,
    end: str,
    tools: Mapping[str, BaseTool],
) -> GuardNode:
    """Return the edge out of `report`, which leads nowhere until the turn is answered.

    An edge is followed again in a fork that `update_state` makes, unlike a node's `Command`.
    """

    async def route(state: Any, _: RunnableConfig, host: GraphHost) -> list[str]:
        messages = read_messages(state, messages_key)
        if not _is_answered(messages):
            return []
        node = await _next_node(messages, tools, then, end, host)
        return [] if node == END else [node]

    return GuardNode(route, guard.runtime, "turn_answered", is_edge=True)


def _is_answered(messages: Sequence[BaseMessage]) -> bool:
    turn = last_turn(messages)
    return turn.message is not None and not turn.open_calls


def tools_edge(
    guard: "BighubGuard",
    *,
    messages_key: str,
    then: str,
    end: str,
    tools: Mapping[str, BaseTool],
) -> GuardNode:
    """Return the edge out of the tools: on from the only call of a turn, else to `report`.

    Calls that run side by side do not see each other's answers; `report` sees them all.
    """

    async def route(state: Any, _: RunnableConfig, host: GraphHost) -> str:
        messages = read_messages(state, messages_key)
        message, open_calls = last_turn(messages)
        if message is None or len(message.tool_calls) != 1 or open_calls:
            return REPORT
        await host.ports.deliver(message.id)
        return await _next_node(messages, tools, then, end, host)

    return GuardNode(route, guard.runtime, "answered", is_edge=True)


async def _next_node(
    messages: Sequence[BaseMessage],
    tools: Mapping[str, BaseTool],
    then: str,
    end: str,
    host: GraphHost,
) -> str:
    """Return `end` behind an answered turn that ends the run, else `then`.

    It ends where its tools all return directly, and all succeeded. So does a turn that has no calls
    any more, because somebody removed them.
    """
    names = {call["id"]: call["name"] or "" for call in calls_of(last_turn(messages).message)}

    def returns_directly(answer: ToolMessage) -> bool:
        tool = tools.get(answer.name or "") or tools.get(names.get(answer.tool_call_id, ""))
        has_run = "status" not in answer.additional_kwargs.get(CHANNEL, {})
        return tool is not None and tool.return_direct and has_run and answer.status != "error"

    answers = itertools.takewhile(lambda item: not isinstance(item, AIMessage), reversed(messages))
    if not all(returns_directly(item) for item in answers if isinstance(item, ToolMessage)):
        return then
    await host.wait_for_delivery()
    return end


def model_edge(guard: "BighubGuard", *, messages_key: str, end: str) -> GuardNode:
    """Return the edge out of the model: to `evaluate` with tool calls, else to `end`."""

    async def route(state: Any, _: RunnableConfig, host: GraphHost) -> str:
        if last_turn(read_messages(state, messages_key)).open_calls:
            return EVALUATE
        await host.wait_for_delivery()
        return end

    return GuardNode(route, guard.runtime, "tool_calls", is_edge=True)
