"""Deliver reports in the background: while the next model call runs, over outages, at the end."""

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from bighub_langgraph.concurrency import call_in_thread, detects_blocking_calls, run_sync
from bighub_langgraph.core.call_endings import expire_overdue_calls
from bighub_langgraph.core.delivery import Delivery, deliver_reports
from bighub_langgraph.core.errors import BighubGuardError, EngineAuthError
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.delivery_schedule import DeliverySchedule

log = logging.getLogger("bighub_langgraph")

# How long a closing guard, or the end of the program, waits for deliveries, in seconds.
AT_EXIT = 3.0
# How long the thread stays without work, in seconds.
IDLE = 60.0
# The pause between two attempts of a flush, in seconds.
FLUSH_PAUSE = 0.1


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
        # By thread, what ends its calls that nobody can answer; returns whether others wait.
        self.sweeps: dict[str, Callable[[Ports], Coroutine[Any, Any, bool]]] = {}
        # Also at interpreter exit, and when a guard that was not closed is forgotten.
        self._deliver_rest = weakref.finalize(self, _deliver_rest, ports, self._schedule)

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
            task.add_done_callback(lambda task: self._tasks.pop(task, None))
        else:
            self.deliver(turn)

    def schedule(self) -> None:
        """Schedule a fallback delivery in case no later step of the run starts one."""
        if self._schedule.is_closed:
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
        with self._schedule.condition:
            return self._schedule.condition.wait_for(lambda: not self._schedule.turns, timeout)

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
            _, unfinished_tasks = await asyncio.wait(tasks, timeout=timeout)
            return not unfinished_tasks
        return not self._schedule.turns or await asyncio.to_thread(self.wait, timeout)

    def flush(self, timeout: float | None = None) -> int:
        """End overdue calls and deliver everything; return how many reports are still pending.

        With a timeout it keeps trying for so many seconds, without one it tries each report once.
        """
        self.wait(AT_EXIT if timeout is None else timeout)
        self._sweep()
        if timeout is None:
            delivery = run_sync(_deliver_until(self._ports, 0.0))
        else:
            delivery = _deliver_for(self._ports, timeout)
        return self._finish_flush(delivery)

    def _finish_flush(self, delivery: Delivery) -> int:
        remaining = self._ports.journal.pending_count()
        self._schedule.record(None, delivery, remaining)
        return remaining

    async def aflush(self, timeout: float | None = None) -> int:  # noqa: ASYNC109 - as `flush`
        """Deliver everything like `flush`, for a coroutine."""
        if not self.on_loop:
            return await asyncio.to_thread(self.flush, timeout)
        deadline = time.monotonic() + (timeout or 0.0)
        await self.wait_async(AT_EXIT if timeout is None else timeout)
        await call_in_thread(self._sweep)
        delivery = await _deliver_until(self._async_ports, deadline)
        pending: int = await self._async_ports.call(self._finish_flush, delivery)
        return pending

    def close(self) -> None:
        """Deliver pending reports for a few seconds, and log how many are lost."""
        with self._schedule.condition:
            if self._schedule.is_closed:
                return
            self._schedule.is_closed = True
            self._schedule.condition.notify_all()
            thread = self._thread
        self.wait(self._schedule.remaining_to_close(AT_EXIT))
        if thread is not None and thread is not threading.current_thread():
            # The journal is closed next: nothing may open it again.
            thread.join(self._schedule.remaining_to_close(AT_EXIT))
        self._deliver_rest()

    async def aclose(self) -> None:
        """Deliver for a few seconds from the event loop, then close."""
        if self.on_loop:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._schedule.remaining_to_close(AT_EXIT)):
                    await self.aflush(AT_EXIT)
        await asyncio.to_thread(self.close)

    async def _deliver(self, ports: Ports, turn: str | None) -> bool:
        """Deliver and return whether nothing is pending. The tools have run: it never raises."""
        if self._schedule.is_key_refused:
            return False
        try:
            if self._schedule.take_sweep():
                await ports.call(self._sweep)
            delivery = await deliver_reports(ports, turn)
            remaining = await ports.call(ports.journal.pending_count)
        except Exception:
            log.exception("delivery to BIGHUB failed; it will be tried again")
            delivery, remaining = Delivery(0), 1
        self._schedule.record(turn, delivery, remaining)
        return not remaining

    def _sweep(self) -> None:
        """End the calls whose time is over, and those that a new message superseded."""
        run_sync(expire_overdue_calls(self._ports))
        for thread, sweep in list(self.sweeps.items()):
            if not run_sync(sweep(self._ports)):
                self.sweeps.pop(thread, None)

    def _deliver_now(self, turn: str | None) -> bool:
        return run_sync(self._deliver(self._ports, turn))

    async def _deliver_in_process(self, turn: str | None) -> bool:
        journal = self._ports.journal
        if not (journal.is_blocking or journal.pending_count()):
            return True
        never_blocks = (
            self._async_ports.engine.in_process
            and not journal.is_blocking
            and not detects_blocking_calls()
        )
        if self.on_loop or never_blocks:
            return await self._deliver(self._async_ports, turn)
        # All of it in one thread function: the loop waits for no database.
        return await call_in_thread(self._deliver_now, turn)

    def _plan_retry(self, *, on_loop: bool = False) -> None:
        """Deliver the remaining reports when it is time, even if no other turn comes."""
        if self._schedule.is_closed:
            return
        if on_loop:
            self._set_timer(asyncio.get_running_loop())
        else:
            self._start_thread()

    # The thread.

    def _start_thread(self) -> None:
        with self._schedule.condition:
            self._schedule.condition.notify_all()
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
            with schedule.condition:
                if not schedule.turns and not schedule.is_closed:
                    delay = schedule.delay()
                    schedule.condition.wait(IDLE if delay is None else delay)
                turns = list(schedule.turns)
                if not turns and (schedule.is_closed or schedule.delay() is None):
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
        if self._schedule.take_due() and not self._schedule.is_closed:
            self._retry = loop.create_task(self._deliver_on_loop(None))
        elif not self._schedule.is_closed:
            self._set_timer(loop)


