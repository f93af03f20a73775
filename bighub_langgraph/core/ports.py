"""The ports of the flows: an engine, a journal, delivery, and ways to run work concurrently."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bighub_langgraph.core.errors import InvalidTransition
from bighub_langgraph.core.lifecycle import Event
from bighub_langgraph.core.models import CallRecord, Decision, EvaluationRequest, ToolOutcome
from bighub_langgraph.core.reporting import ReportingConfig

# How long memory events wait for the other calls of their turn, in seconds.
MEMORY_GRACE = 5.0

# How long a lease on outbox entries lasts, in seconds. A worker keeps one for at most half of it.
DELIVERY_LEASE = 60.0

# No entry waits for longer than this for its next try, in seconds. One that seems to was queued
# before the clock was set back, and is due.
LONGEST_RETRY = 400.0


@dataclass(slots=True)
class QueuedReport:
    """An entry of the outbox.

    Attributes:
        id: Its number in the outbox.
        key: The key of the call's record.
        turn: The turn the call belongs to.
        kind: A `ReportKind`.
        read_body: Returns what is delivered, which may be built or parsed only then.
        tries: How many deliveries failed.
        refusals: How many of them BIGHUB refused.
    """

    id: int
    key: str
    turn: str
    kind: str
    read_body: Callable[[], Mapping[str, Any]]
    tries: int = 0
    refusals: int = 0

    @property
    def body(self) -> Mapping[str, Any]:
        """What is delivered."""
        return self.read_body()


@dataclass(frozen=True, slots=True)
class ApprovalQuestion:
    """What people are shown of a call that waits for them; stored when they are asked.

    Attributes:
        key: The key of the call's record.
        agent: The guard's name; "" where it has none.
        thread: The thread id of the root graph.
        namespace: The checkpoint namespace of the task that asks.
        schema: The JSON schema of the tool's arguments.
        tool_description: The tool's own description.
        description: The text that a person reads.
        evidence: What `build_evidence` returns.
        arguments: The arguments, redacted.
        locked_pointers: JSON pointers of the arguments that are redacted.
        allowed_decisions: The answers that are allowed.
        allow_tool_change: Whether an answer to the interrupt may name another tool.
        guard: What the guard is set to, as `GuardSettings.description`.
    """

    key: str
    agent: str
    thread: str
    namespace: str
    schema: Mapping[str, Any]
    tool_description: str
    description: str
    evidence: Mapping[str, Any]
    arguments: Mapping[str, Any]
    locked_pointers: tuple[str, ...]
    allowed_decisions: tuple[str, ...]
    allow_tool_change: bool
    guard: str = ""


class WorkClaim(NamedTuple):
    """The claim of work that only one process does, and the result that is kept of it."""

    owner: str
    result: Mapping[str, Any] | None = None


class JournalPort(Protocol):
    """The record of every call, and the outbox of what is not delivered yet.

    Every method is one short transaction. The methods block; asynchronous hosts call a journal that
    does input or output (`is_blocking`) in threads.
    """

    @property
    def durable(self) -> bool:
        """Whether records outlive the process."""

    @property
    def is_blocking(self) -> bool:
        """Whether its methods do input or output."""

    @property
    def owner(self) -> str:
        """This process's name on the calls it runs."""

    def find(self, keys: Sequence[str]) -> dict[str, CallRecord]:
        """Return the records that exist, by key."""

    def find_by_request_id(self, request_id: str) -> list[CallRecord]:
        """Return the calls with this id of BIGHUB's, newest first; usually one."""

    def find_overdue(self, at: float, limit: int) -> list[CallRecord]:
        """Return calls whose time to be answered, or to use their approval, is over."""

    def find_waiting(self, thread: str) -> list[CallRecord]:
        """Return the calls of a thread that wait for a person or for the thread."""

    def insert(self, records: Sequence[CallRecord], reporting: ReportingConfig) -> list[CallRecord]:
        """Store new records. Where a key exists, the stored record is kept and returned."""

    def transition(self, key: str, event: Event, reporting: ReportingConfig) -> CallRecord:
        """Apply an event to a record and queue its reports, in one transaction.

        Raises:
            InvalidTransition: The record's state does not allow the event.
            RecordNotFound: There is no record with this key.
        """

    def store_questions(self, questions: Sequence[ApprovalQuestion]) -> None:
        """Keep what people are shown of calls that wait for them, before they are asked."""

    def take_questions(self, keys: Sequence[str]) -> None:
        """Keep that this process goes on with the threads that asked about some calls."""

    def is_owner_dead(self, record: CallRecord) -> bool:
        """Whether the process that runs a call has ended."""

    def claim_work(self, key: str, owner: str, *, durable: bool = True) -> WorkClaim:
        """Claim work that is no call, unless it has a result or a living process holds it.

        A claim that is not durable outlives its process, but not a power cut.
        """

    def end_work_claim(
        self,
        key: str,
        owner: str,
        result: Mapping[str, Any] | None = None,
        *,
        durable: bool = True,
    ) -> None:
        """Release an owner's claim of work, or keep the work's JSON-compatible result."""

    def lease_batch(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> Sequence[QueuedReport]:
        """Lease the entries that are due, oldest first.

        An entry waits for the earlier ones of its call. With `turn`, only entries of that turn are
        leased; the turn is over, so its memory events are due. With `early`, entries are due
        before their retry time, except those BIGHUB refused.
        """

    def ack(self, ids: Sequence[int]) -> None:
        """Remove entries that were delivered."""

    def release(self, ids: Sequence[int]) -> None:
        """End the lease of entries that were not tried."""

    def nack(
        self,
        ids: Sequence[int],
        until: float,
        error: str,
        *,
        refused: bool = False,
        dead_letter: bool = False,
    ) -> None:
        """Retry entries later; as dead letters they wait until someone requeues them."""

    def count_waiting(self) -> tuple[int, float | None]:
        """Count the calls that wait for a person, and return when the oldest was made."""

    def pending_count(self, *, include_dead_letters: bool = False) -> int:
        """Count the entries that are not delivered."""

    def close(self) -> None:
        """Release what the journal opened."""


# A request, and the idempotency key of its evaluation.
EvaluationItem = tuple[EvaluationRequest, str]


@dataclass(frozen=True, slots=True)
class EnginePort:
    """BIGHUB as a table of functions. Each raises an `EngineError` and nothing else.

    Attributes:
        evaluate: Returns the unparsed response to a request; takes its idempotency key.
        resolve_approval: Resolves an approval in BIGHUB's queue.
        report_outcome: Reports one outcome.
        report_outcomes: Reports up to a hundred; None where the client cannot.
        ingest_memory: Sends the memory events of one turn.
        in_process: Whether it answers in this process, so that a report costs no waiting.
        evaluate_batch: Returns one response per request, as `evaluate` would, with an
            `EngineError` in the place of a response that failed. None where the client cannot.
        list_approvals: Returns the approvals in BIGHUB's queue with a status. None where the
            client cannot.
    """

    evaluate: Callable[[EvaluationRequest, str], Awaitable[Any]]
    resolve_approval: Callable[[Mapping[str, Any]], Awaitable[None]]
    report_outcome: Callable[[Mapping[str, Any]], Awaitable[None]]
    report_outcomes: Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]] | None
    ingest_memory: Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], Awaitable[None]]
    in_process: bool = False
    evaluate_batch: Callable[[Sequence[EvaluationItem]], Awaitable[list[Any]]] | None = None
    list_approvals: Callable[[str], Awaitable[Any]] | None = None


