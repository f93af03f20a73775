"""Runs a tool, from a thread without an event loop and from a coroutine."""

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from bighub_langgraph.concurrency import background_loop, run_sync, start_in_thread
from bighub_langgraph.core.context import enter_call
from bighub_langgraph.core.execution import ExecutionResult, ToolFinished, execute_or_recover
from bighub_langgraph.core.jsonable import exception_text, to_jsonable, truncate
from bighub_langgraph.core.models import CallRecord, ToolFailed, ToolOutcome, ToolSucceeded
from bighub_langgraph.core.policy import ToolPolicy
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.redaction import redact_text
from bighub_langgraph.openai.arguments import BoundArguments
from bighub_langgraph.openai.tools import Tool

__all__ = ["Runner", "async_runner", "blocking_runner"]

Json = dict[str, Any]
Bind = Callable[[], BoundArguments]
Waiter = Callable[[Any], Any]
LONGEST_ERROR = 4_000


@dataclass(frozen=True, slots=True)
class Runner:
    """Ways to run a tool.

    Attributes:
        once: Claims the call's record, runs the tool under the policy given and settles the record.
            Takes the arguments in JSON, the record's key, and what binds them to the function.
        unrecorded: Only runs the tool, which changes nothing; no journal holds the record.
    """

    once: Callable[[Tool, ToolPolicy, Json, str, Bind], Awaitable[ExecutionResult]]
    unrecorded: Callable[[Tool, CallRecord, Bind], Awaitable[ToolOutcome]]


def blocking_runner(ports: Ports) -> Runner:
    """Run tools in the calling thread; a coroutine runs to its end on the background loop."""

    def once(
        tool: Tool, policy: ToolPolicy, arguments: Json, key: str, bind: Bind
    ) -> Awaitable[ExecutionResult]:
        async def run(record: CallRecord) -> ToolFinished:
            return ToolFinished(_here(tool, bind, _on_background_loop, record))

        return execute_or_recover(key, policy, arguments, ports, run)

    async def unrecorded(tool: Tool, record: CallRecord, bind: Bind) -> ToolOutcome:
        return _here(tool, bind, _on_background_loop, record)

    return Runner(once, unrecorded)


def async_runner(aports: Ports, ports: Ports, tell: Callable[[], None]) -> Runner:
    """Run coroutine functions on the loop, and every other tool in a thread of blocking ports.

    Claim, tool and settling are one function in that thread: it comes to its end there when the
    coroutine that waits for it is cancelled, unless it has not begun by then. Then `tell` is called
    on the loop at its end, for the run that would have told of it is over.
    """

    def once(
        tool: Tool, policy: ToolPolicy, arguments: Json, key: str, bind: Bind
    ) -> Awaitable[ExecutionResult]:
        if tool.on_loop:
            return execute_or_recover(key, policy, arguments, aports, partial(_on_loop, tool, bind))
        wait = _on_loop_of(asyncio.get_running_loop())

        async def run_here(record: CallRecord) -> ToolFinished:
            return ToolFinished(_here(tool, bind, wait, record))

        return _in_thread(execute_or_recover(key, policy, arguments, ports, run_here), tell)

    async def unrecorded(tool: Tool, record: CallRecord, bind: Bind) -> ToolOutcome:
        if tool.on_loop:
            return (await _on_loop(tool, bind, record)).result
        wait = _on_loop_of(asyncio.get_running_loop())
        return await start_in_thread(_here, tool, bind, wait, record)

    return Runner(once, unrecorded)


async def _in_thread(
    flow: Coroutine[Any, Any, ExecutionResult], tell: Callable[[], None]
) -> ExecutionResult:
    given_up = threading.Event()

    def begun() -> ExecutionResult | None:
        if given_up.is_set():  # it was still waiting for a thread
            flow.close()
            return None
        return run_sync(flow)

    work = start_in_thread(begun)
    try:
        ran = await asyncio.shield(work)
    except asyncio.CancelledError:
        given_up.set()
        work.add_done_callback(lambda _: tell())
        raise
    if ran is None:
        raise AssertionError("unreachable: only a flow that was given up does not begin")
    return ran


def _here(tool: Tool, bind: Bind, wait: Waiter, record: CallRecord) -> ToolOutcome:
    try:
        with enter_call(record):
            positional, named = bind()
            output = tool.fn(*positional, **named)
            return _result(wait(output) if _is_awaitable(output) else output)
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - a tool may raise anything; all of it is its result
        return _failed(error)


async def _on_loop(tool: Tool, bind: Bind, record: CallRecord) -> ToolFinished:
    try:
        with enter_call(record):
            positional, named = bind()
            return ToolFinished(_result(await tool.fn(*positional, **named)))
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return ToolFinished(_failed(error))  # nobody cancels this run: the tool raised it itself
    except Exception as error:  # noqa: BLE001 - a tool may raise anything; all of it is its result
        return ToolFinished(_failed(error))


def _result(output: object) -> ToolOutcome:
    if type(output) in _UNBEGUN:
        return ToolFailed(
            "the tool returned a generator, which has not run; collect what it yields"
        )
    return ToolSucceeded(to_jsonable(output))


_UNBEGUN = frozenset({GeneratorType, AsyncGeneratorType})


def _is_awaitable(output: object) -> bool:
    try:
        return inspect.isawaitable(output)
    except Exception:  # noqa: BLE001 - a user's object may raise anything from its own methods
        return False


def _failed(error: BaseException) -> ToolFailed:
    # More than is shown, lest half a secret at the cut be shown; and no more than that.
    text = redact_text(exception_text(error)[: 4 * LONGEST_ERROR])
    text = truncate(" ".join(text.split()), LONGEST_ERROR)
    return ToolFailed(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _on_background_loop(awaitable: Any) -> Any:
    return background_loop().run(_awaited(awaitable))


def _on_loop_of(loop: asyncio.AbstractEventLoop) -> Waiter:
    return lambda awaitable: asyncio.run_coroutine_threadsafe(_awaited(awaitable), loop).result()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
