"""`add_guard`: the guard in a graph that exists, with one line."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.channels import BinaryOperatorAggregate
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.graph.approving import approval_node
from bighub_langgraph.graph.behind import add_edge_behind
from bighub_langgraph.graph.evaluating import evaluate_node
from bighub_langgraph.graph.node import Edge, Node
from bighub_langgraph.graph.opening import OPEN, opening_node, overtaken
from bighub_langgraph.graph.reporting import going_on, outcome_node
from bighub_langgraph.graph.routing import (
    APPROVE,
    EVALUATE,
    REPORT,
    TOOLS,
    route_by_recommendation,
)
from bighub_langgraph.graph.state import (
    CHANNEL,
    input_schema,
    last_turn,
    messages_of,
    read_around,
)
from bighub_langgraph.graph.tools import tools_node
from bighub_langgraph.guard import END_OF_RUN, BighubGuard


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

    It adds the nodes `open`, `evaluate`, `approve`, `tools` and `report` and all their edges. What
    led into `after` leads into `open` first, which closes calls that a new message has overtaken;
    from the start of the graph only where there are such calls.

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
    schema = input_schema(messages_key)
    nodes: dict[str, tuple[Any, tuple[str, ...]]] = {
        OPEN: (opening_node(guard, messages_key=messages_key), ()),
        EVALUATE: (
            evaluate_node(guard, messages_key=messages_key, tools=known, complete=running.complete),
            (),
        ),
        APPROVE: (
            approval_node(guard, messages_key=messages_key, tools=known),
            (TOOLS, EVALUATE, REPORT),
        ),
        TOOLS: (running.told_behind(), ()),
        REPORT: (outcome_node(guard, messages_key=messages_key, then=then), (then,)),
    }
    for name, (node, ends) in nodes.items():
        builder.add_node(name, node, input_schema=schema, destinations=ends or None)
    _lead_through(builder, OPEN, after)
    _enter(builder, after, messages_key)
    leaving = _leaving(guard, messages_key, end)
    builder.add_conditional_edges(after, leaving, {EVALUATE: EVALUATE, end: end})
    add_edge_behind(
        builder, EVALUATE, Edge(_by_plan, "route_by_recommendation"), [TOOLS, APPROVE, REPORT]
    )
    answered = going_on(guard, messages_key=messages_key, then=then)
    add_edge_behind(builder, TOOLS, answered, [then, REPORT])
    return GuardNodes()


def _check(
    builder: StateGraph[Any, Any, Any, Any], after: str, then: str, end: str, messages_key: str
) -> None:
    for name in (after, then, *([] if end == END else [end])):
        if name not in builder.nodes:
            raise ConfigurationError(f"add_guard: the graph has no node {name!r}; add it first")
    taken = [name for name in GuardNodes() if name in builder.nodes]
    if taken:
        listed = ", ".join(taken)
        raise ConfigurationError(f"add_guard: the graph already has nodes named {listed}")
    if not isinstance(builder.channels.get(messages_key), BinaryOperatorAggregate):
        raise ConfigurationError(
            f"add_guard: the key {messages_key!r} needs a reducer, such as add_messages, so that "
            "answers of tools are added to the messages and do not replace them"
        )


def _leaving(guard: BighubGuard, messages_key: str, end: str) -> Node:
    """The edge out of the model: to `evaluate` with tool calls, else out, after telling."""

    async def flow(state: Any, _: RunnableConfig, ports: Ports) -> str:
        message, _answered = last_turn(messages_of(state, messages_key))
        if message is not None and message.tool_calls:
            return EVALUATE
        if ports is guard.aports:
            await guard.courier.await_(END_OF_RUN)
        else:
            guard.courier.wait(END_OF_RUN)
        return end

    return Node(flow, guard, "tool_calls")


def _by_plan(update: Any, config: RunnableConfig) -> list[Send | str]:
    """The edge out of `evaluate`; who writes in its place by hand leaves the plan as it is."""
    planned = isinstance(update, dict) and CHANNEL in update
    state: Any = update if planned else read_around(config, [CHANNEL])
    return route_by_recommendation(state)


def _lead_through(builder: StateGraph[Any, Any, Any, Any], entry: str, after: str) -> None:
    """Let everything that leads into `after` lead into `entry` first."""
    for start, end in sorted(builder.edges):
        if end == after:
            builder.edges.discard((start, end))
            builder.add_edge(start, entry)
    for starts, end in sorted(builder.waiting_edges):
        if end == after:
            builder.waiting_edges.discard((starts, end))
            builder.add_edge(list(starts), entry)
    for branches in builder.branches.values():
        for name, branch in branches.items():
            if branch.ends and after in branch.ends.values():
                ends = {key: entry if end == after else end for key, end in branch.ends.items()}
                branches[name] = branch._replace(ends=ends)
    builder.add_edge(entry, after)


def _enter(builder: StateGraph[Any, Any, Any, Any], after: str, messages_key: str) -> None:
    """Let a run pass by `open` where the graph's start leads there and nothing is to be closed.

    Only at the start: no other task runs beside it that could lead into `after`, too.
    """
    if (START, OPEN) not in builder.edges or builder.branches[START]:
        return
    builder.edges.discard((START, OPEN))

    def where(state: Any, _: RunnableConfig) -> str:
        return OPEN if overtaken(messages_of(state, messages_key)) else after

    builder.add_conditional_edges(START, Edge(where, "entry"), [OPEN, after])
    edges = builder.branches[START]
    edges["entry"] = edges["entry"]._replace(input_schema=input_schema(messages_key))
