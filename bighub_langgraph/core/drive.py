"""Run the same `async def` with and without an event loop."""

import asyncio
import contextlib
import contextvars
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

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
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise


async def by_threads(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run flows side by side on the blocking side, each with a copy of the context.

    The pool lives for this turn only: a shared one deadlocks when tools start guarded runs.
    """
    if len(flows) < 2:  # noqa: PLR2004 - one flow needs no pool
        return [await flow for flow in flows]
    with ThreadPoolExecutor(len(flows), thread_name_prefix="bighub-turn") as pool:
        running = [pool.submit(contextvars.copy_context().run, run_sync, flow) for flow in flows]
        return [one.result() for one in running]


async def by_tasks(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run flows side by side on the running event loop."""
    if len(flows) < 2:  # noqa: PLR2004 - one flow needs no task
        return [await flow for flow in flows]
    ended = await asyncio.gather(*flows, return_exceptions=True)
    # All have come to their end before one may raise: a tool that runs must be settled first.
    for one in ended:
        if isinstance(one, BaseException):
            raise one
    return cast("list[T]", ended)
