"""What the flows ask for: an engine, a journal, and ways to run things side by side."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from bighub_langgraph.core.lifecycle import Event
from bighub_langgraph.core.models import CallRecord, EvaluationRequest
from bighub_langgraph.core.reporting import Report, ReportingConfig, ReportKind

# How long the memory events of a tool round wait for the rest of the round, in seconds.
MEMORY_GRACE = 5.0

# How long whoever leases entries has them for itself; nobody keeps one for more than half of it.
DELIVERY_LEASE = 60.0


class LeasedReport(Protocol):
    """What a journal gives whoever delivers: an outbox entry, by its number."""

    @property
    def id(self) -> int:
        """Its number in the outbox."""
        ...

    @property
    def entry(self) -> Report:
        """What is to be told; it may be put in words only now."""
        ...

    @property
    def key(self) -> str:
        """The call's record."""
        ...

    @property
    def turn(self) -> str:
        """The tool round."""
        ...

    @property
    def kind(self) -> ReportKind:
        """What it tells."""
        ...

    @property
    def tries(self) -> int:
        """How often delivery was tried in vain."""
        ...

    @property
    def refusals(self) -> int:
        """How often of these BIGHUB was there and did not take it."""
        ...


class QueuedReport(NamedTuple):
    """An outbox entry that waits for delivery, as it is stored; see `Due`."""

    id: int
    entry: Report
    tries: int = 0
    refusals: int = 0

    @property
    def key(self) -> str:
        """The call's record."""
        return self.entry.key

    @property
    def turn(self) -> str:
        """The tool round."""
        return self.entry.turn

    @property
    def kind(self) -> ReportKind:
        """What it tells."""
        return self.entry.kind


class Journal(Protocol):
    """What we ran, and what is not yet told.

    Every method is one short transaction. They block; asynchronous hosts call a journal that does
    input or output (`blocking`) in threads.
    """

    @property
    def durable(self) -> bool:
        """Whether records outlive the process."""
        ...

    @property
    def blocking(self) -> bool:
        """Whether its methods do input or output."""
        ...

    @property
    def owner(self) -> str:
        """This process's name on the calls it runs."""
        ...

    def find(self, keys: Sequence[str]) -> dict[str, CallRecord]:
        """The records of these keys, as far as there are any."""
        ...

    def of_request(self, request_id: str) -> list[CallRecord]:
        """The calls that BIGHUB knows by this id, newest first; mostly one."""
        ...

    def open(self, records: Sequence[CallRecord], telling: ReportingConfig) -> list[CallRecord]:
        """Store new records; where a key is taken the stored record wins and is returned."""
        ...

    def move(self, key: str, event: Event, telling: ReportingConfig) -> CallRecord:
        """Advance a record and queue what there is to tell of it, in one transaction.

        Raises `IllegalMove` where the record's state allows no such event, and `CallNotRecorded`
        where there is no record.
        """
        ...

    def abandoned(self, record: CallRecord) -> bool:
        """Whether the process that runs a call is gone."""
        ...

    def due(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> Sequence[LeasedReport]:
        """Lease entries to deliver, oldest first.

        What follows an entry of the same call that is not due yet waits for it. With `turn` only
        entries of that tool round are given, which is over: its memory events are due. With
        `early` everything is due that nobody else delivers just now and BIGHUB has not refused.
        """
        ...

    def delivered(self, ids: Sequence[int]) -> None:
        """Forget entries that arrived."""
        ...

    def give_back(self, ids: Sequence[int]) -> None:
        """Let others deliver entries that were leased and not tried."""
        ...

    def postpone(
        self,
        ids: Sequence[int],
        until: float,
        why: str,
        *,
        refused: bool = False,
        aside: bool = False,
    ) -> None:
        """Try entries again later; `aside` sets them apart until somebody asks to retry."""
        ...

    def waiting(self, *, aside: bool = False) -> int:
        """How many entries are not delivered; with `aside`, also those set aside."""
        ...

    def close(self) -> None:
        """Let go of what the journal opened."""
        ...


# A proposal, and the idempotency key of its evaluation.
EvaluationItem = tuple[EvaluationRequest, str]


@dataclass(frozen=True, slots=True)
class EnginePort:
    """BIGHUB behind a few functions. Each raises an `EngineError` and nothing else.

    Attributes:
        ask: The reply to a proposal, unread; takes the idempotency key of the evaluation.
        resolve: Settle an approval in BIGHUB's queue.
        report: Report one outcome.
        report_batch: Report up to a hundred; None where the client cannot.
        ingest: Give memory events of one tool round.
        immediate: Whether it answers in process, so that telling it costs no waiting.
        ask_together: The replies to several proposals, each as if it were asked alone; an
            `EngineError` stands in the place of a reply. None where the client cannot.
    """

    ask: Callable[[EvaluationRequest, str], Awaitable[Any]]
    resolve: Callable[[Mapping[str, Any]], Awaitable[None]]
    report: Callable[[Mapping[str, Any]], Awaitable[None]]
    report_batch: Callable[[Sequence[Mapping[str, Any]]], Awaitable[None]] | None
    ingest: Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], Awaitable[None]]
    immediate: bool = False
    ask_together: Callable[[Sequence[EvaluationItem]], Awaitable[list[Any]]] | None = None


@dataclass(frozen=True, slots=True)
class Ports:
    """Everything a flow needs from outside.

    Attributes:
        journal: The journal itself, for the few moves that must not be interrupted.
        call: Runs one of the journal's methods: in place, or in a thread.
        gather: Runs coroutines side by side and returns their results in order.
        awaited: Awaits a user's awaitable: here, or on the background loop.
    """

    engine: EnginePort
    journal: Journal
    telling: ReportingConfig
    call: Callable[..., Awaitable[Any]]
    gather: Callable[[Sequence[Coroutine[Any, Any, Any]]], Awaitable[list[Any]]]
    awaited: Callable[[Awaitable[Any]], Awaitable[Any]]
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]

    def find(self, keys: Sequence[str]) -> Awaitable[dict[str, CallRecord]]:
        """The records of these keys."""
        return self.call(self.journal.find, keys)

    def of_request(self, request_id: str) -> Awaitable[list[CallRecord]]:
        """The calls that BIGHUB knows by this id, newest first."""
        return self.call(self.journal.of_request, request_id)

    def open(self, records: Sequence[CallRecord]) -> Awaitable[list[CallRecord]]:
        """Store new records; a stored one wins."""
        return self.call(self.journal.open, records, self.telling)

    def move(self, key: str, event: Event) -> Awaitable[CallRecord]:
        """Advance a record."""
        return self.call(self.journal.move, key, event, self.telling)

    def move_now(self, key: str, event: Event) -> CallRecord:
        """Advance a record in place: for a coroutine that is being cancelled."""
        return self.journal.move(key, event, self.telling)
