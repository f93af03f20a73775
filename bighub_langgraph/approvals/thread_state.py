"""What a thread's state shows: which of its questions are ours, and whether its run has died."""

from collections import Counter
from collections.abc import Container
from typing import Any

from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot

from bighub_langgraph.graph.approval_questions import find_shown_states

EVERY = "*"


def find_own_questions(state: StateSnapshot, keys: Container[str]) -> dict[str, set[str]]:
    """Return the interrupts that ask only about calls with these keys: their calls, by id.

    A graph shows the interrupts of its subgraphs too; they are answered at the root.
    """
    calls_by_question = {item.id: set(find_shown_states(item.value)) for item in state.interrupts}
    return {
        interrupt_id: calls
        for interrupt_id, calls in calls_by_question.items()
        if calls and all(key in keys for key in calls)
    }


def is_left_behind(state: StateSnapshot, breakpoints: Container[str]) -> bool:
    """Whether a task waits for nobody: a run works on it, or its process has died.

    A run that stops at a breakpoint leaves tasks behind on purpose.
    """
    if not state.tasks or EVERY in breakpoints:
        return False
    interrupted_tasks = [task for task in state.tasks if task.interrupts]
    if not state.next and not interrupted_tasks:
        return True  # every task is done, and the next step has not begun
    pending = Counter(name for name in state.next if name not in breakpoints)
    pending.subtract(task.name for task in interrupted_tasks)
    return any(number > 0 for number in pending.values()) or any(
        is_left_behind(task.state, breakpoints)
        for task in interrupted_tasks
        if isinstance(task.state, StateSnapshot)
    )


def find_breakpoints(graph: Pregel[Any, Any, Any, Any]) -> frozenset[str]:
    """Return the nodes of a graph and its subgraphs before which it stops.

    Where a graph stops behind nodes, or before any, no task is known to be left behind: `EVERY`.
    """
    graphs: list[Any] = [graph, *(subgraph for _, subgraph in graph.get_subgraphs(recurse=True))]
    if any(item.interrupt_after_nodes or item.interrupt_before_nodes == "*" for item in graphs):
        return frozenset({EVERY})
    return frozenset(name for item in graphs for name in item.interrupt_before_nodes)
