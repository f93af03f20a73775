"""Threads, event loops and forks: the sync driver, concurrent turns, the background loop."""

import asyncio
import atexit
import contextlib
import contextvars
import os
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import cache, lru_cache, partial
from itertools import compress
from operator import methodcaller
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from bighub_langgraph.core.errors import ConfigurationError

T = TypeVar("T")

# An idle thread of the pool ends after this many seconds.
IDLE_TIMEOUT = 10.0

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
    work = start_in_thread(function, *args, **kwargs)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
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


async def gather_in_threads(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines over blocking ports concurrently, each with a copy of the context."""
    if len(flows) == 1:
        return [await flows[0]]
    return ParallelRun(run_sync, flows).results()


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


class ParallelRun(Generic[T]):
    """Coroutines that are run by the calling thread together with threads of the pool.

    The calling thread works too, so the run ends even without another thread, and runs that start
    runs cannot wait for each other. A thread that takes a coroutine calls for one more thread to
    take the next one: where every coroutine waits, all of them soon run concurrently, and where
    none waits, one thread has run them all before another is awake.
    """

    def __init__(
        self, run: Callable[[Coroutine[Any, Any, T]], T], flows: Sequence[Coroutine[Any, Any, T]]
    ) -> None:
        self._run = run
        self._queue = deque((n, contextvars.copy_context(), flow) for n, flow in enumerate(flows))
        self._results: list[T | None] = [None] * len(flows)
        self._errors: dict[int, BaseException] = {}
        self._unfinished = len(flows)
        self._helper_is_called = False
        self._lock = threading.Lock()
        self._finished = threading.Event()
        if not flows:
            self._finished.set()

    def results(self) -> list[T]:
        """Run the coroutines to their ends, then raise the first one's error or return results."""
        self._work()
        try:
            self._finished.wait()
        except BaseException:
            self._finished.wait()  # interrupted: running tools are recorded first
            raise
        for number in sorted(self._errors):
            raise self._errors[number]
        return self._results  # type: ignore[return-value]  # none is missing once it is finished

    def _help(self) -> None:
        self._helper_is_called = False
        self._work()

    def _work(self) -> None:
        while self._queue:
            if len(self._queue) > 1 and not self._helper_is_called:
                self._helper_is_called = True
                with contextlib.suppress(RuntimeError):  # no more threads: this one runs them all
                    _pool.submit(self._help)
            try:
                # After the call for help, so that coroutines start in their order.
                number, context, flow = self._queue.popleft()
            except IndexError:  # another thread took it
                return
            try:
                self._results[number] = context.run(self._run, flow)
            except BaseException as error:  # noqa: BLE001 - raised in the calling thread
                self._errors[number] = error
            with self._lock:
                self._unfinished -= 1
                if not self._unfinished:
                    self._finished.set()


class ThreadPool:
    """Threads that wait for work. Where none is idle a new one is started, so no work waits.

    The threads are daemons, so that idle ones do not delay the interpreter's exit; running work is
    finished before it.
    """

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, work: Callable[[], None]) -> None:
        """Run a function that does not raise in a thread.

        Raises:
            RuntimeError: No thread can be started.
        """
        with self._lock:
            is_any_idle = self._idle > 0
            if is_any_idle:
                self._idle -= 1
            else:
                self._threads += 1
        if not is_any_idle:
            self._start_thread()
        # Only now, so that the caller's own work starts first.
        self._queue.put(work)

    def finish(self) -> None:
        """Wait until no work is running."""
        while self._threads > self._idle:
            time.sleep(_POLL)

    def _start_thread(self) -> None:
        _finish_at_exit()
        thread = threading.Thread(target=self._run, name="bighub-turn", daemon=True)
        try:
            thread.start()
        except BaseException:
            with self._lock:
                self._threads -= 1
            raise

    def _run(self) -> None:
        work: Callable[[], None] | None = self._queue.get()
        while work is not None:
            work()
            work = None  # an idle thread keeps nothing alive
            work = self._next()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            self._idle += 1
        while True:
            try:
                return self._queue.get(timeout=IDLE_TIMEOUT)
            except queue.Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        self._threads -= 1
                        return None
                # A submit counts on this thread: its work is about to arrive.


_POLL = 0.01


@cache
def _finish_at_exit() -> None:
    # Not before the first thread: exit handlers run in reverse order, and those that deliver the
    # last reports must run after these threads have recorded theirs.
    atexit.register(lambda: _pool.finish())  # noqa: PLW0108 - a forked child has another pool


_pool = ThreadPool()


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


def background_loop() -> BackgroundLoop:
    """Return the process's background loop; a forked child has its own."""
    return _loop_of(os.getpid())


@lru_cache(maxsize=1)
def _loop_of(_: int) -> BackgroundLoop:
    return BackgroundLoop()


# -- forks -----------------------------------------------------------------------------------------

_locks: WeakSet[threading.Lock] = WeakSet()
_acquired: list[threading.Lock] = []
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
    _acquired.extend(compress(locks, map(_ACQUIRE, locks)))


_ACQUIRE = methodcaller("acquire", timeout=FORK_TIMEOUT)


def _release_after_fork() -> None:
    locks = _acquired[::-1]
    _acquired.clear()
    for lock in locks:
        lock.release()


def _reset_in_child() -> None:
    """Replace the pool: a forked child has none of its parent's threads."""
    global _pool  # noqa: PLW0603 - one pool per process
    _pool = ThreadPool()
    _release_after_fork()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(
        before=_acquire_before_fork,
        after_in_parent=_release_after_fork,
        after_in_child=_reset_in_child,
    )
