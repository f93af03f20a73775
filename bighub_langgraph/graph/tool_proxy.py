"""A proxy in front of a tool that checks which call reaches it, before the tool starts.

Wrappers between the guard and the tool may change a call: LangChain's human-in-the-loop edits it,
others fill in an argument or find the tool. Nothing may run with arguments that BIGHUB has not
evaluated, so the request that goes to the inner wrappers hands out a proxy of its tool, and the
proxy's gate decides about the call as it arrives there.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.errors import GraphBubbleUp
from langgraph.prebuilt.tool_node import ToolCallRequest

from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.models import ToolCall
from bighub_langgraph.graph.plan import OptionalConfig, key_of
from bighub_langgraph.graph.tool_execution import Invoke, Update, with_decision


class CallGate:
    """Lets the call with the key through, and hands any other call to `run_changed_call`.

    The key is None where no call is evaluated yet. `make_call` builds a call from a tool's name and
    arguments.
    """

    def __init__(
        self,
        make_call: Callable[[str, Mapping[str, Any]], ToolCall],
        key: str | None,
        run_changed_call: Callable[[ToolCall, Invoke], Awaitable[Update]],
    ) -> None:
        self._make_call = make_call
        self._key = key
        self._run_changed_call = run_changed_call
        self._is_entered = False
        self.is_replaced = False

    async def enter(self, name: str, arguments: Mapping[str, Any], invoke: Invoke) -> Any:
        """Return the tool's output for the evaluated call, else the result of the other call."""
        call = self._make_call(name, arguments)
        if self._key is not None and key_of(call) == self._key:
            self._is_entered = True
            return await invoke()
        self.is_replaced = True
        return unwrap_single(await self._run_changed_call(call, invoke))

    async def run(self, chain: Awaitable[Update]) -> Update:
        """Return the output of the wrappers and the tool.

        Raises:
            CallNotStarted: The tool was not started with the evaluated call.
        """
        error = update = None
        try:
            update = await chain
        except GraphBubbleUp:
            raise
        except Exception as raised:
            if self._is_entered:
                raise
            error = raised
        if not self._is_entered:
            raise CallNotStarted(update, error)
        return update


class CallNotStarted(GraphBubbleUp):
    """Another call ran in place of the claimed one, or a wrapper answered it by itself."""

    def result(self) -> Update:
        """Return the update of the wrapper or the other call, or raise its error."""
        update, error = self.args
        if error is not None:
            raise error
        return update


def unwrap_single(update: Update) -> Any:
    """Return a single message as such: outer wrappers do not expect a list of one."""
    return update[0] if isinstance(update, list) and len(update) == 1 else update


@dataclass
class ProxiedRequest(ToolCallRequest):
    """A request whose tool is behind a gate, whatever wrappers override in the request."""

    gate: CallGate

    @classmethod
    def of(cls, request: ToolCallRequest, gate: CallGate) -> "ProxiedRequest":
        """Return the same request with its tool behind a gate."""
        values = {item.name: getattr(request, item.name) for item in fields(ToolCallRequest)}
        return cls(**values, gate=gate)

    def __getattribute__(self, name: str) -> Any:
        value = super().__getattribute__(name)
        if name == "tool" and isinstance(value, BaseTool):
            # Read at the end of the chain, after the last change.
            tool = value.tool if isinstance(value, ToolProxy) else value
            return ToolProxy.of(tool, call=dict(self.tool_call), gate=self.gate)
        return value


class StandInTool(BaseTool):
    """A tool that looks like another one."""

    tool: BaseTool

    @classmethod
    def of(cls, tool: BaseTool, **fields: Any) -> Self:
        """Return a stand-in for a tool."""
        return cls(
            name=tool.name,
            description=tool.description,
            args_schema=tool.args_schema,
            return_direct=tool.return_direct,
            response_format=tool.response_format,
            tags=tool.tags,
            metadata=tool.metadata,
            extras=tool.extras,
            tool=tool,
            **fields,
        )

    @property
    def tool_call_schema(self) -> Any:
        """The tool's own."""
        return self.tool.tool_call_schema

    def get_input_schema(self, config: RunnableConfig | None = None) -> Any:
        """Return the tool's own, in which a ToolNode finds what it has to fill in."""
        return self.tool.get_input_schema(config)

    def _run(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("a guarded tool runs by its call alone")


class ToolProxy(StandInTool):
    """A tool behind a gate: it looks like the tool, and runs it if the gate lets it."""

    call: dict[str, Any]
    gate: Any

    @property
    def func(self) -> Any:
        """The tool's own function, in which a ToolNode finds parameters to fill in."""
        return getattr(self.tool, "func", None)

    @property
    def coroutine(self) -> Any:
        """The tool's own coroutine function, for the same reason."""
        return getattr(self.tool, "coroutine", None)

    def invoke(self, input: Any, config: OptionalConfig = None, **options: Any) -> Any:  # noqa: A002
        """Run the tool, if the gate lets it."""

        async def invoke() -> Any:
            return self.tool.invoke(input, with_decision(config, self.tool.name), **options)

        return run_sync(self.gate.enter(self.tool.name, self._arguments(input), invoke))

    async def ainvoke(self, input: Any, config: OptionalConfig = None, **options: Any) -> Any:  # noqa: A002
        """Run the tool on the running loop, if the gate lets it."""

        async def invoke() -> Any:
            return await self.tool.ainvoke(input, with_decision(config, self.tool.name), **options)

        return await self.gate.enter(self.tool.name, self._arguments(input), invoke)

    def _arguments(self, value: Any) -> dict[str, Any]:
        """Return the call's arguments as they arrive, without those the ToolNode fills in.

        They are those of the call that the proxy was made for, unless a wrapper that builds its own
        request read the tool first and changed the call then.
        """
        expected_arguments: dict[str, Any] = self.call["args"]
        received_arguments = value.get("args", {}) if isinstance(value, Mapping) else {}
        changed_names = [
            name
            for name in expected_arguments
            if name in received_arguments
            and received_arguments[name] is not expected_arguments[name]
        ]
        visible = self.tool.args if changed_names else {}
        return {
            **expected_arguments,
            **{name: received_arguments[name] for name in changed_names if name in visible},
        }
