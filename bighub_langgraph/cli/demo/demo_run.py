"""Run the demo: the month's requests, one after the other, by a clock that the run sets."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any
from uuid import uuid4

from langgraph.checkpoint.memory import InMemorySaver

from bighub_langgraph import BighubGuard, Journal, LocalBighub, create_guarded_agent
from bighub_langgraph.cli.demo.scripted_model import scripted_model
from bighub_langgraph.cli.demo.shop import create_policies, create_tools
from bighub_langgraph.cli.demo.support_desk import (
    Agent,
    DemoCall,
    Responder,
    serve_request,
)
from bighub_langgraph.cli.demo.world import DAY, FIRST_DAY, World
from bighub_langgraph.cli.options import database_url, exit_on_database_error
from bighub_langgraph.journal.memory_journal import MemoryJournal
from bighub_langgraph.local import DomainSettings, Settings

AGENT, DOMAIN = "support-desk", "shop"
# The default limit. The shop learns of a fraud within three days: until then a success is open.
LABEL_DELAY = 3 * DAY
DEFAULTS = DomainSettings(label_delay=LABEL_DELAY)

PROMPT = (
    "You are the support desk of a small shop. The customer's number stands before each message. "
    "Look the order or the customer up first, then do what is asked with one call of a tool. "
    "Ask nothing back. When a tool is refused, say so and stop."
)


@dataclass(slots=True)
class Clock:
    """The time of the simulation: seconds since the epoch, set by the run."""

    start: float = FIRST_DAY
    elapsed: float = 0.0

    def now(self) -> float:
        """Return the simulated time."""
        return self.start + self.elapsed


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
        served: How many requests were served so far.
        calls: The calls so far, also those that are not evaluated.
        due: Executed calls of which something will be discovered.
        losses: What was lost by what was discovered so far.
    """

    world: World
    guard: BighubGuard
    clock: Clock
    agent: Agent
    respond: Responder
    stop: Stop = field(default_factory=Stop)
    served: int = 0
    calls: list[DemoCall] = field(default_factory=list)
    due: list[DemoCall] = field(default_factory=list)
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
                served = serve_request(
                    self.agent, request, thread_id=thread_id, respond=self.respond
                )
                for call in served:
                    call.stake = self.world.shop.find_stake(call.arguments)
                    self.calls.append(call)
                    if call.late_outcome is not None and call.status == "executed":
                        self.due.append(call)
                self.guard.flush()  # the next request is evaluated with what this one showed
                self.served += 1
                yield

    @property
    def at_risk(self) -> float:
        """The money in the calls without approval whose frauds may not be known yet."""
        since = self.clock.elapsed - LABEL_DELAY
        return sum(
            call.stake for call in self.calls if call.is_automatic and call.request.at > since
        )

    def _set_time(self, elapsed: float) -> None:
        self.clock.elapsed = self.world.shop.now = elapsed

    def _report_until(self, elapsed: float) -> None:
        """Report, each at its time, what was discovered of executed calls."""
        self.due.sort(key=_discovered_at)
        while self.due and _discovered_at(self.due[0]) <= elapsed:
            call = self.due.pop(0)
            if call.late_outcome is None:
                continue
            self._set_time(_discovered_at(call))
            self.losses += call.loss
            self.guard.client.outcomes.report(
                request_id=call.request_id,
                status=call.late_outcome.status,
                description=call.late_outcome.reason,
                production_action=call.tool,
                reported_by="bighub-langgraph demo",
            )


def _discovered_at(call: DemoCall) -> float:
    return call.request.at + (call.late_outcome.delay if call.late_outcome else 0.0)


@contextmanager
def open_guard(
    world: World, clock: Clock, db: str | None, settings: Settings, *, has_page: bool
) -> Iterator[BighubGuard]:
    """Open a guard over the embedded engine; they share the database if there is one.

    A second run over a database starts after the first one, by the simulated clock.
    """
    with TemporaryDirectory(prefix="bighub-demo-") as folder, exit_on_database_error(db):
        location = db or (f"{folder}/calls.db" if has_page else None)
        journal: Any = MemoryJournal(clock=clock.now)
        if location is not None:
            # People who answer on the page live by the real time.
            options: dict[str, Any] = {} if has_page else {"clock": clock.now}
            journal = Journal(database_url(location), **options)
            latest = [view.updated_at for view in journal.admin.calls(limit=1)]
            clock.start = max([FIRST_DAY, *(at + DAY for at in latest)])
        with (
            LocalBighub(database_url(db), settings=settings, clock=clock.now) as client,
            BighubGuard(
                bighub=client,
                actor="support-agent",
                domain=DOMAIN,
                tools=create_policies(world.shop),
                journal=journal,
                name=AGENT,
                clock=clock.now,
            ) as guard,
        ):
            try:
                yield guard
            finally:
                guard.flush()
        journal.close()


def create_agent(model: str | None, world: World, guard: BighubGuard) -> Agent:
    """Create the desk's agent, with a scripted model or one of OpenAI's."""
    chat_model = f"openai:{model}" if model else scripted_model
    return create_guarded_agent(
        chat_model,
        create_tools(world.shop),
        guard,
        prompt=PROMPT,
        checkpointer=InMemorySaver(),
    )
