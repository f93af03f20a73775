"""The thread pool that runs the calls of a turn concurrently, together with the calling thread."""

import atexit
import contextlib
import contextvars
import os
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from functools import cache
from typing import Any, Generic, TypeVar

from bighub_langgraph.concurrency import run_sync

T = TypeVar("T")

# An idle thread of the pool ends after this many seconds.
IDLE_TIMEOUT = 10.0


async def gather_in_threads(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines over blocking ports concurrently, each with a copy of the context."""
    if len(flows) == 1:
        return [await flows[0]]
    return ParallelRun(run_sync, flows).results()


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


def _reset_in_child() -> None:
    """Replace the pool: a forked child has none of its parent's threads."""
    global _pool  # noqa: PLW0603 - one pool per process
    _pool = ThreadPool()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_reset_in_child)
