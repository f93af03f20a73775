"""Deliver reports in the background: while the next model call runs, over outages, at the end."""

import asyncio
import logging
import threading
import time
import weakref
from collections import deque
from contextlib import suppress
from typing import Any

from bighub_langgraph.concurrency import call_in_thread, detects_blocking_calls, run_sync
from bighub_langgraph.core.delivery import deliver_reports, retry_delay
from bighub_langgraph.core.errors import BighubGuardError
from bighub_langgraph.core.ports import Ports

log = logging.getLogger("bighub_langgraph")

# How long a closing guard, or the end of the program, waits for deliveries, in seconds.
AT_EXIT = 3.0
# How long the thread stays without work, in seconds.
IDLE = 60.0
# The pause between two attempts of a flush, in seconds.
FLUSH_PAUSE = 0.1
# How long a scheduled delivery waits for a later step to deliver, in seconds.
FALLBACK_DELAY = 0.25
MAX_FAILURES = 10


class DeliverySchedule:
    """What is to be delivered next, and when. Threads and event loops share it.

    Turns are delivered at once, in their order. All reports are delivered at the fallback time,
    which a host sets in case no later step starts a delivery, and at the retry time, which is set
    while reports remain. Retries that deliver nothing make the delay grow.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.turns: deque[str | None] = deque()  # waiting, or being delivered
        self.closed = False
        self._fallback_at: float | None = None
        self._retry_at: float | None = None
        self._failures = 0

    def add_turn(self, turn: str | None) -> None:
        """Deliver a turn's reports, or all with None, as soon as possible."""
        with self.changed:
            self.turns.append(turn)

    def finish_turns(self, count: int) -> None:
        """Remove turns that were delivered."""
        with self.changed:
            for _ in range(count):
                self.turns.popleft()
            self.changed.notify_all()

    def set_fallback(self) -> None:
        """Deliver everything in a moment, unless that is planned already."""
        with self.changed:
            now = time.monotonic()
            if self._fallback_at is None or self._fallback_at < now:
                self._fallback_at = now + FALLBACK_DELAY

    def record(self, turn: str | None, *, delivered: int, remaining: int) -> None:
        """Plan the retry after a delivery.

        A turn delivers its own reports only, so that it does not count as a retry; but where
        something is delivered, BIGHUB can be reached.
        """
        with self.changed:
            now = time.monotonic()
            was_retry = turn is None and self._retry_at is not None and self._retry_at <= now
            if not remaining:
                self._retry_at, self._failures = None, 0
                return
            self._failures = 0 if delivered else min(self._failures + was_retry, MAX_FAILURES)
            retry_at = now + retry_delay(self._failures)
            if self._retry_at is not None and not was_retry:
                retry_at = min(retry_at, self._retry_at)
            self._retry_at = retry_at

    def delay(self) -> float | None:
        """Return the seconds until everything is delivered; None if that is not planned."""
        times = [at for at in (self._fallback_at, self._retry_at) if at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    def take_due(self) -> bool:
        """Return whether everything is to be delivered now."""
        with self.changed:
            is_due = self.delay() == 0.0
            if is_due:
                self._fallback_at = None
            return is_due


class DeliveryWorker:
    """Delivers a guard's outbox to BIGHUB without blocking a run.

    An engine in this process gets its reports at once. Any other gets them from one daemon
    thread, or, where only an async client exists, from tasks on the loop of that client.

    Args:
        ports: Blocking ports.
        async_ports: Asynchronous ports.
        on_loop: Whether delivery belongs on the running event loop.
    """

    def __init__(self, ports: Ports, async_ports: Ports, *, on_loop: bool) -> None:
        self.on_loop = on_loop
        self._ports = ports
        self._async_ports = async_ports
        self._schedule = DeliverySchedule()
        self._thread: threading.Thread | None = None
        # Each with the task that started it.
        self._tasks: dict[asyncio.Task[None], asyncio.Task[Any] | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.Task[None] | None = None
        # Also at interpreter exit, and when a guard that was not closed is forgotten.
        self._deliver_rest = weakref.finalize(self, _deliver_rest, ports)

    def deliver(self, turn: str | None = None) -> None:
        """Deliver reports; never raise, and do not wait for a remote engine.

        With `turn`, that turn is over and its memory events are delivered together.
        """
        if not self._ports.engine.in_process:
            self._schedule.add_turn(turn)
            self._start_thread()
        elif not self._deliver_now(turn):
            self._plan_retry()

    async def deliver_async(self, turn: str | None = None) -> None:
        """Deliver reports like `deliver`, for a coroutine."""
        if self._ports.engine.in_process:
            if not await self._deliver_in_process(turn):
                self._plan_retry(on_loop=self.on_loop)
        elif self.on_loop:
            task = asyncio.get_running_loop().create_task(self._deliver_on_loop(turn))
            self._tasks[task] = asyncio.current_task()
            task.add_done_callback(lambda done: self._tasks.pop(done, None))
        else:
            self.deliver(turn)

    def schedule(self) -> None:
        """Schedule a fallback delivery in case no later step of the run starts one."""
        if self._schedule.closed:
            self.deliver()
        else:
            self._schedule.set_fallback()
            self._start_thread()

    def schedule_async(self) -> None:
        """Schedule a fallback delivery like `schedule`, for a coroutine."""
        if not self.on_loop:
            self.schedule()
            return
        with suppress(RuntimeError):  # no loop runs any more: the rest is delivered at the end
            self._schedule.set_fallback()
            self._set_timer(asyncio.get_running_loop())

    def wait(self, timeout: float) -> bool:
        """Wait until the turns so far are delivered or postponed, at most `timeout` seconds."""
        with self._schedule.changed:
            return self._schedule.changed.wait_for(lambda: not self._schedule.turns, timeout)

    async def wait_async(self, timeout: float, *, own: bool = False) -> bool:  # noqa: ASYNC109 - the promise is the bound
        """Wait like `wait`, for a coroutine; with `own` only for what its own task started."""
        if self._tasks:
            await asyncio.sleep(0)  # deliveries that wait for nothing finish here
        current, loop = asyncio.current_task(), asyncio.get_running_loop()
        tasks = [
            task
            for task, starter in list(self._tasks.items())
            if not task.done() and (starter is current or not own) and task.get_loop() is loop
        ]
        if tasks:
            _, unfinished = await asyncio.wait(tasks, timeout=timeout)
            return not unfinished
        return not self._schedule.turns or await asyncio.to_thread(self.wait, timeout)

    def flush(self, timeout: float | None = None) -> int:
        """Deliver everything now; return how many reports are still pending.

        With a timeout it keeps trying for so many seconds, without one it tries each report once.
        """
        if timeout is None:
            self.wait(AT_EXIT)
            return run_sync(_deliver_until(self._ports, 0.0))
        self.wait(timeout)
        _deliver_for(self._ports, timeout)
        return self._ports.journal.pending_count()

    async def aflush(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as `flush`
        """Deliver everything like `flush`, for a coroutine."""
        if not self.on_loop:
            return await asyncio.to_thread(self.flush, timeout)
        deadline = time.monotonic() + (timeout or 0.0)
        await self.wait_async(AT_EXIT if timeout is None else timeout)
        return await _deliver_until(self._async_ports, deadline)

    def close(self) -> None:
        """Deliver pending reports for a few seconds, and log how many are lost."""
        with self._schedule.changed:
            if self._schedule.closed:
                return
            self._schedule.closed = True
            self._schedule.changed.notify_all()
            thread = self._thread
        self.wait(AT_EXIT)
        if thread is not None and thread is not threading.current_thread():
            thread.join(AT_EXIT)  # the journal is closed next: nothing may open it again
        self._deliver_rest()

    async def _deliver(self, ports: Ports, turn: str | None) -> bool:
        """Deliver and return whether nothing is pending. The tools have run: it never raises."""
        try:
            delivered = await deliver_reports(ports, turn)
            remaining = await ports.call(ports.journal.pending_count)
        except Exception:
            log.exception("delivery to BIGHUB failed; it will be tried again")
            delivered, remaining = 0, 1
        self._schedule.record(turn, delivered=delivered, remaining=remaining)
        return not remaining

    def _deliver_now(self, turn: str | None) -> bool:
        return run_sync(self._deliver(self._ports, turn))

    async def _deliver_in_process(self, turn: str | None) -> bool:
        journal = self._ports.journal
        if not (journal.blocking or journal.pending_count()):
            return True
        never_blocks = (
            self._async_ports.engine.in_process
            and not journal.blocking
            and not detects_blocking_calls()
        )
        if self.on_loop or never_blocks:
            return await self._deliver(self._async_ports, turn)
        # All of it in one thread function: the loop waits for no database.
        return await call_in_thread(self._deliver_now, turn)

    def _plan_retry(self, *, on_loop: bool = False) -> None:
        """Deliver the remaining reports when it is time, even if no other turn comes."""
        if self._schedule.closed:
            return
        if on_loop:
            self._set_timer(asyncio.get_running_loop())
        else:
            self._start_thread()

    # The thread.

    def _start_thread(self) -> None:
        with self._schedule.changed:
            self._schedule.changed.notify_all()
            if self._thread is not None and self._thread.is_alive():
                return
            thread = threading.Thread(target=self._run_thread, name="bighub-delivery", daemon=True)
            with suppress(RuntimeError):  # no more threads: the rest is delivered at the end
                thread.start()
                self._thread = thread

    def _run_thread(self) -> None:
        """Deliver what is due, until nothing has been for a while."""
        schedule = self._schedule
        while True:
            with schedule.changed:
                if not schedule.turns and not schedule.closed:
                    delay = schedule.delay()
                    schedule.changed.wait(IDLE if delay is None else delay)
                turns = list(schedule.turns)
                if not turns and (schedule.closed or schedule.delay() is None):
                    self._thread = None  # under the lock: `_start_thread` sees it
                    return
            for turn in dict.fromkeys(turns):
                self._deliver_now(turn)
            schedule.finish_turns(len(turns))
            if schedule.take_due():
                self._deliver_now(None)

    # The event loop.

    async def _deliver_on_loop(self, turn: str | None) -> None:
        if not await self._deliver(self._async_ports, turn):
            self._plan_retry(on_loop=True)

    def _set_timer(self, loop: asyncio.AbstractEventLoop) -> None:
        """Deliver everything when the schedule says so."""
        if self._timer is not None:
            self._timer.cancel()
        if (delay := self._schedule.delay()) is not None:
            self._timer = loop.call_later(delay, self._run_timer)

    def _run_timer(self) -> None:
        # Not among the tasks of turns: a run does not wait at its end until an outage is over.
        loop = asyncio.get_running_loop()
        if self._schedule.take_due() and not self._schedule.closed:
            self._retry = loop.create_task(self._deliver_on_loop(None))
        elif not self._schedule.closed:
            self._set_timer(loop)


def _deliver_rest(ports: Ports) -> None:
    """Deliver pending reports for a few seconds, and log how many are lost."""
    journal = ports.journal
    try:
        if journal.pending_count():
            _deliver_for(ports, AT_EXIT)
        remaining = journal.pending_count(include_dead_letters=True)
    except BighubGuardError as error:
        log.error("the outbox could not be delivered: %s", error)  # noqa: TRY400 - it says it all
        return
    if remaining and not journal.durable:
        log.error("%d entries for BIGHUB are lost with this process; use a journal file", remaining)


def _deliver_for(ports: Ports, seconds: float) -> None:
    """Deliver for some seconds from a thread: an engine that hangs blocks nobody for longer."""
    deadline = time.monotonic() + seconds

    def deliver() -> None:
        try:
            run_sync(_deliver_until(ports, deadline))
        except Exception:
            log.exception("delivery to BIGHUB failed; the outbox keeps what is not delivered")

    thread = threading.Thread(target=deliver, daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter exits and starts no more threads
        deliver()
    else:
        # A moment at least: what can be delivered at once is, however long the caller has waited.
        thread.join(max(FLUSH_PAUSE, deadline - time.monotonic()))


async def _deliver_until(ports: Ports, deadline: float) -> int:
    """Deliver, once at least, until nothing is pending or the time is over; return the rest."""
    while True:
        while await deliver_reports(ports, early=True):
            pass  # once more, so that the journal deletes what was acknowledged
        pending: int = await ports.call(ports.journal.pending_count)
        if not pending or (remaining := deadline - time.monotonic()) <= 0:
            return pending
        await ports.sleep(min(FLUSH_PAUSE, remaining))
