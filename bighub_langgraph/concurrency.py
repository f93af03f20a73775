"""Event loops and forks: the sync driver, tasks of a turn, the background loop, fork-safe locks."""

import asyncio
import contextlib
import contextvars
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import lru_cache, partial
from itertools import compress
from operator import methodcaller
from typing import Any, TypeVar
from weakref import WeakSet

from bighub_langgraph.core.errors import ConfigurationError

T = TypeVar("T")

# A fork waits at most this many seconds for a lock. A thread that forks while it holds the lock
# itself would wait for ever.
FORK_TIMEOUT = 30.0


# -- one flow, with and without an event loop ------------------------------------------------------


def run_sync(flow: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine over blocking ports to its end. It needs no event loop, and may run in one.

    Raises:
        RuntimeError: The coroutine suspended, so one of its ports is not a blocking one.
    """
    try:
        flow.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    flow.close()
    raise RuntimeError("a blocking port suspended; use the asynchronous ports in a coroutine")


async def call_inline(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function in the current thread."""
    return function(*args, **kwargs)


async def call_in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function in a thread; a cancelled caller waits until it has returned.

    It is used for the journal's short transactions: a cancelled caller must know whether they took
    effect.
    """
    return await await_completion(start_in_thread(function, *args, **kwargs))


async def await_completion(work: Awaitable[T]) -> T:
    """Await work to its end; a cancelled caller waits for it too, and is cancelled then."""
    future = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        raise


def start_in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
    """Start a function in a thread, as `asyncio.to_thread` does, but not as a task."""
    call = partial(contextvars.copy_context().run, function, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(None, call)


def detects_blocking_calls() -> bool:
    """Whether blocking calls raise in coroutines, as under `langgraph dev`.

    A database in memory counts as a blocking call there.
    """
    return "blockbuster" in sys.modules


# -- the calls of a turn, concurrently -------------------------------------------------------------


async def gather_in_tasks(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines concurrently on the running event loop."""
    if len(flows) == 1:
        return [await flows[0]]
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    tasks = [loop.create_task(flow) for flow in flows]
    # All of them end before one may raise: the outcome of a running tool must be recorded first.
    for task in tasks:
        try:
            await task
        except asyncio.CancelledError:
            if current is not None and current.cancelling():  # and not only raised by a tool
                for other in tasks:
                    other.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                raise
        except Exception:  # noqa: BLE001, S112 - raised below
            continue
    return [task.result() for task in tasks]


# -- the background loop ---------------------------------------------------------------------------


class BackgroundLoop:
    """An event loop in a daemon thread, for async clients and coroutine tools of sync hosts."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="bighub-loop", daemon=True
        )
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result.

        Raises:
            ConfigurationError: The caller runs on the loop itself and would wait for ever.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise ConfigurationError(
                "a coroutine tool of a blocking client cannot call a blocking client itself: it "
                "would wait for the loop it runs on; make the tool a plain function"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def run_in_background(awaitable: Awaitable[T]) -> T:
    """Return the result of an awaitable from the process's background loop.

    A forked child has a loop of its own.
    """
    return _start_loop(os.getpid()).run(await_inline(awaitable))


async def await_inline(awaitable: Awaitable[T]) -> T:
    """Return the result of an awaitable from the running loop."""
    return await awaitable


@lru_cache(maxsize=1)
def _start_loop(_: int) -> BackgroundLoop:
    return BackgroundLoop()


# -- forks -----------------------------------------------------------------------------------------

_locks: WeakSet[threading.Lock] = WeakSet()
_acquired_locks: list[threading.Lock] = []
_registry_lock = threading.Lock()


def fork_safe_lock() -> threading.Lock:
    """Return a lock that no other thread holds while this process forks.

    Without it a child could inherit a lock that nobody releases. A thread holds at most one.
    """
    lock = threading.Lock()
    with _registry_lock:
        _locks.add(lock)
    return lock


def _acquire_before_fork() -> None:
    _acquire_all([_registry_lock])  # first, so that no lock is added and no other thread forks
    _acquire_all(list(_locks))


def _acquire_all(locks: list[threading.Lock]) -> None:
    # In one call of C code: a signal handler that raises behind `acquire` would leak the lock.
    _acquired_locks.extend(compress(locks, map(_ACQUIRE, locks)))


_ACQUIRE = methodcaller("acquire", timeout=FORK_TIMEOUT)


def _release_after_fork() -> None:
    locks = _acquired_locks[::-1]
    _acquired_locks.clear()
    for lock in locks:
        lock.release()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(
        before=_acquire_before_fork,
        after_in_parent=_release_after_fork,
        after_in_child=_release_after_fork,
    )
