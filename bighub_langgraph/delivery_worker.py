"""Delivery in the background: while the next model call runs, over outages, and at the end."""

import asyncio
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from bighub_langgraph.concurrency import call_in_thread, detects_blocking_calls, run_sync
from bighub_langgraph.core.delivery import deliver_reports, retry_delay
from bighub_langgraph.core.errors import BighubGuardError
from bighub_langgraph.core.ports import Ports

log = logging.getLogger("bighub_langgraph")

# How long a closing guard, or the end of the program, waits for what is not delivered, in seconds.
AT_EXIT = 3.0
IDLE = 60.0
AGAIN = 0.1

# After what time is told what somebody was to tell and did not; and how often nothing of the kind
# happens before nobody waits for it any more.
MOMENT = 0.25
QUIET = 8


class DeliveryWorker:
    """Brings a guard's outbox to BIGHUB without holding a run up.

    An engine that answers in process is told at once. Any other is told from one daemon thread, or,
    where only an async client is there, from tasks on the loop that client lives on.

    Args:
        ports: Blocking ports.
        aports: Asynchronous ports.
        on_loop: Whether delivery belongs on the running event loop.
    """

    def __init__(self, ports: Ports, aports: Ports, *, on_loop: bool) -> None:
        self._ports = ports
        self._aports = aports
        self.on_loop = on_loop
        self._rounds: deque[str | None] = deque()
        # Each with the task that has it to tell.
        self._tasks: dict[asyncio.Task[None], asyncio.Task[Any] | None] = {}
        self._thread: threading.Thread | None = None
        self._changed = threading.Condition()
        self._closed = False
        # When all that is left is looked at next, and how often that was in vain.
        self._look_at: float | None = None
        self._tries = 0
        self._look: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._owing = False
        self._waiter: threading.Thread | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._stop = threading.Event()
        # Also at interpreter exit, and when a guard that nobody closed is forgotten.
        self._rest = weakref.finalize(self, _tell_the_rest, ports)

    def deliver(self, turn: str | None = None) -> None:
        """Deliver what there is to tell; never raises, and does not wait for a far engine.

        With `turn` that tool round is over, and its memory events travel together.
        """
        if not self._ports.engine.in_process:
            with self._changed:
                self._rounds.append(turn)
                self._set_to_work()
        elif not self._deliver(turn):
            self._look_later()

    async def deliver_async(self, turn: str | None = None) -> None:
        """The same for a coroutine."""
        if self._ports.engine.in_process:
            if not await self._adeliver_now(turn):
                self._look_later(on_loop=self.on_loop)
        elif self.on_loop:
            self._start_on_loop(turn)
        else:
            self.deliver(turn)

    def schedule(self) -> None:
        """Deliver in a moment what a later step of the run delivers, unless it comes to none.

        That costs a turn nothing: a thread looks now and then, and nobody wakes it.
        """
        if self._closed:  # nobody looks any more
            self.deliver()
            return
        with self._changed:
            self._owing = True
            if self._waiter is None or not self._waiter.is_alive():
                self._waiter = _begun(self._look_now_and_then, "bighub-courier-late")

    def schedule_async(self) -> None:
        """The same for a coroutine."""
        if not self.on_loop:
            self.schedule()
            return
        with suppress(RuntimeError):  # no loop runs any more: the rest is told at the end
            loop = asyncio.get_running_loop()
            if self._timer is None or self._timer.when() <= loop.time():
                self._timer = loop.call_later(MOMENT, self._start_on_loop, None)

    def wait(self, timeout: float) -> bool:
        """Wait until the finished rounds are delivered or postponed, at most `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._rounds, timeout)

    async def wait_async(self, timeout: float, *, own: bool = False) -> bool:  # noqa: ASYNC109 - the promise is the bound
        """The same for a coroutine; with `own` what other tasks have to tell is not waited for."""
        if self._tasks:
            await asyncio.sleep(0)  # what waits for nothing is told by then
        me, mine = asyncio.current_task(), asyncio.get_running_loop()
        tasks = [
            task
            for task, by in list(self._tasks.items())
            if not task.done() and (by is me or not own) and task.get_loop() is mine
        ]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout)
            return not late
        return not self._rounds or await asyncio.to_thread(self.wait, timeout)

    def flush(self, timeout: float | None = None) -> int:
        """Deliver everything now; returns how many entries still wait.

        With a timeout it goes on trying for so many seconds, without one it tries everything once.
        """
        if timeout is None:
            self.wait(AT_EXIT)
            run_sync(deliver_reports(self._ports, early=True))
        else:
            self.wait(timeout)
            _try_for(self._ports, timeout)
        return self._ports.journal.pending_count()

    async def aflush(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as `flush`
        """The same for a coroutine."""
        if not self.on_loop:
            return await asyncio.to_thread(self.flush, timeout)
        deadline = time.monotonic() + (timeout or 0.0)
        await self.wait_async(AT_EXIT if timeout is None else timeout)
        while True:
            await deliver_reports(self._aports, early=True)
            waiting: int = await self._aports.call(self._aports.journal.pending_count)
            if not waiting or time.monotonic() >= deadline:
                return waiting
            await asyncio.sleep(min(AGAIN, max(0.0, deadline - time.monotonic())))

    def close(self) -> None:
        """Deliver what waits, for a few seconds; say what is left."""
        if self._closed:
            return
        self._closed = True
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
            working = (self._thread, self._waiter)
        self.wait(AT_EXIT)
        for thread in working:
            if thread is not None and thread is not threading.current_thread():
                # The journal is closed next: nobody may open it again behind that.
                thread.join(AT_EXIT)
        self._rest()

    def _set_to_work(self) -> None:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = _begun(self._go_on, "bighub-courier")
            self._changed.notify_all()

    def _go_on(self) -> None:
        """Deliver round after round; look again at what is left until nothing is."""
        while not self._closed or self._rounds:
            with self._changed:
                if not self._rounds and not self._closed:
                    self._changed.wait(self._pause())
                taken = list(self._rounds)
                if not taken and self._look_at is None:
                    # Checked under the lock: `start` will see that this thread is gone.
                    self._thread = None
                    return
            self._once(taken)
            if self._look_at is not None and not self._pause():
                self._deliver(None)

    def _pause(self) -> float:
        """How long there is nothing to look at, in seconds."""
        if self._look_at is not None:
            return max(0.0, self._look_at - time.monotonic())
        return 0.0 if self._ports.engine.in_process else IDLE

    def _look_now_and_then(self) -> None:
        quiet = 0
        while not self._stop.wait(MOMENT):
            with self._changed:
                owing, self._owing = self._owing, False
                quiet = 0 if owing else quiet + 1
                if quiet == QUIET:  # under the lock: `soon` will see that this thread is gone
                    self._waiter = None
                    return
            if owing:
                self.deliver()

    def _once(self, taken: list[str | None]) -> None:
        for turn in dict.fromkeys(taken):
            self._deliver(turn)
        with self._changed:
            for _ in taken:
                self._rounds.popleft()
            self._changed.notify_all()

    def _deliver(self, turn: str | None) -> bool:
        return run_sync(self._tell(self._ports, turn))

    async def _tell(self, ports: Ports, turn: str | None) -> bool:
        """Deliver and say whether nothing is left. The tools have run: nothing may raise here."""
        try:
            arrived = await deliver_reports(ports, turn)
            left = await ports.call(ports.journal.pending_count)
        except Exception:
            log.exception("delivery to BIGHUB failed; it will be tried again")
            arrived, left = 0, 1
        if left or self._look_at is not None:
            self._plan(turn, arrived=arrived, left=left)
        return not left

    def _plan(self, turn: str | None, *, arrived: int, left: int) -> None:
        """Say when to look at all that is left: later each time that it was in vain.

        A round delivers only what is its own, so that rounds do not count; but where something
        arrives, BIGHUB is there.
        """
        with self._changed:
            now, planned = time.monotonic(), self._look_at
            looked = turn is None and planned is not None and planned <= now
            self._tries = 0 if arrived or not left else min(self._tries + looked, 10)
            at = now + retry_delay(self._tries)
            if planned is not None and not looked:
                at = min(at, planned)
            self._look_at = at if left else None

    async def _adeliver_now(self, turn: str | None) -> bool:
        journal = self._ports.journal
        if not (journal.blocking or journal.pending_count()):
            return True
        near = (
            self._aports.engine.in_process and not journal.blocking and not detects_blocking_calls()
        )
        if self.on_loop or near:
            return await self._tell(self._aports, turn)
        # All of it in one thread function: the loop waits for no database.
        return await call_in_thread(self._deliver, turn)

    def _start_on_loop(self, turn: str | None) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver_on_loop(turn))
        self._tasks[task] = asyncio.current_task()
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _deliver_on_loop(self, turn: str | None) -> None:
        if not await self._tell(self._aports, turn):
            self._look_later(on_loop=True)

    def _look_later(self, *, on_loop: bool = False) -> None:
        """Have all that is left looked at when it is time, though no round should come."""
        if self._closed:
            return
        if not on_loop:
            self._set_to_work()
            return
        if isinstance(self._look, asyncio.TimerHandle):
            self._look.cancel()
        self._look = asyncio.get_running_loop().call_later(self._pause(), self._look_on_loop)

    def _look_on_loop(self) -> None:
        # No round's: nobody at the end of a run waits for an outage to be over.
        if not self._closed:
            loop = asyncio.get_running_loop()
            self._look = loop.create_task(self._deliver_on_loop(None))


def _begun(work: Callable[[], None], name: str) -> threading.Thread | None:
    """A thread at work; None where no more can be started: the rest is told at the end."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        return None
    return thread


