"""Tools that carry the guard with them, wherever they are executed: `guard.wrap_tools`.

A ToolNode injects a `ToolRuntime` into such a tool, which shows the AI message of its call and
whether a person can be asked. Any other executor shows nothing, and is never interrupted.
"""

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, get_args, get_origin, get_type_hints

from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig, ensure_config
from langchain_core.tools import BaseTool
from langchain_core.tools import tool as make_tool
from langgraph.prebuilt import ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.types import Command

from bighub_langgraph.concurrency import await_completion, run_sync
from bighub_langgraph.core.context import current_key, take_claim
from bighub_langgraph.core.errors import ConfigurationError
from bighub_langgraph.core.models import ToolCall
from bighub_langgraph.graph.langgraph_internals import attempt_of, execution_info, only_blocks
from bighub_langgraph.graph.plan import (
    OptionalConfig,
    TurnId,
    find_message,
    key_of,
    new_id,
    thread_id_of,
)
from bighub_langgraph.graph.tool_execution import (
    AsyncGraphHost,
    GraphHost,
    Update,
    run_read_only,
    with_decision,
)
from bighub_langgraph.graph.tool_proxy import StandInTool
from bighub_langgraph.graph.tool_wrapper import guard_call
from bighub_langgraph.guard_runtime import GuardRuntime

RUNTIME = "bighub_runtime"
MAX_COUNTERS = 10_000


def guard_tool(runtime: GuardRuntime, tool: BaseTool | Callable[..., Any]) -> BaseTool:
    """Return a tool that carries the guard with it."""
    if isinstance(tool, GuardedTool) and tool.guard_runtime is runtime:
        return tool
    if not isinstance(tool, BaseTool):
        if not callable(tool):
            raise ConfigurationError(f"wrap_tools takes functions and tools, not {tool!r}")
        tool = make_tool(tool)
    return GuardedTool.of(tool, guard_runtime=runtime)


