"""One call of a ToolNode in the thread that asks for it.

A ToolNode starts a thread for every call, which costs more than all the rest of one. A task of the
guard's edges has one call, and a thread already.
"""
# ruff: noqa: SLF001 - a ToolNode offers no other way; `_known` sees to it that its parts are there

import asyncio
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import fields
from inspect import signature
from typing import Any

from langchain_core.runnables import RunnableConfig, ensure_config
from langgraph.prebuilt import ToolNode, ToolRuntime
from langgraph.runtime import Runtime

_RUNTIME = "__pregel_runtime"


def runs_in_place(tool_node: ToolNode, config: RunnableConfig) -> bool:
    """Whether a call can run in the thread that asks for it.

    A subclass may do anything, and so may another version. And where an event loop runs in this
    thread, as in a notebook, a tool may want to run one too, for which it needs another thread.
    """
    plain = _KNOWN and type(tool_node) is ToolNode
    inside = isinstance(config.get("configurable", {}).get(_RUNTIME), Runtime)
    return plain and inside and not _loop_runs()


def run_in_place(tool_node: ToolNode, given: Any, config: RunnableConfig) -> Any:
    """What `tool_node.invoke(given, config)` gives for an input with one call."""
    [call], form = tool_node._parse_input(given)
    around: Runtime[Any] = config["configurable"][_RUNTIME]
    config = ensure_config(config)  # a copy that is the tool's own
    runtime: ToolRuntime[Any, Any] = ToolRuntime(
        state=tool_node._extract_state(given, config) if _shows_state(tool_node, call) else {},
        tool_call_id=call["id"],
        config=config,
        context=around.context,
        store=around.store,
        stream_writer=around.stream_writer,
        tools=list(tool_node.tools_by_name.values()),
        execution_info=around.execution_info,
        server_info=around.server_info,
    )
    # In a copy of the context, so that what a tool sets there stays its own.
    ran = copy_context().run(tool_node._run_one, call, form, runtime)
    return tool_node._combine_tool_outputs([ran], form)


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _shows_state(tool_node: ToolNode, call: Mapping[str, Any]) -> bool:
    """Whether anybody will look at the state; reading it copies every channel of the graph."""
    injected = tool_node._injected_args.get(call["name"])
    wrapped = tool_node._wrap_tool_call is not None
    return wrapped or injected is None or bool(injected.state or injected.runtime)


_PARTS = {
    "_parse_input": ["self", "input"],
    "_extract_state": ["self", "input", "config"],
    "_run_one": ["self", "call", "input_type", "tool_runtime"],
    "_combine_tool_outputs": ["self", "outputs", "input_type"],
}
_ABOUT = {
    *("state", "context", "config", "stream_writer", "tool_call_id", "store", "tools"),
    *("execution_info", "server_info"),
}


def _known() -> bool:
    """Whether this version's ToolNode has the parts used here, in the form that they have today."""
    return {one.name for one in fields(ToolRuntime)} == _ABOUT and all(
        hasattr(ToolNode, name) and list(signature(getattr(ToolNode, name)).parameters) == parts
        for name, parts in _PARTS.items()
    )


_KNOWN = _known()
