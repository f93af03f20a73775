"""Edges that go by what their node returned.

An edge that is given the state has LangGraph copy every channel of the graph, for every task.
"""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

from langchain_core.runnables import Runnable
from langgraph.graph import StateGraph


def add_edge_behind(
    builder: StateGraph[Any, Any, Any, Any],
    start: str,
    edge: Runnable[Any, Any],
    ends: Sequence[str],
) -> None:
    """Add a conditional edge that is given its node's update.

    A LangGraph whose branches are made otherwise gives it the state: it has to cope with both.
    """
    builder.add_conditional_edges(start, edge, list(ends))
    branches: dict[str, Any] = builder.branches[start]
    branch = branches[edge.get_name()]
    if list(signature(type(branch).run).parameters) == _KNOWN:
        branches[edge.get_name()] = _without_state(type(branch))(*branch)


_KNOWN = ["self", "writer", "reader"]


def _without_state(branch: type[Any]) -> type[Any]:
    class Behind(branch):  # type: ignore[misc]  # LangGraph's class is not public
        __slots__ = ()

        def run(self, writer: Any, reader: Callable[..., Any] | None = None) -> Any:  # noqa: ARG002
            return super().run(writer)

    return Behind