class NotificationWorkerPort(Protocol):
    """Notifies people of the calls that wait for them."""

    def schedule(self) -> None:
        """Send what waits in a moment; never raise."""

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""


class NotificationsPort(Protocol):
    """Who is notified; see `approvals.notifications`."""

    def start(self, journal: JournalPort) -> NotificationWorkerPort:
        """Start to notify people of the calls in a journal."""


class TelemetryPort(Protocol):
    """Traces and counts what happens to calls, and never raises."""

    def start_call(self, record: CallRecord, origin: Mapping[str, str] | None = None) -> CallRecord:
        """Return a new record with its trace context; `origin` is that of the call it edits."""

    def evaluation(
        self, calls: Sequence[tuple[str, str]]
    ) -> AbstractContextManager[Callable[[Sequence[Decision]], object]]:
        """Trace the evaluation of calls, given by key and tool; takes the decisions."""

    def end_evaluation(self, record: CallRecord) -> None:
        """Trace what was decided about a call."""

    def execution(
        self, record: CallRecord
    ) -> AbstractContextManager[Callable[[ToolOutcome | None], object]]:
        """Trace the run of a tool; takes its outcome, None where it paused."""

    def report(self, kind: str, records: Sequence[CallRecord]) -> AbstractContextManager[None]:
        """Trace the delivery of a report of each of these calls."""

    def add_answer(self, record: CallRecord) -> None:
        """Trace that a person has answered."""

    def add_ending(self, before: CallRecord, record: CallRecord) -> None:
        """Trace that a call has expired or was cancelled, if it was; `before` is its last state."""
        ...


