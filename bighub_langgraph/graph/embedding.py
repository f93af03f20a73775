"""`add_guard`: the guard in a graph that exists, with one line."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.graph import END, StateGraph
from langgraph.prebuilt import ToolNode

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.approving import approval_node
from bighub_langgraph.graph.evaluating import evaluate_node
from bighub_langgraph.graph.langgraph_internals import has_node, has_reducer, redirect_edges
from bighub_langgraph.graph.node import Node
from bighub_langgraph.graph.opening import OPEN, opening_node
from bighub_langgraph.graph.reporting import going_on, outcome_node
from bighub_langgraph.graph.routing import (
    APPROVE,
    EVALUATE,
    REPORT,
    TOOLS,
    route_by_recommendation,
)
from bighub_langgraph.graph.state import input_schema, last_turn, messages_of
from bighub_langgraph.graph.tools import tools_node
from bighub_langgraph.guard import BighubGuard
from bighub_langgraph.guard_runtime import END_OF_RUN


class GuardNodes(NamedTuple):
    """The names of the nodes that `add_guard` added."""

    open: str = OPEN
    evaluate: str = EVALUATE
    approve: str = APPROVE
    tools: str = TOOLS
    report: str = REPORT


def add_guard(
    builder: StateGraph[Any, Any, Any, Any],
    tools: Sequence[BaseTool | Callable[..., Any]] | ToolNode,
    guard: BighubGuard,
    *,
    after: str = "model",
    then: str = "model",
    end: str = END,
    messages_key: str = "messages",
) -> GuardNodes:
    """Put the guard behind the node that calls the model. Call it last, before `compile`.

    It adds the nodes `open`, `evaluate`, `approve`, `tools` and `report` and all their edges. The
    edges into `after` lead into `open` first, which closes calls that a new message has overtaken;
    conditional edges do if they name their ends, and a `Command` or a `Send` to `after` does not.

    Args:
        builder: Your graph.
        tools: The tools, or a ToolNode with settings of its own.
        guard: The guard.
        after: The node whose AI messages are looked at.
        then: The node that goes on when every call of a turn is answered.
        end: Where a message without tool calls leads.
        messages_key: Where the messages are; needs a reducer.
    """
    _check(builder, after, then, end, messages_key)
    running = tools_node(guard, tools, messages_key=messages_key)
    known = running.tools_by_name
    evaluate = evaluate_node(
        guard, messages_key=messages_key, tools=known, complete=running.complete
    )
    approve = approval_node(guard, messages_key=messages_key, tools=known)
    report = outcome_node(guard, messages_key=messages_key, then=then)
    add = partial(builder.add_node, input_schema=input_schema(messages_key))
    add(OPEN, opening_node(guard, messages_key=messages_key))
    add(EVALUATE, evaluate)
    add(APPROVE, approve, destinations=(TOOLS, EVALUATE, REPORT))
    # Tools may ask for any part of the state: this node reads it by the graph's own schema.
    builder.add_node(TOOLS, running.inside_guard(then), destinations=(APPROVE,))
    add(REPORT, report, destinations=(then,))
    redirect_edges(builder, after, OPEN)
    builder.add_edge(OPEN, after)
    leaving = _leaving(guard, messages_key, end)
    builder.add_conditional_edges(after, leaving, {EVALUATE: EVALUATE, end: end})
    builder.add_conditional_edges(EVALUATE, route_by_recommendation, [TOOLS, APPROVE, REPORT])
    answered = going_on(guard, messages_key=messages_key, then=then)
    builder.add_conditional_edges(TOOLS, answered, [then, REPORT])
    return GuardNodes()


def _check(
    builder: StateGraph[Any, Any, Any, Any], after: str, then: str, end: str, messages_key: str
) -> None:
    for name in (after, then, *([] if end == END else [end])):
        if not has_node(builder, name):
            raise ConfigurationError(f"add_guard: the graph has no node {name!r}; add it first")
    taken = [name for name in GuardNodes() if has_node(builder, name)]
    if taken:
        listed = ", ".join(taken)
        raise ConfigurationError(f"add_guard: the graph already has nodes named {listed}")
    if not has_reducer(builder, messages_key):
        raise ConfigurationError(
            f"add_guard: the key {messages_key!r} needs a reducer, such as add_messages, so that "
            "answers of tools are added to the messages and do not replace them"
        )


def _leaving(guard: BighubGuard, messages_key: str, end: str) -> Node:
    """The edge out of the model: to `evaluate` with tool calls, else out, after reporting."""

    async def flow(state: Any, _: RunnableConfig, ports: Ports) -> str:
        message, _answered = last_turn(messages_of(state, messages_key))
        if message is not None and message.tool_calls:
            return EVALUATE
        if ports is guard.runtime.async_ports:
            await guard.runtime.delivery.wait_async(END_OF_RUN)
        else:
            guard.runtime.delivery.wait(END_OF_RUN)
        return end

    return Node(flow, guard, "tool_calls")
