"""A run of the demo: the month's requests, one after the other, by a clock that the run sets."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from uuid import uuid4

from bighub_langgraph import BighubGuard
from bighub_langgraph.cli.demo.support_desk import Agent, DemoCall, Responder, serve_request
from bighub_langgraph.cli.demo.world import DAY, FIRST_DAY, World

# The shop learns of a fraud within three days: until then a success is open.
LABEL_DELAY = 3 * DAY


@dataclass(slots=True)
class Clock:
    """The time of the simulation: seconds since the epoch, set by the run."""

    start: float = FIRST_DAY
    seconds: float = 0.0

    def now(self) -> float:
        """Return the simulated time."""
        return self.start + self.seconds


@dataclass(slots=True)
class Stop:
    """Whether the run is to end early, set by Ctrl-C.

    While a person is asked it interrupts at once; otherwise the current request ends first.
    """

    is_set: bool = False
    may_interrupt: bool = False

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Handle a signal."""
        again, self.is_set = self.is_set, True
        if again or self.may_interrupt:
            raise KeyboardInterrupt

    @contextmanager
    def listen(self) -> Iterator[None]:
        """Handle Ctrl-C meanwhile."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGINT, self.handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def interrupt(self) -> Iterator[None]:
        """Let Ctrl-C interrupt at once meanwhile."""
        self.may_interrupt = True
        try:
            yield
        finally:
            self.may_interrupt = False


@dataclass(slots=True)
class DemoRun:
    """The support desk at work.

    Attributes:
        served_count: How many requests were served so far.
        calls: The calls so far, also those that are not evaluated.
        pending_reports: Executed calls of which something will be discovered.
        losses: What was lost by what was discovered so far.
    """

    world: World
    guard: BighubGuard
    clock: Clock
    agent: Agent
    respond: Responder
    stop: Stop = field(default_factory=Stop)
    served_count: int = 0
    calls: list[DemoCall] = field(default_factory=list)
    pending_reports: list[DemoCall] = field(default_factory=list)
    losses: float = 0.0

    def serve_all(self) -> Iterator[None]:
        """Serve the requests; yields after each one. Ctrl-C ends it."""
        run_id = uuid4().hex
        with self.stop.listen(), suppress(KeyboardInterrupt):
            for request in self.world.requests:
                if self.stop.is_set:
                    return
                self._report_until(request.at)
                self._set_time(request.at)
                thread_id = f"{run_id}-{request.number}"
                calls = serve_request(
                    self.agent, request, thread_id=thread_id, respond=self.respond
                )
                for call in calls:
                    call.stake = self.world.shop.find_stake(call.arguments)
                    self.calls.append(call)
                    if call.late_outcome is not None and call.status == "executed":
                        self.pending_reports.append(call)
                self.guard.flush()  # the next request is evaluated with what this one showed
                self.served_count += 1
                yield

    @property
    def at_risk(self) -> float:
        """The money in the calls without approval whose frauds may not be known yet."""
        since = self.clock.seconds - LABEL_DELAY
        return sum(
            call.stake for call in self.calls if call.is_automatic and call.request.at > since
        )

    def _set_time(self, at: float) -> None:
        self.clock.seconds = self.world.shop.now = at

    def _report_until(self, at: float) -> None:
        """Report, each at its time, what was discovered of executed calls."""
        self.pending_reports.sort(key=_discovery_time)
        while self.pending_reports and _discovery_time(self.pending_reports[0]) <= at:
            call = self.pending_reports.pop(0)
            if call.late_outcome is None:
                continue
            self._set_time(_discovery_time(call))
            self.losses += call.loss
            self.guard.client.outcomes.report(
                request_id=call.request_id,
                status=call.late_outcome.status,
                description=call.late_outcome.reason,
                production_action=call.tool,
                reported_by="bighub-langgraph demo",
            )


def _discovery_time(call: DemoCall) -> float:
    return call.request.at + (call.late_outcome.delay if call.late_outcome else 0.0)
