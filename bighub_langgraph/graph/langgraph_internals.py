"""What the guard needs of LangGraph and LangChain that no public API gives.

This is the only module that touches their private shapes. Each function says what it relies on, and
`tests/test_graph_langgraph_internals.py` checks that on the installed releases. Where a release has
another shape, the guard refuses: a graph is not built, or a call is not run, and the message names
the installed versions.
"""

import logging
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langgraph.channels import BinaryOperatorAggregate, DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import ExecutionInfo, Runtime, get_runtime

from bighub_langgraph.core.errors import ConfigurationError

log = logging.getLogger("bighub_langgraph")
Builder = StateGraph[Any, Any, Any, Any]

# Keys that Pregel writes into `configurable` for each task.
_CHECKPOINTER = "__pregel_checkpointer"
_DURABILITY = "__pregel_durability"
_RUNTIME = "__pregel_runtime"
_SCRATCHPAD = "__pregel_scratchpad"
# What `metadata["langgraph_triggers"]` holds for a task that a `Send` made.
_SENT = ("__pregel_push",)
# The `__type` of an input of a ToolNode that holds one call and the state.
_WITH_STATE = "tool_call_with_context"

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


def runtime_of(config: RunnableConfig) -> Runtime[Any] | None:
    """The runtime of the task that a configuration belongs to; None outside of a graph.

    `get_runtime` is the public way, but it needs the task's context variables, which a node that
    passes its work on to a thread may leave behind.
    """
    runtime = _configurable(config).get(_RUNTIME)
    if isinstance(runtime, Runtime):
        return runtime
    try:
        return get_runtime()
    except (RuntimeError, KeyError):  # no runnable runs here, or one that is part of no graph
        return None


def node_name(config: RunnableConfig) -> str:
    """The name of the node that a task runs.

    Raises:
        ConfigurationError: It cannot be seen.
    """
    name = config.get("metadata", {}).get("langgraph_node")
    if not isinstance(name, str):
        raise ConfigurationError(
            "the guard cannot see which node of the agent it runs in. These releases are not "
            f"supported: {installed_versions()}"
        )
    return name


def checkpoint_of(config: RunnableConfig, info: ExecutionInfo) -> RunnableConfig:
    """The configuration by which a checkpointer finds the checkpoint that a task runs from.

    `execution_info` gives the checkpoint's id, but only the namespace that the task adds its own
    part to. Of several namespaces with the same checkpoint, as in a `@task`, the first has it.
    """
    known: Mapping[str, str] = _configurable(config).get("checkpoint_map", {})
    namespaces = [name for name, found in known.items() if found == info.checkpoint_id]
    place = {"thread_id": info.thread_id, "checkpoint_ns": next(iter(namespaces), "")}
    return {"configurable": {**place, "checkpoint_id": info.checkpoint_id}}


def unreadable_run(config: RunnableConfig, info: ExecutionInfo | None) -> str | None:
    """Why the guard may run nothing in this task; None where it can read the run.

    The developer finds in the log what to do about it.

    Args:
        config: The task's configuration.
        info: What LangGraph says of the task; None outside of a graph, where there is no
            checkpointer and nobody to ask.
    """
    saver = _configurable(config).get(_CHECKPOINTER, _MISSING)
    if saver is None or saver is False or isinstance(saver, BaseCheckpointSaver):
        return None
    if info is None and not any(key.startswith("__pregel") for key in _configurable(config)):
        return None
    log.error(
        "no tool call runs, because the configuration does not show whether this run has a "
        "checkpointer. Pass the node's own `config` on to the guard; if it is passed on, install "
        "releases that bighub-langgraph supports (installed: %s)",
        installed_versions(),
    )
    return f"the guard cannot see whether this run has a checkpointer ({installed_versions()})"


def unreadable_questions(config: RunnableConfig) -> str | None:
    """Why a wrapper may ask nothing in this task; None where it can see what was asked before."""
    scratchpad = _configurable(config).get(_SCRATCHPAD)
    answers = getattr(scratchpad, "resume", None), getattr(scratchpad, "get_null_resume", None)
    counter = getattr(scratchpad, "interrupt_counter", None)
    if isinstance(answers[0], list) and callable(answers[1]) and hasattr(counter, "_counter"):
        return None
    return f"the guard cannot see what was asked in this task before ({installed_versions()})"


def checkpointer_of(config: RunnableConfig) -> BaseCheckpointSaver[Any] | None:
    """The checkpointer of a run, in subgraphs too; None where there is none.

    The thread id does not show it: a run may have one without a checkpointer.
    """
    saver = _configurable(config).get(_CHECKPOINTER)
    return saver if isinstance(saver, BaseCheckpointSaver) else None


def stores_only_at_the_end(config: RunnableConfig) -> bool:
    """Whether the run has `durability="exit"`. False if unknown."""
    return _configurable(config).get(_DURABILITY) == "exit"


def was_resumed(config: RunnableConfig) -> bool:
    """Whether the task was started again with an answer. False if unknown."""
    if unreadable_questions(config):
        return False
    scratchpad: Any = _configurable(config)[_SCRATCHPAD]
    return bool(scratchpad.resume) or scratchpad.get_null_resume() is not None


def may_have_interrupted(config: RunnableConfig) -> bool:
    """Whether something has asked a question in this task. True if unknown."""
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
    """Whether a ToolNode has a wrapper around its calls. True if unknown.

    A wrapper may run tools that the ToolNode does not have.
    """
    names = ("_wrap_tool_call", "_awrap_tool_call")
    return any(getattr(tool_node, name, _MISSING) is not None for name in names)


def with_state(tool_call: Mapping[str, Any], state: Any) -> dict[str, Any]:
    """The input by which a ToolNode runs one call with a given state."""
    return {"__type": _WITH_STATE, "tool_call": dict(tool_call), "state": state}


def has_state(given: Any) -> bool:
    """Whether an input of a tool node has the form of `with_state`."""
    return isinstance(given, Mapping) and given.get("__type") == _WITH_STATE


def only_blocks(tool: BaseTool | None) -> bool:
    """Whether `ainvoke` of a tool does no more than to run its blocking function in a thread."""
    if tool is None or type(tool).ainvoke not in _STOCK_AINVOKE:
        return False
    if isinstance(tool, StructuredTool | Tool):
        return tool.coroutine is None
    return type(tool)._arun is BaseTool._arun  # noqa: SLF001 - the hook that a tool overrides


_STOCK_AINVOKE = frozenset({BaseTool.ainvoke, StructuredTool.ainvoke, Tool.ainvoke})


# -- graph builders --------------------------------------------------------------------------------


def has_node(builder: Builder, name: str) -> bool:
    """Whether a graph has a node of this name."""
    return name in _part(builder, "nodes", Mapping)


def has_reducer(builder: Builder, key: str) -> bool:
    """Whether a key of a graph's state has a reducer."""
    channels = _part(builder, "channels", Mapping)
    return isinstance(channels.get(key), BinaryOperatorAggregate | DeltaChannel)


def redirect_edges(builder: Builder, old: str, new: str) -> None:
    """Let the edges that lead to the node `old` lead to `new`.

    These are plain edges, edges that wait for several nodes, and conditional edges that name their
    ends. Conditional edges without named ends, `Command(goto=old)` and `Send(old, ...)` still lead
    to `old`.
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
