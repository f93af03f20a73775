"""What a chain of wrappers finally hands to a tool, looked at before the tool begins.

Wrappers between the guard and the tool may change a call: a person's edit in LangChain's own
human-in-the-loop, a tool that is found late, an argument that is filled in. Nothing may run with
arguments that BIGHUB has not seen, so the request that goes down the chain hands out its tool with
a door in front, and the door decides about the call as it arrives there.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.prebuilt.tool_node import ToolCallRequest

from bighub_langgraph.concurrency import run_sync

Invoke = Callable[[], Awaitable[Any]]


class Door(Protocol):
    """Stands before a tool."""

    async def enter(self, name: str, arguments: dict[str, Any], invoke: Invoke) -> Any:
        """What the call gives: by running the tool, or without."""
        ...


class OpenDoor:
    """Lets every call through; for requests that nobody watches."""

    async def enter(self, _name: str, _arguments: dict[str, Any], invoke: Invoke) -> Any:
        """Run the tool."""
        return await invoke()


@dataclass
class WatchedRequest(ToolCallRequest):
    """A request that stays watched, whatever wrappers override in it."""

    door: Door = field(default_factory=OpenDoor)

    @classmethod
    def of(cls, request: ToolCallRequest, door: Door) -> "WatchedRequest":
        """The same request, watched."""
        parts = {one.name: getattr(request, one.name) for one in fields(ToolCallRequest)}
        return cls(**parts, door=door)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name == "tool" and isinstance(value, BaseTool):
            # Read at the end of the chain, after the last change.
            return WatchedTool.around(value, self.tool_call, self.door)
        return value


class WatchedTool(BaseTool):
    """A tool behind a door: it looks like the tool, and runs when the door lets it."""

    inside: BaseTool
    called: dict[str, Any]
    door: Any

    @classmethod
    def around(cls, tool: BaseTool, called: Mapping[str, Any], door: Door) -> "WatchedTool":
        """A tool with a door that knows which call it is read for."""
        inside = tool.inside if isinstance(tool, WatchedTool) else tool
        return cls(
            name=inside.name,
            description=inside.description,
            args_schema=inside.args_schema,
            return_direct=inside.return_direct,
            tags=inside.tags,
            metadata=inside.metadata,
            inside=inside,
            called=dict(called),
            door=door,
        )

    @property
    def tool_call_schema(self) -> Any:
        """The tool's own."""
        return self.inside.tool_call_schema

    def get_input_schema(self, config: RunnableConfig | None = None) -> Any:
        """The tool's own, in which a ToolNode finds what it has to fill in."""
        return self.inside.get_input_schema(config)

    @property
    def func(self) -> Any:
        """The tool's own function, where the ToolNode looks for parameters to fill in."""
        return getattr(self.inside, "func", None)

    @property
    def coroutine(self) -> Any:
        """The tool's own coroutine function, for the same reason."""
        return getattr(self.inside, "coroutine", None)

    def invoke(self, input: Any, config: RunnableConfig | None = None, **given: Any) -> Any:  # noqa: A002
        """Run the tool, if its door lets it."""

        async def invoke() -> Any:
            return self.inside.invoke(input, config, **given)

        return run_sync(self.door.enter(self.inside.name, self._arguments(input), invoke))

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **given: Any) -> Any:  # noqa: A002
        """The same on the running loop."""

        async def invoke() -> Any:
            return await self.inside.ainvoke(input, config, **given)

        return await self.door.enter(self.inside.name, self._arguments(input), invoke)

    def _run(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("a watched tool runs by its call alone")

    def _arguments(self, given: Any) -> dict[str, Any]:
        """The call's arguments as they arrive, without what the ToolNode fills in.

        They are those of the call that the tool was read for, unless a wrapper that builds its own
        request read the tool first and changed the call then.
        """
        called: dict[str, Any] = self.called["args"]
        arriving = given.get("args", {}) if isinstance(given, Mapping) else {}
        differ = [one for one in called if one in arriving and arriving[one] is not called[one]]
        visible = self.inside.args if differ else {}
        return {**called, **{one: arriving[one] for one in differ if one in visible}}
