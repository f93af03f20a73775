"""Run the same `async def` with and without an event loop."""

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
from contextlib import suppress
from functools import cache, lru_cache, partial
from itertools import compress
from operator import methodcaller
from typing import Any, Generic, TypeVar
from weakref import WeakSet

from bighub_langgraph.core.errors import ConfigurationError

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


async def call_inline(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function here and now."""
    return function(*args, **kwargs)


async def call_in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function in a thread; a caller that is cancelled still waits until it is done.

    These are the journal's short transactions: a cancelled caller must know whether they happened.
    """
    work = start_in_thread(function, *args, **kwargs)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise


def detects_blocking_calls() -> bool:
    """Whether somebody may raise where a coroutine blocks, as `langgraph dev` does.

    For them a database in memory blocks like any other.
    """
    return "blockbuster" in sys.modules


def start_in_thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> asyncio.Future[T]:
    """What `asyncio.to_thread` awaits, without a task around it: the function runs by itself."""
    call = partial(contextvars.copy_context().run, function, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(None, call)


async def gather_in_threads(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run flows side by side on the blocking side, each with a copy of the context."""
    if len(flows) < 2:  # noqa: PLR2004 - one flow needs no help
        return [await flow for flow in flows]
    return ParallelRun(run_sync, flows).results()


async def gather_in_tasks(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
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


# After how many seconds without work a thread ends.
IDLE = 10.0


class ParallelRun(Generic[T]):
    """Flows that wait to be run, and what came of those that were.

    Whoever asks for the turn works on it too, so that it comes to its end even without help, and
    turns that are started inside of turns cannot wait for each other. Whoever takes a flow calls
    for another thread to take the next one: where every flow waits for something all of them soon
    run side by side, and where none waits one thread has run them all before another is awake.
    """

    def __init__(
        self, run: Callable[[Coroutine[Any, Any, T]], T], flows: Sequence[Coroutine[Any, Any, T]]
    ) -> None:
        self._run = run
        self._left = deque((n, contextvars.copy_context(), flow) for n, flow in enumerate(flows))
        self._ended: list[T | None] = [None] * len(flows)
        self._raised: dict[int, BaseException] = {}
        self._open = len(flows)
        self._called = False
        self._lock = threading.Lock()
        self._over = threading.Event()

    def results(self) -> list[T]:
        """Run the flows; raise what the first one raised once all have come to their end."""
        self._work()
        try:
            self._over.wait()
        except BaseException:
            self._over.wait()  # told to stop: what runs is settled first
            raise
        for number in sorted(self._raised):
            raise self._raised[number]
        return self._ended  # type: ignore[return-value]  # none is missing once it is over

    def _help(self) -> None:
        self._called = False
        self._work()

    def _work(self) -> None:
        while self._left:
            if len(self._left) > 1 and not self._called:
                self._called = True
                with contextlib.suppress(
                    RuntimeError
                ):  # no more threads: then this one does it all
                    _crew.call(self._help)
            try:
                # Last, so that the flows begin in their order.
                number, context, flow = self._left.popleft()
            except IndexError:  # other threads were faster
                return
            try:
                self._ended[number] = context.run(self._run, flow)
            except BaseException as error:  # noqa: BLE001 - raised again where the turn was asked for
                self._raised[number] = error
            with self._lock:
                self._open -= 1
                if not self._open:
                    self._over.set()


class ThreadPool:
    """Threads that wait for work. When none is idle a new one is started, so no work waits.

    They are daemons, so that idle ones do not hold up the interpreter's end; what is under way is
    brought to its end before that.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()

    def call(self, work: Callable[[], None]) -> None:
        """Have a thread do something that does not raise."""
        with self._lock:
            idle = self._idle > 0
            if idle:
                self._idle -= 1
            else:
                self._threads += 1
        if not idle:
            self._hire()
        # A new thread waits for this, too: whoever calls goes on, and what it does begins first.
        self._calls.put(work)

    def finish(self) -> None:
        """Wait until nothing is under way."""
        while self._threads > self._idle:
            time.sleep(_LOOK_AGAIN)

    def _hire(self) -> None:
        _finish_at_exit()
        hired = threading.Thread(target=self._go_on, name="bighub-turn", daemon=True)
        try:
            hired.start()
        except BaseException:
            with self._lock:
                self._threads -= 1
            raise

    def _go_on(self) -> None:
        work: Callable[[], None] | None = self._calls.get()
        while work is not None:
            work()
            work = None  # an idle thread holds on to nothing
            work = self._next()

    def _next(self) -> Callable[[], None] | None:
        with self._lock:
            self._idle += 1
        while True:
            try:
                return self._calls.get(timeout=IDLE)
            except queue.Empty:
                with self._lock:
                    if self._idle:
                        self._idle -= 1
                        self._threads -= 1
                        return None
                # Somebody counts on this thread: a call is on its way.


_LOOK_AGAIN = 0.01


@cache
def _finish_at_exit() -> None:
    # Not before the first thread: what is registered last runs first, and couriers that tell the
    # rest at the end shall know of what these threads have settled.
    atexit.register(lambda: _crew.finish())  # noqa: PLW0108 - a forked child has another one


_crew = ThreadPool()


def _start_anew_in_child() -> None:
    """A forked child has none of its parent's threads."""
    global _crew  # noqa: PLW0603 - one crew a process
    _crew = ThreadPool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)


_AT_MOST = 30.0  # seconds; whoever forks while holding one itself would wait for ever
_locks: WeakSet[threading.Lock] = WeakSet()
_taken: list[threading.Lock] = []
_known = threading.Lock()


def fork_safe_lock() -> threading.Lock:
    """A lock that no other thread holds while this process forks; nobody holds two of them."""
    lock = threading.Lock()
    with _known:
        _locks.add(lock)
    return lock


def _take() -> None:
    _take_all([_known])  # the first, so that none is added meanwhile and no other thread forks
    _take_all(list(_locks))


def _take_all(locks: list[threading.Lock]) -> None:
    # In one call: where a signal's handler raises behind `acquire`, nobody would know of it.
    _taken.extend(compress(locks, map(_ACQUIRE, locks)))


def _give_back() -> None:
    taken = _taken[::-1]
    _taken.clear()
    for lock in taken:
        lock.release()


_ACQUIRE = methodcaller("acquire", timeout=_AT_MOST)

with suppress(AttributeError):  # Windows does not fork
    os.register_at_fork(before=_take, after_in_parent=_give_back, after_in_child=_give_back)


class BackgroundLoop:
    """An event loop that runs in a daemon thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bighub-loop")
        self._thread.daemon = True
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there and wait for what it returns."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise ConfigurationError(
                "a coroutine tool of a blocking client cannot call a blocking client itself: it "
                "would wait for the loop it runs on; make the tool a plain function"
            )
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def background_loop() -> BackgroundLoop:
    """The process's background loop; a forked child gets one of its own."""
    return _loop_of(os.getpid())


@lru_cache(maxsize=1)
def _loop_of(_: int) -> BackgroundLoop:
    return BackgroundLoop()
