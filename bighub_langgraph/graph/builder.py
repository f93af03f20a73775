"""Build guarded graphs: `create_guarded_agent`, and `add_guard` for a graph of your own.

The nodes that both add are those of `nodes` and `tool_node`; `model_node` is here.
"""

import sys
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from langchain_core.language_models import BaseChatModel, LanguageModelLike
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.channels import BinaryOperatorAggregate, DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.store.base import BaseStore

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.graph.langgraph_internals import installed_versions
from bighub_langgraph.graph.nodes import (
    APPROVE,
    CLOSE_STALE_CALLS,
    EVALUATE,
    REPORT,
    TOOLS,
    GuardNode,
    approval_node,
    evaluate_node,
    model_edge,
    outcome_node,
    report_edge,
    route_plan,
    stale_calls_node,
    tools_edge,
)
from bighub_langgraph.graph.plan import OptionalConfig, input_schema, read_messages
from bighub_langgraph.graph.tool_execution import GraphHost
from bighub_langgraph.graph.tool_node import GuardedTools, tools_node
from bighub_langgraph.graph.validation import check_journal

if TYPE_CHECKING:
    from bighub_langgraph.guard import BighubGuard

MODEL = "model"

Prompt = str | SystemMessage | Callable[[Any], Any] | Runnable[Any, Any]
Tools = Sequence[BaseTool | Callable[..., Any]] | ToolNode
Builder = StateGraph[Any, Any, Any, Any]


