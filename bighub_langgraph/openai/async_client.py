"""`AsyncBighubOpenAI`: the client for coroutines."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Self

from bighub_langgraph.core.ports import Ports
from bighub_langgraph.openai.agent_loop import run_agent
from bighub_langgraph.openai.base_client import BaseClient
from bighub_langgraph.openai.responses_api import AsyncResponsesApi
from bighub_langgraph.openai.run import RunResult
from bighub_langgraph.openai.run_state import RunState
from bighub_langgraph.openai.tool_runner import AsyncToolRunner, ToolRunner

Json = dict[str, Any]


class AsyncBighubOpenAI(BaseClient):
    """`BighubOpenAI` with `await`; blocking tools and callbacks run in threads."""

    _api_class = AsyncResponsesApi

    async def run(
        self,
        *,
        messages: Any,
        model: str,
        instructions: str | None = None,
        temperature: float | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """See `BighubOpenAI.run`."""
        run = self._start(messages, model, instructions, temperature, extra_create_args)
        return await self._finish(run_agent(run, self._make_context(), stream=False))

    def run_stream(
        self,
        *,
        messages: Any = None,
        model: str = "",
        instructions: str | None = None,
        temperature: float | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        state: RunState | None = None,
    ) -> AsyncGenerator[Json, None]:
        """See `BighubOpenAI.run_stream`."""
        if state is not None:
            return self._stream(self._resume(state, extra_create_args, stream=True))
        run = self._start(messages, model, instructions, temperature, extra_create_args)
        return self._stream(run_agent(run, self._make_context(), stream=True))

    async def run_with_approval(
        self,
        *,
        messages: Any,
        model: str,
        instructions: str | None = None,
        temperature: float | None = None,
        extra_create_args: Mapping[str, Any] | None = None,
        on_approval_required: Callable[[Json], Any] | None = None,
    ) -> RunResult:
        """See `BighubOpenAI.run_with_approval`."""
        run = self._start(messages, model, instructions, temperature, extra_create_args)
        return await self._run_with_approval(run, on_approval_required)

    async def resume(
        self,
        state: RunState,
        *,
        extra_headers: Mapping[str, str] | None = None,
        tools: Any = None,
    ) -> RunResult:
        """See `BighubOpenAI.resume`."""
        credentials = {"extra_headers": extra_headers, "tools": tools}
        return await self._finish(self._resume(state, credentials, stream=False))

    async def resume_after_approval(
        self,
        *,
        tool_name: str,
        arguments: Mapping[str, Any],
        request_id: str,
        resolution: str = "approved",
        comment: str | None = None,
    ) -> Json:
        """See `BighubOpenAI.resume_after_approval`."""
        return await self._resume_after_approval(
            tool_name, arguments, request_id, resolution, comment
        )

    async def check_tool(self, tool_name: str, arguments: Mapping[str, Any]) -> Json:
        """See `BighubOpenAI.check_tool`."""
        return await self._check_tool(tool_name, arguments)

    async def close(self) -> None:
        """See `BighubOpenAI.close`."""
        await self._runtime.delivery.aclose()
        await asyncio.to_thread(self._close)
        if self._api.opened_client is not None:
            await self._api.opened_client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _make_ports(self) -> tuple[Ports, ToolRunner]:
        runtime = self._runtime
        return runtime.async_ports, AsyncToolRunner(runtime.async_ports, runtime.ports)

    async def _call(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if inspect.iscoroutinefunction(function):
            return await function(*args, **options)
        value = await asyncio.to_thread(function, *args, **options)
        return await value if inspect.isawaitable(value) else value

    async def _wait_for_delivery(self) -> None:
        timeout = self.memory_ingest_timeout_ms / 1000
        await self._runtime.delivery.wait_async(timeout, own=True)


AsyncGuardedOpenAI = AsyncBighubOpenAI
