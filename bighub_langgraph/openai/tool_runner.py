"""Run a tool, from a thread without an event loop and from a coroutine."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, TypeVar

from bighub_langgraph.concurrency import run_sync, start_in_thread
from bighub_langgraph.core.claims import ExecutionResult, ToolFinished
from bighub_langgraph.core.context import enter_call
from bighub_langgraph.core.jsonable import (
    exception_text,
    replace_surrogates,
    to_jsonable,
    truncate,
)
from bighub_langgraph.core.models import CallRecord, ToolFailed, ToolOutcome, ToolSucceeded
from bighub_langgraph.core.policy import ToolPolicy
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.recovery import execute_or_recover
from bighub_langgraph.core.redaction import redact_text
from bighub_langgraph.openai.arguments import BoundArguments
from bighub_langgraph.openai.tools import Tool

Json = dict[str, Any]
Bind = Callable[[], BoundArguments]
WaitFor = Callable[[Awaitable[Any]], Awaitable[Any]]
T = TypeVar("T")
RunTool = Callable[[CallRecord], Coroutine[Any, Any, ToolFinished]]
Flow = Callable[[Ports, RunTool], Coroutine[Any, Any, T]]

MAX_ERROR_LENGTH = 4_000  # characters


class ToolRunner:
    """Runs tools in the calling thread, and coroutines on the background loop."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    async def execute(
        self, tool: Tool, policy: ToolPolicy, arguments: Json, key: str, bind: Bind | None = None
    ) -> ExecutionResult:
        """Claim the call with this key, run its tool once, and record the outcome.

        Args:
            tool: The tool.
            policy: What recovers the call if its outcome is unknown.
            arguments: As JSON, for the policy's probe.
            key: The key of the record.
            bind: Returns the values that the function is called with, where the arguments were
                just validated.
        """
        flow = partial(execute_or_recover, key, policy, arguments)
        return await self._run(tool, bind or partial(tool.parameters.bind, arguments), flow)

    async def run_read_only(
        self, tool: Tool, record: CallRecord, arguments: Json, bind: Bind | None
    ) -> ToolOutcome:
        """Run a tool that changes nothing, so that the journal need not know the call."""

        async def run(ports: Ports, run_tool: RunTool) -> ToolOutcome:
            if (telemetry := ports.active_telemetry()) is None:
                return (await run_tool(record)).result
            with telemetry.execution(record) as add_outcome:
                outcome = (await run_tool(record)).result
                add_outcome(outcome)
                return outcome

        return await self._run(tool, bind or partial(tool.parameters.bind, arguments), run)

    async def _run(self, tool: Tool, bind: Bind, flow: Flow[T]) -> T:
        """Call a flow with the ports to use and a function that runs the tool for a record."""
        return await flow(self._ports, partial(_call_tool, tool, bind, self._ports.wait_for))


class AsyncToolRunner(ToolRunner):
    """Runs coroutine functions on the event loop, and any other tool in a thread.

    In the thread, claim, tool and recording are one function over blocking ports. When the
    coroutine that waits for it is cancelled, it still finishes, unless it has not started by then.
    """

    def __init__(self, async_ports: Ports, ports: Ports) -> None:
        super().__init__(async_ports)
        self._blocking_ports = ports

    async def _run(self, tool: Tool, bind: Bind, flow: Flow[T]) -> T:
        if tool.on_loop:
            return await super()._run(tool, bind, flow)
        wait_for = partial(_wait_on, asyncio.get_running_loop())
        run_tool = partial(_call_tool, tool, bind, wait_for)
        cancellation = threading.Event()

        def run() -> T:
            if cancellation.is_set():  # while it waited for a thread
                raise asyncio.CancelledError
            return run_sync(flow(self._blocking_ports, run_tool))

        work = start_in_thread(run)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            cancellation.set()
            # The run that would deliver the outcome has ended.
            work.add_done_callback(self._end_without_caller)
            raise

    def _end_without_caller(self, work: asyncio.Future[Any]) -> None:
        if not work.cancelled():
            work.exception()  # nobody else reads it, and asyncio would log that
        self._ports.schedule_delivery()


async def _call_tool(tool: Tool, bind: Bind, wait_for: WaitFor, record: CallRecord) -> ToolFinished:
    try:
        with enter_call(record):
            positional, named_values = bind()
            output = tool.fn(*positional, **named_values)
            if _is_awaitable(output):
                output = await wait_for(output)
    except asyncio.CancelledError as error:
        if _is_being_cancelled():
            raise
        return _failure(error)  # the tool itself raised it
    except Exception as error:  # noqa: BLE001 - whatever a tool raises is its outcome
        return _failure(error)
    if type(output) in {GeneratorType, AsyncGeneratorType}:
        fault = "the tool returned a generator, which has not run; collect what it yields"
        return ToolFinished(ToolFailed(fault))
    return ToolFinished(ToolSucceeded(to_jsonable(output)))


def _is_awaitable(output: object) -> bool:
    try:
        return inspect.isawaitable(output)
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return False


def _is_being_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop is running
        return False
    return task is not None and task.cancelling() > 0


def _failure(error: BaseException) -> ToolFinished:
    # Redacted before it is cut, so that no half of a secret remains.
    text = redact_text(replace_surrogates(exception_text(error)[: 4 * MAX_ERROR_LENGTH]))
    text = truncate(" ".join(text.split()), MAX_ERROR_LENGTH)
    name = type(error).__name__
    return ToolFinished(ToolFailed(f"{name}: {text}" if text else name, error_class=name))


async def _wait_on(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[Any]) -> Any:
    """Await something on a loop of another thread."""

    async def wait() -> Any:
        return await awaitable

    return asyncio.run_coroutine_threadsafe(wait(), loop).result()