def create_guarded_agent(
    model: str | LanguageModelLike,
    tools: Tools,
    guard: "BighubGuard",
    *,
    prompt: Prompt | None = None,
    state_schema: type | None = None,
    context_schema: type | None = None,
    checkpointer: BaseCheckpointSaver[Any] | bool | None = None,
    store: BaseStore | None = None,
    name: str | None = None,
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Build an agent whose tool calls are evaluated, approved if needed, run once and reported.

    Args:
        model: A chat model, or a name such as "openai:gpt-4.1" (needs the `langchain` extra).
        tools: Tools, or a ToolNode with settings of its own.
        guard: The guard.
        prompt: System text, system message, or a function of the state that returns messages.
        state_schema: Your state; it has `messages` with a reducer. `MessagesState` by default.
        context_schema: The type of the run's context.
        checkpointer: Stores the threads; without one no person can be asked. Pass False if that is
            meant; an agent with a name may be part of a graph that has one.
        store: The store that tools may use.
        name: The graph's name.
    """
    check_journal(guard.journal, checkpointer)
    # A graph around this one, or a LangGraph server, brings a checkpointer of its own.
    if checkpointer is None and name is None and "langgraph_api" not in sys.modules:
        warnings.warn(
            "this agent has no checkpointer, so a call that needs a person is blocked: pass "
            "checkpointer=..., name=... if it is part of another graph, or checkpointer=False",
            stacklevel=2,
        )
    builder: Builder = StateGraph(state_schema or MessagesState, context_schema=context_schema)
    call_model = model_node(model, tools, prompt=prompt)

    async def call(state: Any, config: RunnableConfig, host: GraphHost) -> dict[str, Any]:
        update: dict[str, Any] = await host.invoke(call_model, state, config)
        return update

    builder.add_node(MODEL, GuardNode(call, guard.runtime, MODEL))
    builder.add_edge(START, MODEL)
    add_guard(builder, tools, guard)
    return builder.compile(checkpointer=checkpointer, store=store, name=name)


class GuardNodes(NamedTuple):
    """The names of the nodes that `add_guard` added."""

    close_stale_calls: str = CLOSE_STALE_CALLS
    evaluate: str = EVALUATE
    approve: str = APPROVE
    tools: str = TOOLS
    report: str = REPORT


def add_guard(
    builder: Builder,
    tools: Tools,
    guard: "BighubGuard",
    *,
    after: str = "model",
    then: str | None = None,
    end: str = END,
    messages_key: str = "messages",
) -> GuardNodes:
    """Add the guard behind the node that calls the model. Call it last, before `compile`.

    It adds the nodes `close_stale_calls`, `evaluate`, `approve`, `tools` and `report` and all their
    edges. The edges into `after` are redirected to `close_stale_calls`, which closes calls that a
    new message has made stale. That includes conditional edges with a path map; a `Command` or a
    `Send` to `after` is not redirected.

    Args:
        builder: Your graph.
        tools: The tools, or a ToolNode with settings of its own.
        guard: The guard.
        after: The node whose tool calls are guarded.
        then: The node that is next when every call of a turn is answered; `after` by default.
        end: The node after a message without tool calls, and after tools with `return_direct`.
        messages_key: The state's key of the messages; it needs a reducer.
    """
    then = then or after
    _check_graph(builder, after, then, end, messages_key)
    guarded_tools = tools_node(guard, tools, messages_key=messages_key)
    guarded_tools.then = then
    _add_nodes(builder, guarded_tools, guard)
    redirect_edges(builder, after, CLOSE_STALE_CALLS)
    _add_edges(builder, guarded_tools, guard, after=after, then=then, end=end)
    return GuardNodes()


def _add_nodes(builder: Builder, tools: GuardedTools, guard: "BighubGuard") -> None:
    key: Any = {"messages_key": tools.messages_key}
    by_name, all_known = tools.tools_by_name, tools.all_tools_known
    add = partial(builder.add_node, input_schema=input_schema(tools.messages_key))
    add(CLOSE_STALE_CALLS, stale_calls_node(guard, **key))
    add(EVALUATE, evaluate_node(guard, **key, tools=by_name, all_tools_known=all_known))
    approve = approval_node(guard, **key, tools=by_name)
    add(APPROVE, approve, destinations=(TOOLS, EVALUATE, REPORT))
    # Tools may ask for any part of the state: this node has the graph's own schema.
    builder.add_node(TOOLS, tools, destinations=(APPROVE, EVALUATE))
    add(REPORT, outcome_node(guard, **key, then=None))


def _add_edges(
    builder: Builder, tools: GuardedTools, guard: "BighubGuard", *, after: str, then: str, end: str
) -> None:
    key: Any = {"messages_key": tools.messages_key}
    builder.add_edge(CLOSE_STALE_CALLS, after)
    from_model = model_edge(guard, **key, end=end)
    builder.add_conditional_edges(after, from_model, {EVALUATE: EVALUATE, end: end})
    from_evaluate = partial(route_plan, **key)
    builder.add_conditional_edges(EVALUATE, from_evaluate, [TOOLS, APPROVE, EVALUATE, REPORT])
    next_nodes = _list_next_nodes(tools, then, end)
    leave: Any = {**key, "then": then, "end": end, "tools": tools.tools_by_name}
    builder.add_conditional_edges(TOOLS, tools_edge(guard, **leave), [REPORT, *next_nodes])
    # A turn whose calls somebody removed goes to `end` too.
    ends = next_nodes if end == END else [then, end]
    builder.add_conditional_edges(REPORT, report_edge(guard, **leave), ends)


def _list_next_nodes(tools: GuardedTools, then: str, end: str) -> list[str]:
    """Return the nodes behind an answered turn: `end` only with tools that return directly."""
    returns_directly = any(tool.return_direct for tool in tools.tools_by_name.values())
    return [then, end] if returns_directly else [then]


def _check_graph(builder: Builder, after: str, then: str, end: str, messages_key: str) -> None:
    for name in (after, then, *([] if end == END else [end])):
        if not has_node(builder, name):
            raise ConfigurationError(f"add_guard: the graph has no node {name!r}; add it first")
    if names := [name for name in GuardNodes() if has_node(builder, name)]:
        raise ConfigurationError(f"add_guard: the graph already has nodes named {', '.join(names)}")
    if lines := find_conflicting_edges(builder, after, GuardNodes()):
        raise ConfigurationError(
            f"add_guard makes the edges out of {after!r} and those of its own nodes itself: delete "
            + " and ".join(lines)
        )
    if not has_reducer(builder, messages_key):
        raise ConfigurationError(
            f"add_guard: the key {messages_key!r} needs a reducer, such as add_messages, so that "
            "answers of tools are added to the messages and do not replace them"
        )


# -- the parts of a graph that is not compiled yet -------------------------------------------------

# Its attributes have no underscore, but no documentation either: a graph of another shape is
# refused.


def has_node(builder: Builder, name: str) -> bool:
    """Whether a graph has a node of this name."""
    return name in _get_part(builder, "nodes", Mapping)


def has_reducer(builder: Builder, key: str) -> bool:
    """Whether a key of a graph's state has a reducer."""
    channels = _get_part(builder, "channels", Mapping)
    return isinstance(channels.get(key), BinaryOperatorAggregate | DeltaChannel)


def find_conflicting_edges(builder: Builder, after: str, names: Collection[str]) -> list[str]:
    """Return the edges out of the node `after` and from or to `names`, as they were added."""
    lines = [
        f"add_edge({start!r}, {end!r})"
        for start, end in sorted(_get_part(builder, "edges", set))
        if start in {after, *names} or end in names
    ]
    lines += [
        f"add_edge({list(starts)!r}, {end!r})"
        for starts, end in sorted(_get_part(builder, "waiting_edges", set))
        if {after, *names} & {*starts} or end in names
    ]
    ends = getattr(_get_part(builder, "nodes", Mapping)[after], "ends", None) or ()
    lines += [f"{end!r} from the destinations of {after!r}" for end in ends if end in names]
    return lines + [
        f"add_conditional_edges({start!r}, {name})"
        for start, branches in _get_part(builder, "branches", Mapping).items()
        for name, branch in branches.items()
        if start in {after, *names} or {*names} & {*(branch.ends or {}).values()}
    ]


def redirect_edges(builder: Builder, old: str, new: str) -> None:
    """Redirect the edges into the node `old` to `new`.

    Plain edges, edges that wait for several nodes, and conditional edges with a path map are
    redirected. Conditional edges without one, `Command(goto=old)` and `Send(old, ...)` are not.
    """
    edges = _get_part(builder, "edges", set)
    for start, end in sorted(edges):
        if end == old:
            edges.discard((start, end))
            builder.add_edge(start, new)
    joins = _get_part(builder, "waiting_edges", set)
    for starts, end in sorted(joins):
        if end == old:
            joins.discard((starts, end))
            builder.add_edge(list(starts), new)
    for branches in _get_part(builder, "branches", Mapping).values():
        for name, branch in branches.items():
            if branch.ends and old in branch.ends.values():
                ends = {key: new if end == old else end for key, end in branch.ends.items()}
                branches[name] = branch._replace(ends=ends)  # a named tuple


def _get_part(builder: Builder, name: str, kind: type[Any]) -> Any:
    part = getattr(builder, name, None)
    if isinstance(part, kind):
        return part
    raise ConfigurationError(
        f"add_guard cannot edit this graph: a {type(builder).__name__} has no {name!r} that it "
        f"knows. These releases are not supported: {installed_versions()}"
    )


# -- the model -------------------------------------------------------------------------------------


def model_node(
    model: str | LanguageModelLike,
    tools: Tools,
    *,
    prompt: Prompt | None = None,
    messages_key: str = "messages",
) -> "ModelNode":
    """Return a node that calls the model with its tools bound and adds its message."""
    tool_node = tools if isinstance(tools, ToolNode) else ToolNode(tools)
    chat_model = _bind_tools(_load_model(model), list(tool_node.tools_by_name.values()))
    return ModelNode(chat_model, prompt, messages_key)


class ModelNode(Runnable[Any, Any]):
    """A node that calls a model; made by `model_node`."""

    def __init__(self, model: Runnable[Any, Any], prompt: Prompt | None, messages_key: str) -> None:
        self.name = MODEL
        self._model = model
        self._prompt = prompt
        self._messages_key = messages_key

    def invoke(self, input: Any, config: OptionalConfig = None, **_: Any) -> dict[str, Any]:  # noqa: A002
        """Call the model."""
        message = self._model.invoke(self._messages_for(input, config), config)
        return {self._messages_key: [message]}

    async def ainvoke(self, input: Any, config: OptionalConfig = None, **_: Any) -> dict[str, Any]:  # noqa: A002
        """Call the model on the running loop."""
        message = await self._model.ainvoke(self._messages_for(input, config), config)
        return {self._messages_key: [message]}

    def _messages_for(self, state: Any, config: RunnableConfig | None) -> list[BaseMessage]:
        messages = read_messages(state, self._messages_key)
        match self._prompt:
            case None:
                return messages
            case str(text):
                return [SystemMessage(text), *messages]
            case SystemMessage() as message:
                return [message, *messages]
            case Runnable() as runnable:
                return read_messages(runnable.invoke(state, config), self._messages_key)
            case function:
                return read_messages(function(state), self._messages_key)


def _load_model(model: str | LanguageModelLike) -> Runnable[Any, Any]:
    if not isinstance(model, str):
        return model
    try:
        from langchain.chat_models import init_chat_model
    except ImportError as error:
        raise ConfigurationError(
            f"a model by name ({model!r}) needs LangChain: "
            "pip install 'bighub-langgraph[langchain]'"
        ) from error
    chat_model: Runnable[Any, Any] = init_chat_model(model)
    return chat_model


def _bind_tools(model: Runnable[Any, Any], tools: list[BaseTool]) -> Runnable[Any, Any]:
    """Return the model with the tools bound, unless it has tools already."""
    if not tools or "tools" in getattr(model, "kwargs", {}) or not isinstance(model, BaseChatModel):
        return model
    return model.bind_tools(tools)
