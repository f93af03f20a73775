"""Runs a tool, from a thread without an event loop and from a coroutine."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

from bighub_langgraph.bighub.loop import background_loop
from bighub_langgraph.core.current import entered
from bighub_langgraph.core.doubt import perform
from bighub_langgraph.core.drive import run_sync
from bighub_langgraph.core.flows import Ended, Ran
from bighub_langgraph.core.plain import plain
from bighub_langgraph.core.policy import ToolPolicy
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.record import Executed, Failed, Record, Result
from bighub_langgraph.core.redaction import redact_text
from bighub_langgraph.openai.tools import Tool

__all__ = ["Runner", "async_runner", "blocking_runner"]

Json = dict[str, Any]
Waiter = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Runner:
    """Ways to run a tool.

    Attributes:
        once: Claims the call's record, runs the tool under the policy given and settles the record.
        unrecorded: Only runs the tool, which changes nothing.
    """

    once: Callable[[Tool, ToolPolicy, Json, str], Awaitable[Ran]]
    unrecorded: Callable[[Tool, Json], Awaitable[Result]]


def blocking_runner(ports: Ports) -> Runner:
    """Run tools in the calling thread; a coroutine runs to its end on the background loop."""

    async def once(tool: Tool, policy: ToolPolicy, arguments: Json, key: str) -> Ran:
        async def run(record: Record) -> Ended:
            return Ended(_here(tool, arguments, _on_background_loop, record))

        return await perform(key, policy, arguments, ports, run)

    async def unrecorded(tool: Tool, arguments: Json) -> Result:
        return _here(tool, arguments, _on_background_loop, None)

    return Runner(once, unrecorded)


def async_runner(aports: Ports, ports: Ports) -> Runner:
    """Run coroutine functions on the loop, and every other tool in a thread of blocking ports.

    Claim, tool and settling are one function in that thread: it comes to its end there when the
    coroutine that waits for it is cancelled.
    """

    async def once(tool: Tool, policy: ToolPolicy, arguments: Json, key: str) -> Ran:
        if _is_coroutine_function(tool.fn):

            async def run(record: Record) -> Ended:
                return Ended(await _on_loop(tool, arguments, record))

            return await perform(key, policy, arguments, aports, run)
        wait = _on_loop_of(asyncio.get_running_loop())

        async def run_here(record: Record) -> Ended:
            return Ended(_here(tool, arguments, wait, record))

        flow = perform(key, policy, arguments, ports, run_here)
        return await asyncio.shield(asyncio.ensure_future(asyncio.to_thread(run_sync, flow)))

    async def unrecorded(tool: Tool, arguments: Json) -> Result:
        if _is_coroutine_function(tool.fn):
            return await _on_loop(tool, arguments, None)
        wait = _on_loop_of(asyncio.get_running_loop())
        return await asyncio.to_thread(_here, tool, arguments, wait, None)

    return Runner(once, unrecorded)


def _here(tool: Tool, arguments: Json, wait: Waiter, record: Record | None) -> Result:
    try:
        with entered(record) if record else nullcontext():
            positional, named = tool.parameters.bind(arguments)
            output = tool.fn(*positional, **named)
            return Executed(plain(wait(output) if inspect.isawaitable(output) else output))
    except Exception as error:  # noqa: BLE001 - a tool may raise anything; all of it is its result
        return _failed(error)


async def _on_loop(tool: Tool, arguments: Json, record: Record | None) -> Result:
    try:
        with entered(record) if record else nullcontext():
            positional, named = tool.parameters.bind(arguments)
            return Executed(plain(await tool.fn(*positional, **named)))
    except Exception as error:  # noqa: BLE001 - a tool may raise anything; all of it is its result
        return _failed(error)


def _failed(error: Exception) -> Failed:
    text = " ".join(redact_text(str(error)).split())
    return Failed(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _is_coroutine_function(fn: Any) -> bool:
    while isinstance(fn, partial):
        fn = fn.func
    called = fn if inspect.isroutine(fn) else type(fn).__call__
    return inspect.iscoroutinefunction(called)


def _on_background_loop(awaitable: Any) -> Any:
    return background_loop().run(_awaited(awaitable))


def _on_loop_of(loop: asyncio.AbstractEventLoop) -> Waiter:
    return lambda awaitable: asyncio.run_coroutine_threadsafe(_awaited(awaitable), loop).result()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
