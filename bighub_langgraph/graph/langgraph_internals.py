"""What the guard needs of LangGraph and LangChain that no public API gives.

This is the only module that touches their private shapes. Each function says what it relies on, and
`tests/test_graph_langgraph_internals.py` checks that on the installed releases. Where a release has
another shape, the guard refuses: a graph is not built, or a call is not run, and the message names
the installed versions.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langgraph.channels import BinaryOperatorAggregate, DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import ExecutionInfo

from bighub_langgraph.core.errors import ConfigurationError

Builder = StateGraph[Any, Any, Any, Any]

# Keys that Pregel writes into `configurable` for each task.
_CHECKPOINTER = "__pregel_checkpointer"
_DURABILITY = "__pregel_durability"
_SCRATCHPAD = "__pregel_scratchpad"
# What `metadata["langgraph_triggers"]` holds for a task that a `Send` made.
_SENT = ("__pregel_push",)

_PACKAGES = ("langgraph", "langgraph-prebuilt", "langchain-core", "langchain")
_MISSING: Any = object()


def installed_versions() -> str:
    """The installed releases of the frameworks, for messages."""
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:  # LangChain is an extra
            continue
    return ", ".join(found)


# -- the run of a task -----------------------------------------------------------------------------


def unreadable_run(config: RunnableConfig, info: ExecutionInfo | None) -> str | None:
    """Why the guard may run nothing in this task; None where it can read the run.

    Args:
        config: The task's configuration.
        info: What LangGraph says of the task; None outside of a graph, where there is no
            checkpointer and nobody to ask.
    """
    saver = _configurable(config).get(_CHECKPOINTER, _MISSING)
    known = saver is None or saver is False or isinstance(saver, BaseCheckpointSaver)
    if info is None or known:
        return None
    return (
        "the guard cannot see whether this run has a checkpointer. Pass the node's own `config` on "
        "to the guard; if it is passed on, these releases are not supported: "
        f"{installed_versions()}"
    )


def unreadable_questions(config: RunnableConfig) -> str | None:
    """Why a wrapper may ask nothing in this task; None where it can see what was asked before."""
    scratchpad = _configurable(config).get(_SCRATCHPAD)
    answers = getattr(scratchpad, "resume", None), getattr(scratchpad, "get_null_resume", None)
    counter = getattr(scratchpad, "interrupt_counter", None)
    if isinstance(answers[0], list) and callable(answers[1]) and hasattr(counter, "_counter"):
        return None
    return (
        "the guard cannot see what was asked in this task before. These releases are not "
        f"supported: {installed_versions()}"
    )


def checkpointer_of(config: RunnableConfig) -> BaseCheckpointSaver[Any] | None:
    """The checkpointer of a run, in subgraphs too; None where there is none.

    The thread id does not show it: a run may have one without a checkpointer.
    """
    saver = _configurable(config).get(_CHECKPOINTER)
    return saver if isinstance(saver, BaseCheckpointSaver) else None


def stores_only_at_the_end(config: RunnableConfig) -> bool:
    """Whether the run has `durability="exit"`; an unknown durability counts as another one."""
    return _configurable(config).get(_DURABILITY) == "exit"


def was_resumed(config: RunnableConfig) -> bool:
    """Whether the task was started again with an answer; no where that cannot be seen."""
    if unreadable_questions(config):
        return False
    scratchpad: Any = _configurable(config)[_SCRATCHPAD]
    return bool(scratchpad.resume) or scratchpad.get_null_resume() is not None


def may_have_interrupted(config: RunnableConfig) -> bool:
    """Whether something has asked a question in this task; yes where that cannot be seen."""
    if unreadable_questions(config):
        return True
    scratchpad: Any = _configurable(config)[_SCRATCHPAD]
    return scratchpad.interrupt_counter._counter is not None  # noqa: SLF001 - made at first use


def is_sent(config: RunnableConfig) -> bool:
    """Whether a `Send` made the task, as LangChain's edges and ours do for each call."""
    return tuple(config.get("metadata", {}).get("langgraph_triggers", ())) == _SENT


def _configurable(config: RunnableConfig) -> Mapping[str, Any]:
    return config.get("configurable", {})


# -- tools and tool nodes --------------------------------------------------------------------------


def messages_key_of(tool_node: ToolNode) -> str | None:
    """The key under which a ToolNode keeps its messages; None where it does not show it."""
    key = getattr(tool_node, "_messages_key", None)
    return key if isinstance(key, str) else None


def may_have_wrapper(tool_node: ToolNode) -> bool:
    """Whether a ToolNode has a wrapper around its calls; yes where that cannot be seen.

    A wrapper may run tools that the ToolNode does not have.
    """
    wrappers = [
        getattr(tool_node, name, _MISSING) for name in ("_wrap_tool_call", "_awrap_tool_call")
    ]
    return any(wrapper is not None for wrapper in wrappers)


def with_state(tool_call: Mapping[str, Any], state: Any) -> dict[str, Any]:
    """The input by which a ToolNode runs one call with a given state."""
    return {"__type": _WITH_STATE, "tool_call": dict(tool_call), "state": state}


def has_state(given: Any) -> bool:
    """Whether an input of a tool node has the form of `with_state`."""
    return isinstance(given, Mapping) and given.get("__type") == _WITH_STATE


_WITH_STATE = "tool_call_with_context"


def only_blocks(tool: BaseTool | None) -> bool:
    """Whether a tool has no coroutine of its own, so that `ainvoke` runs it in a thread."""
    if isinstance(tool, StructuredTool | Tool):
        return tool.coroutine is None
    return tool is not None and type(tool)._arun is BaseTool._arun  # noqa: SLF001 - the hook itself


# -- graph builders --------------------------------------------------------------------------------


def has_node(builder: Builder, name: str) -> bool:
    """Whether a graph has a node of this name."""
    return name in _part(builder, "nodes", Mapping)


def has_reducer(builder: Builder, key: str) -> bool:
    """Whether a key of a graph's state has a reducer."""
    channels = _part(builder, "channels", Mapping)
    return isinstance(channels.get(key), BinaryOperatorAggregate | DeltaChannel)


def redirect_edges(builder: Builder, old: str, new: str) -> None:
    """Let every edge that leads to the node `old` lead to `new`.

    Plain edges, edges that wait for several nodes, and conditional edges that name their ends; a
    node that goes on by `Command(goto=old)` still goes there.
    """
    edges = _part(builder, "edges", set)
    for start, end in sorted(edges):
        if end == old:
            edges.discard((start, end))
            builder.add_edge(start, new)
    waiting = _part(builder, "waiting_edges", set)
    for starts, end in sorted(waiting):
        if end == old:
            waiting.discard((starts, end))
            builder.add_edge(list(starts), new)
    for branches in _part(builder, "branches", Mapping).values():
        for name, branch in branches.items():
            if branch.ends and old in branch.ends.values():
                ends = {key: new if end == old else end for key, end in branch.ends.items()}
                branches[name] = branch._replace(ends=ends)  # a named tuple


def _part(builder: Builder, name: str, kind: type[Any]) -> Any:
    part = getattr(builder, name, None)
    if isinstance(part, kind):
        return part
    raise ConfigurationError(
        f"add_guard cannot edit this graph: a {type(builder).__name__} has no {name!r} that it "
        f"knows. These releases are not supported: {installed_versions()}"
    )
