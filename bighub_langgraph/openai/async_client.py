"""`AsyncBighubOpenAI`: the client for coroutines."""

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from copy import deepcopy
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.delivery_worker import AT_EXIT
from bighub_langgraph.openai.conversation import Ending, converse, go_on
from bighub_langgraph.openai.facade import Facade
from bighub_langgraph.openai.models import ASYNCHRONOUS
from bighub_langgraph.openai.resolution import resolved
from bighub_langgraph.openai.result import RunResult
from bighub_langgraph.openai.running import Runner, async_runner
from bighub_langgraph.openai.runs import ended, with_approval
from bighub_langgraph.openai.state import RunState
from bighub_langgraph.openai.tools import check_tool_call

__all__ = ["AsyncBighubOpenAI", "AsyncGuardedOpenAI"]

log = logging.getLogger("bighub_langgraph")
Json = dict[str, Any]


class AsyncBighubOpenAI(Facade):
    """`BighubOpenAI` with `await`; blocking tools and callbacks run in threads."""

    _colour = ASYNCHRONOUS

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
        talk = self._begun(messages, model, instructions, temperature, extra_create_args)
        return await self._finished(converse(talk, self._surroundings(), streaming=False))

    async def run_stream(
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
            talk = self._resumable(state)
            parts = go_on(talk, self._surroundings(), streaming=True, reply=state.reply)
        else:
            talk = self._begun(messages, model, instructions, temperature, extra_create_args)
            parts = converse(talk, self._surroundings(), streaming=True)
        try:
            async with aclosing(parts) as running:
                async for part in running:
                    yield await self._said(part) if isinstance(part, Ending) else part
        finally:
            await self._wait()

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
        talk = self._begun(messages, model, instructions, temperature, extra_create_args)

        async def consult(context: Json) -> Any:
            return await _outcome_of(on_approval_required, context)

        asking = None if on_approval_required is None else consult
        ending, loop = await with_approval(talk, self._surroundings(), asking, self._result)
        return await self._told(ending, approval_loop=loop)

    async def resume(self, state: RunState) -> RunResult:
        """See `BighubOpenAI.resume`."""
        talk = self._resumable(state)
        going = go_on(talk, self._surroundings(), streaming=False, reply=state.reply)
        return await self._finished(going)

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
        asked = self._resolution(tool_name, arguments, request_id, resolution, comment)

        async def tell() -> Any:
            resolve = self._backing.guard.client.approvals.resolve
            return await _called(resolve, request_id, resolution=resolution, comment=comment)

        told = await resolved(asked, self._surroundings(), tell)
        await self._wait()
        return told

    async def check_tool(self, tool_name: str, arguments: Mapping[str, Any]) -> Json:
        """See `BighubOpenAI.check_tool`."""
        tool = self._registered(tool_name)
        return await check_tool_call(tool, dict(arguments), self._surroundings(), uuid4().hex)

    async def close(self) -> None:
        """See `BighubOpenAI.close`."""
        if self._backing.runtime.clients.on_loop:
            await self._backing.runtime.delivery.aflush(AT_EXIT)
        await asyncio.to_thread(self._backing.close)
        if self._own_openai:
            await self._openai.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def _equipped(self) -> tuple[Ports, Runner]:
        runtime = self._backing.runtime
        runner = async_runner(runtime.async_ports, runtime.ports, self._deliver_soon)
        return runtime.async_ports, runner

    async def _finished(self, parts: AsyncGenerator[Json | Ending, None]) -> RunResult:
        try:
            return await self._told(await ended(parts))
        except Exception:
            await self._wait()
            raise

    async def _told(self, ending: Ending, **more: Json) -> RunResult:
        await self._wait()
        result = self._result(ending)
        result.update(more)
        return result

    async def _said(self, ending: Ending) -> Json:
        response = await self._told(ending)
        return {"type": "final_response", "response": response, "response_id": ending.reply.id}

    async def _wait(self) -> None:
        timeout = self.settings.memory_ingest_timeout_ms / 1000
        await self._backing.runtime.delivery.wait_async(timeout, own=True)

    async def _notice(self, event: Json, record: CallRecord) -> None:
        self._backing.guard.runtime.emit_decision(record)
        if self.settings.on_decision is None:
            return
        try:
            await _outcome_of(self.settings.on_decision, deepcopy(event))
        except Exception:
            log.exception("on_decision raised; the call %s goes on", record.key[:12])

    async def _deliver(self, turn: str) -> None:
        await self._backing.runtime.delivery.deliver_async(turn)

    def _deliver_soon(self) -> None:
        self._backing.runtime.delivery.schedule_async()


AsyncGuardedOpenAI = AsyncBighubOpenAI


async def _outcome_of(callback: Any, argument: Json) -> Any:
    return await _called(callback, argument)


async def _called(function: Any, *args: Any, **options: Any) -> Any:
    """Call a coroutine function here and any other in a thread; await what comes of it."""
    if inspect.iscoroutinefunction(function):
        return await function(*args, **options)
    value = await asyncio.to_thread(function, *args, **options)
    return await value if inspect.isawaitable(value) else value
