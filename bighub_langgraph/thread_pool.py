"""The thread pool that runs the calls of a turn concurrently, together with the calling thread."""

import contextlib
import contextvars
import os
import sys
import threading
from collections import deque
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, TypeVar

from bighub_langgraph.concurrency import run_sync

T = TypeVar("T")


async def gather_in_threads(flows: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines over blocking ports concurrently, each with a copy of the context."""
    if len(flows) == 1:
        return [await flows[0]]
    return ParallelRun(flows).results()


class ParallelRun(Generic[T]):
    """Coroutines that are run by the calling thread together with threads of the pool.

    The calling thread works too, so the run ends even without another thread, and runs that start
    runs cannot wait for each other. A thread that takes a coroutine calls for one more thread to
    take the next one: where every coroutine waits, all of them soon run concurrently, and where
    none waits, one thread has run them all before another is awake.
    """

    def __init__(self, flows: Sequence[Coroutine[Any, Any, T]]) -> None:
        self._queue = deque((n, contextvars.copy_context(), flow) for n, flow in enumerate(flows))
        self._results: list[T | None] = [None] * len(flows)
        self._errors: dict[int, BaseException] = {}
        self._unfinished_count = len(flows)
        self._helper_is_called = False
        self._lock = threading.Lock()
        self._finish_event = threading.Event()
        if not flows:
            self._finish_event.set()

    def results(self) -> list[T]:
        """Run the coroutines to their ends, then raise the first one's error or return results."""
        self._work()
        try:
            self._finish_event.wait()
        except BaseException:
            self._finish_event.wait()  # interrupted: running tools are recorded first
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
                self._results[number] = context.run(run_sync, flow)
            except BaseException as error:  # noqa: BLE001 - raised in the calling thread
                self._errors[number] = error
            with self._lock:
                self._unfinished_count -= 1
                if not self._unfinished_count:
                    self._finish_event.set()


# Threads without a bound, so that no work waits for a thread: a new one starts where none is idle.
# The interpreter finishes running work before it exits, and before the exit handlers that deliver
# the last reports.
_pool = ThreadPoolExecutor(sys.maxsize, "bighub-turn")


def _reset_in_child() -> None:
    """Replace the pool: a forked child has none of its parent's threads."""
    global _pool  # noqa: PLW0603 - one pool per process
    _pool = ThreadPoolExecutor(sys.maxsize, "bighub-turn")


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_reset_in_child)