async def _deliver_nothing(_: str | None) -> None:
    """Leave the reports in the outbox."""


def schedule_nothing() -> None:
    """Leave it to another process."""


def _trace_nothing() -> None:
    """Neither trace nor count."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a flow needs from outside.

    Attributes:
        journal: The journal itself, for transitions that must not be interrupted.
        call: Calls one of the journal's methods, inline or in a thread.
        gather: Runs coroutines concurrently and returns their results in order.
        clock: Returns seconds since the epoch; it may be set at any time.
        monotonic: Returns seconds of a clock that nobody sets.
        wait_for: Awaits an awaitable of the user's, here or on the background loop.
        deliver: Starts the delivery of a turn's reports, or of all with None; never raises.
        schedule_delivery: Schedules a fallback delivery in case no later step starts one.
        schedule_notification: Schedules a message to the people that a call waits for.
        active_telemetry: Returns what traces and counts; None while nothing does.
    """

    engine: EnginePort
    journal: JournalPort
    reporting: ReportingConfig
    call: Callable[..., Awaitable[Any]]
    gather: Callable[[Sequence[Coroutine[Any, Any, Any]]], Awaitable[list[Any]]]
    wait_for: Callable[[Awaitable[Any]], Awaitable[Any]]
    clock: Callable[[], float]
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    deliver: Callable[[str | None], Awaitable[None]] = _deliver_nothing
    schedule_delivery: Callable[[], None] = schedule_nothing
    schedule_notification: Callable[[], None] = schedule_nothing
    active_telemetry: Callable[[], TelemetryPort | None] = _trace_nothing

    def find(self, keys: Sequence[str]) -> Awaitable[dict[str, CallRecord]]:
        """Return the records that exist, by key."""
        return self.call(self.journal.find, keys)

    def insert(self, records: Sequence[CallRecord]) -> Awaitable[list[CallRecord]]:
        """Store new records; an existing one is kept and returned."""
        return self.call(self.journal.insert, records, self.reporting)

    async def store_questions(self, questions: Sequence[ApprovalQuestion]) -> None:
        """Keep what people are shown of calls that wait for them, and notify them."""
        await self.call(self.journal.store_questions, questions)
        self.schedule_notification()

    def transition(self, key: str, event: Event) -> Awaitable[CallRecord]:
        """Apply an event to a record."""
        return self.call(self.journal.transition, key, event, self.reporting)

    def transition_now(self, key: str, event: Event) -> CallRecord:
        """Apply an event inline, for a coroutine that is being cancelled."""
        return self.journal.transition(key, event, self.reporting)

    async def transition_or_load(self, key: str, event: Event) -> CallRecord:
        """Apply an event, or return the record where its state no longer allows the event."""
        try:
            return await self.transition(key, event)
        except InvalidTransition:
            return (await self.find([key]))[key]
