"""Run the same `async def` with and without an event loop."""

import asyncio
import contextlib
import contextvars
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from bighub_langgraph.core.crew import Turn

T = TypeVar("T")


def run_sync(flow: Coroutine[Any, Any, T]) -> T:
    """Run a flow whose ports never suspend; no event loop is needed, so it works inside one."""
    try:
        flow.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    flow.close()
    raise RuntimeError("a blocking port suspended; use the asynchronous ports in a coroutine")


async def in_place(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function here and now."""
    return function(*args, **kwargs)


async def in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function in a thread; a caller that is cancelled still waits until it is done.

    These are the journal's short transactions: a cancelled caller must know whether they happened.
    """
    work = threaded(function, *args, **kwargs)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise


def loop_is_watched() -> bool:
    """Whether somebody may raise where a coroutine blocks, as `langgraph dev` does.

    For them a database in memory blocks like any other.
    """
    return "blockbuster" in sys.modules


def threaded(function: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
    """What `asyncio.to_thread` awaits, without a task around it: the function runs by itself."""
    call = partial(contextvars.copy_context().run, function, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(None, call)


async def by_threads(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run flows side by side on the blocking side, each with a copy of the context."""
    if len(flows) < 2:  # noqa: PLR2004 - one flow needs no help
        return [await flow for flow in flows]
    return Turn(run_sync, flows).results()


async def by_tasks(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run flows side by side on the running event loop."""
    if len(flows) < 2:  # noqa: PLR2004 - one flow needs no task
        return [await flow for flow in flows]
    loop, me = asyncio.get_running_loop(), asyncio.current_task()
    tasks = [loop.create_task(flow) for flow in flows]
    # All come to their end before one may raise: a tool that runs must be settled first.
    for task in tasks:
        try:
            await task
        except asyncio.CancelledError:
            if me is not None and me.cancelling():  # and not only a tool that raised it
                for other in tasks:
                    other.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                raise
        except Exception:  # noqa: BLE001, S112 - raised below
            continue
    return [task.result() for task in tasks]
