"""Threads that run the flows of a turn side by side, together with the one that asks for it."""

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

T = TypeVar("T")

# After how many seconds without work a thread ends.
IDLE = 10.0


class Turn(Generic[T]):
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


class Crew:
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


_crew = Crew()


def _start_anew_in_child() -> None:
    """A forked child has none of its parent's threads."""
    global _crew  # noqa: PLW0603 - one crew a process
    _crew = Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)
