"""One flow as a node of a graph, sync and async."""

from collections.abc import Callable, Coroutine
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig, ensure_config

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.guard import BighubGuard

Flow = Callable[[Any, RunnableConfig, Ports], Coroutine[Any, Any, Any]]


class Node(Runnable[Any, Any]):
    """A node that runs a flow over the guard's ports, blocking or asynchronous.

    Args:
        flow: Takes the node's input, the run's config and the ports.
        name: The node's name in traces.
    """

    def __init__(self, flow: Flow, guard: BighubGuard, name: str) -> None:
        self._flow = flow
        self._guard = guard
        self.name = name

    def invoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run the flow without an event loop."""
        return run_sync(self._flow(input, config or ensure_config(), self._guard.runtime.ports))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **_: Any) -> Any:  # noqa: A002
        """Run the flow on the running loop."""
        return await self._flow(input, config or ensure_config(), self._guard.runtime.async_ports)
