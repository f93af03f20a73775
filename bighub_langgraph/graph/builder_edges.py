"""The nodes and edges of a `StateGraph` that is not compiled yet.

Its attributes have no underscore, but no documentation either: a graph of another shape is refused.
"""

from collections.abc import Collection, Mapping
from typing import Any

from langgraph.channels import BinaryOperatorAggregate, DeltaChannel
from langgraph.graph import StateGraph

from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.graph.langgraph_internals import installed_versions

Builder = StateGraph[Any, Any, Any, Any]


def has_node(builder: Builder, name: str) -> bool:
    """Whether a graph has a node of this name."""
    return name in _part(builder, "nodes", Mapping)


def has_reducer(builder: Builder, key: str) -> bool:
    """Whether a key of a graph's state has a reducer."""
    channels = _part(builder, "channels", Mapping)
    return isinstance(channels.get(key), BinaryOperatorAggregate | DeltaChannel)


def edges_in_the_way(builder: Builder, after: str, names: Collection[str]) -> list[str]:
    """Return the edges out of the node `after` and from or to `names`, as they were added."""
    lines = [
        f"add_edge({start!r}, {end!r})"
        for start, end in sorted(_part(builder, "edges", set))
        if start in {after, *names} or end in names
    ]
    lines += [
        f"add_edge({list(starts)!r}, {end!r})"
        for starts, end in sorted(_part(builder, "waiting_edges", set))
        if {after, *names} & {*starts} or end in names
    ]
    ends = getattr(_part(builder, "nodes", Mapping)[after], "ends", None) or ()
    lines += [f"{end!r} from the destinations of {after!r}" for end in ends if end in names]
    return lines + [
        f"add_conditional_edges({start!r}, {name})"
        for start, branches in _part(builder, "branches", Mapping).items()
        for name, branch in branches.items()
        if start in {after, *names} or {*names} & {*(branch.ends or {}).values()}
    ]


def redirect_edges(builder: Builder, old: str, new: str) -> None:
    """Redirect the edges into the node `old` to `new`.

    Plain edges, edges that wait for several nodes, and conditional edges with a path map are
    redirected. Conditional edges without one, `Command(goto=old)` and `Send(old, ...)` are not.
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