def _deliver_rest(ports: Ports, schedule: DeliverySchedule) -> None:
    """Deliver pending reports for a few seconds, unless BIGHUB has refused the key."""
    is_exit = not threading.main_thread().is_alive()
    if schedule.is_key_refused or not (schedule.is_used or schedule.is_closed or is_exit):
        return
    journal = ports.journal
    try:
        if journal.pending_count():
            delivery = _deliver_for(ports, schedule.remaining_to_close(AT_EXIT))
            if journal.durable:  # one in memory logs what is lost
                schedule.log_error(delivery, journal.pending_count())
    except BighubGuardError as error:
        log.error("the outbox could not be delivered: %s", error)  # noqa: TRY400 - it says it all


def _deliver_for(ports: Ports, seconds: float) -> Delivery:
    """Deliver for some seconds from a thread: an engine that hangs blocks nobody for longer."""
    deadline = time.monotonic() + seconds
    deliveries = [Delivery(0)]

    def deliver() -> None:
        try:
            deliveries.append(run_sync(_deliver_until(ports, deadline)))
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
    return deliveries[-1]


async def _deliver_until(ports: Ports, deadline: float) -> Delivery:
    """Deliver, once at least, until nothing is pending, the key is refused or the time is over."""
    count = 0
    while True:
        delivery = await deliver_reports(ports, early=True)
        count += delivery.delivered_count
        if delivery.delivered_count:
            continue  # once more, so that the journal deletes what was acknowledged
        pending: int = await ports.call(ports.journal.pending_count)
        remaining = deadline - time.monotonic()
        if not pending or remaining <= 0 or isinstance(delivery.error, EngineAuthError):
            return Delivery(count, delivery.error)
        await ports.sleep(min(FLUSH_PAUSE, remaining))