def _tell_the_rest(ports: Ports) -> None:
    """Deliver what waits, for a few seconds; say what is left."""
    journal = ports.journal
    try:
        if journal.pending_count():
            _try_for(ports, AT_EXIT)
        left = journal.pending_count(include_dead_letters=True)
    except BighubGuardError as error:
        log.error("the outbox could not be delivered: %s", error)  # noqa: TRY400 - it says it all
        return
    if left and not journal.durable:
        log.error("%d entries for BIGHUB are lost with this process; use a journal file", left)


def _try_for(ports: Ports, seconds: float) -> None:
    """Go on delivering from a thread: an engine that hangs holds nobody up for longer."""
    deadline = time.monotonic() + seconds
    trying = threading.Thread(target=_try_until, args=(ports, deadline), daemon=True)
    try:
        trying.start()
    except RuntimeError:  # the interpreter is on its way out and starts no more threads
        _try_until(ports, deadline)
    else:
        # A moment at least: what can be delivered at once is, whatever was waited for before.
        trying.join(max(AGAIN, deadline - time.monotonic()))


def _try_until(ports: Ports, deadline: float) -> None:
    try:
        while True:
            run_sync(deliver_reports(ports, early=True))
            if not ports.journal.pending_count() or time.monotonic() >= deadline:
                return
            time.sleep(min(AGAIN, max(0.0, deadline - time.monotonic())))
    except Exception:
        log.exception("delivery to BIGHUB failed; the outbox keeps what is not delivered")