class GuardedTool(StandInTool):
    """A tool that is evaluated, claimed and reported with each call, whoever makes it."""

    guard_runtime: Any

    def invoke(self, input: Any, config: OptionalConfig = None, **options: Any) -> Any:  # noqa: A002
        """Run the tool without an event loop, if the guard lets it."""
        host = GraphHost(self.guard_runtime)
        return run_sync(self._run_guarded(input, ensure_config(config), options, host))

    async def ainvoke(self, input: Any, config: OptionalConfig = None, **options: Any) -> Any:  # noqa: A002
        """Run the tool on the running loop, if the guard lets it."""
        host = AsyncGraphHost(self.guard_runtime)
        flow = self._run_guarded(input, ensure_config(config), options, host)
        return await (await_completion(flow) if only_blocks(self.tool) else flow)

    def run(self, tool_input: Any, *_: Any, **options: Any) -> Any:
        """Run the tool as `invoke` does."""
        return self.invoke(self._as_call(tool_input, options), options.get("config"))

    async def arun(self, tool_input: Any, *_: Any, **options: Any) -> Any:
        """Run the tool as `ainvoke` does."""
        return await self.ainvoke(self._as_call(tool_input, options), options.get("config"))

    def _as_call(self, tool_input: Any, options: Mapping[str, Any]) -> Any:
        call_id = options.get("tool_call_id")
        if call_id is None:
            return tool_input
        return {"name": self.name, "args": tool_input, "id": call_id, "type": "tool_call"}

    @property
    def func(self) -> Any:
        """A guarded function, in which a ToolNode finds what it has to fill in."""
        inner = getattr(self.tool, "func", None)
        if inner is None and getattr(self.tool, "coroutine", None) is not None:
            return None

        def run(**arguments: Any) -> Any:
            return self.invoke(arguments)

        return self._annotate(run, inner)

    @property
    def coroutine(self) -> Any:
        """A guarded coroutine function, for the same reason."""
        inner = getattr(self.tool, "coroutine", None)
        if inner is None:
            return None

        async def run(**arguments: Any) -> Any:
            return await self.ainvoke(arguments)

        return self._annotate(run, inner)

    def _annotate(self, run: Callable[..., Any], inner: Callable[..., Any] | None) -> Any:
        """Give a function the parameters of another one, and one for the runtime."""
        if inner is not None:
            functools.update_wrapper(run, inner)
            del run.__wrapped__  # type: ignore[attr-defined] # nobody unwraps the guard
            run.__signature__ = inspect.signature(inner)  # type: ignore[attr-defined]
        parameters = self._parameters
        if not any(name == "runtime" or _is_runtime(kind) for name, kind in parameters.items()):
            parameters = {**parameters, RUNTIME: ToolRuntime}
        run.__annotations__ = parameters
        return run

    @property
    def _parameters(self) -> dict[str, Any]:
        """The tool's own parameters with their types, including those a ToolNode fills in."""
        function = getattr(self.tool, "func", None) or getattr(self.tool, "coroutine", None)
        hints = get_type_hints(function, include_extras=True) if function else {}
        parameters = inspect.signature(function).parameters.values() if function else ()
        annotations = {
            item.name: hints.get(item.name) for item in parameters if item.kind not in _VARIADIC
        }
        if isinstance(self.tool.args_schema, dict):
            return annotations
        fields = getattr(self.tool.get_input_schema(), "model_fields", {})
        return {name: item.annotation for name, item in fields.items()} | annotations

    async def _run_guarded(
        self, value: Any, config: RunnableConfig, options: dict[str, Any], host: GraphHost
    ) -> Any:
        is_call = isinstance(value, Mapping) and value.get("type") == "tool_call"
        arguments, injected_arguments, runtime = self._split_arguments(
            value["args"] if is_call else value
        )
        call_id = value.get("id") if is_call else None

        async def invoke(arguments: Mapping[str, Any]) -> Any:
            complete = {**arguments, **injected_arguments}
            complete = {**value, "args": complete} if is_call else complete
            own_config = with_decision(config, self.name)
            return await host.invoke(self.tool, complete, own_config, **options)

        async def handle(request: Any) -> Update:
            arguments, call_id = request.tool_call["args"], request.tool_call["id"]
            take_claim(self.name, call_id, arguments)
            output = await request.gate.enter(self.name, arguments, lambda: invoke(arguments))
            if is_call or isinstance(output, ToolMessage | Command):
                return output
            # As a message it can be stored and reported like any other output.
            return ToolMessage(str(output), name=self.name, tool_call_id=call_id, artifact=[output])

        is_read_only = host.runtime.settings.policy_for(self.name).read_only
        if not is_read_only and take_claim(self.name, call_id, arguments):
            return await invoke(arguments)
        message = find_message(runtime.state, call_id) if runtime else None
        turn_id = self._turn_id(config, message.id if message else None, arguments, call_id)
        call_id = call_id or self.name
        if is_read_only:
            call = ToolCall(*turn_id, call_id, self.name, arguments)
            return await run_read_only(call, lambda: invoke(arguments), host)
        request = ToolCallRequest(
            tool_call={"name": self.name, "args": arguments, "id": call_id, "type": "tool_call"},
            tool=self.tool,
            state=runtime.state if runtime else None,
            runtime=replace(runtime, tools=[self.tool]) if runtime else _no_runtime(config),
        )
        result = await guard_call(request, handle, host, turn_id=turn_id)
        if is_call or not isinstance(result, ToolMessage):
            return result
        return result.artifact[0] if result.artifact else result.content

    def _split_arguments(
        self, value: Any
    ) -> tuple[dict[str, Any], dict[str, Any], ToolRuntime[Any, Any] | None]:
        """Return the model's arguments, those that a ToolNode fills in, and the runtime, if any."""
        schema = self.tool.tool_call_schema
        visible = (
            schema["properties"]
            if isinstance(schema, dict)
            else getattr(schema, "model_fields", {})
        )
        if not isinstance(value, Mapping):  # the only argument of the tool
            value = {next(iter(visible), "input"): value}
        injected_arguments = {
            name: value[name]
            for name, kind in self._parameters.items()
            if name in value and (name not in visible or _is_runtime(kind))
        }
        runtime = next((item for item in value.values() if isinstance(item, ToolRuntime)), None)
        other_names = {RUNTIME, *injected_arguments}
        arguments = {name: item for name, item in value.items() if name not in other_names}
        return arguments, injected_arguments, runtime

    def _turn_id(
        self,
        config: RunnableConfig,
        message_id: str | None,
        arguments: Mapping[str, Any],
        call_id: str | None,
    ) -> TurnId:
        """Return what names the turn of a call, the same when its task starts again.

        That is its message, else the task and how many equal calls it made before. Outside of a
        graph each call is a new one.
        """
        info, outer = execution_info(config), current_key() or ""
        if info is None:
            return TurnId(new_id(), new_id())
        if message_id is not None:
            parts = [info.checkpoint_ns.rpartition("|")[0], outer, message_id]
        else:
            call = ToolCall("", outer, call_id or "", self.name, arguments)
            parts = [info.task_id, outer, _count_equal_calls(config, key_of(call))]
        return TurnId(thread_id_of(config) or new_id(), "/".join(filter(None, parts)))


def _count_equal_calls(config: RunnableConfig, key: str | None) -> str:
    """Return which of the equal calls of one attempt of a task this is."""
    info, attempt = execution_info(config), attempt_of(config)
    if info is None or attempt is None:
        return new_id()
    place = (id(attempt), info.node_attempt, key)
    _, counter = _counters.setdefault(place, (attempt, itertools.count(1)))
    if len(_counters) > MAX_COUNTERS:
        _counters.pop(next(iter(_counters)))
    return str(next(counter))


# By attempt, which is kept so that no other one has its id.
_counters: dict[tuple[int, int, str | None], tuple[Any, Iterator[int]]] = {}


def _is_runtime(kind: Any) -> bool:
    return ToolRuntime in {kind, get_origin(kind)} or any(map(_is_runtime, get_args(kind)))


def _no_runtime(config: RunnableConfig) -> ToolRuntime[Any, Any]:
    """Return the runtime of a call that no ToolNode makes."""
    return ToolRuntime(
        state=None,
        context=None,
        config=config,
        stream_writer=lambda _: None,
        tool_call_id=None,
        store=None,
    )


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
