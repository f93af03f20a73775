"""A journal in dictionaries: no thread, no file; it ends with the process."""

import logging
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bighub_langgraph.concurrency import fork_safe_lock
from bighub_langgraph.core.errors import RecordNotFound
from bighub_langgraph.core.lifecycle import Event, apply_event, is_expired
from bighub_langgraph.core.models import EXPIRING_STATES, WAITING_STATES, CallRecord, State
from bighub_langgraph.core.ports import (
    DELIVERY_LEASE,
    LONGEST_RETRY,
    MEMORY_GRACE,
    ApprovalQuestion,
    QueuedReport,
    WorkClaim,
)
from bighub_langgraph.core.redaction import redact
from bighub_langgraph.core.reporting import (
    ReportBodies,
    ReportingConfig,
    ReportKind,
    has_immutable_output,
    report_kinds,
)
from bighub_langgraph.journal.liveness import ProcessIdentity, process_of

log = logging.getLogger("bighub_langgraph")

# How many final calls are kept: a process that runs for months must not grow.
MAX_FINAL_CALLS = 10_000


@dataclass(slots=True)
class MemoryReport(QueuedReport):
    """An undelivered report and its delivery status."""

    due_at: float = 0.0
    leased_until: float = 0.0
    dead_letter: bool = False
    error: str = ""


class MemoryJournal:
    """Keeps records and outbox for the life of the process.

    Of the calls that are final and delivered it keeps the newest `max_final_calls`. Older ones
    are deleted, unless their thread has an open call. Open and undelivered calls are never deleted.

    Args:
        chosen: Whether the user asked for it explicitly, and so knows what it does not keep.
        clock: Returns seconds since the epoch.
        max_final_calls: How many final calls to keep. A thread whose calls are deleted must not be
            resumed: they would count as new.
    """

    durable = False
    is_blocking = False

    def __init__(
        self,
        *,
        chosen: bool = False,
        clock: Callable[[], float] = time.time,
        max_final_calls: int = MAX_FINAL_CALLS,
    ) -> None:
        self.chosen = chosen
        self._clock = clock
        self._max_final_calls = max_final_calls
        self._records: dict[str, CallRecord] = {}
        self._updated_at: dict[str, float] = {}
        self._open_calls: Counter[str] = Counter()  # by thread
        self._final_keys: deque[str] = deque()  # oldest first
        self._reports: dict[int, MemoryReport] = {}
        self._pending_counts: Counter[str] = Counter()  # undelivered reports by call
        self._dead_letters = 0
        self._last_id = 0
        self._claims: dict[str, WorkClaim] = {}
        self._process = ProcessIdentity()
        # When the journal is forgotten, and at interpreter exit.
        weakref.finalize(self, _log_lost, self._reports)
        # Compare-and-set has to hold over threads too.
        self._lock = fork_safe_lock()

    @property
    def owner(self) -> str:
        """This process's name on the calls it runs."""
        return self._process.name

    def find(self, keys: Sequence[str]) -> dict[str, CallRecord]:
        """Return the records that exist, by key."""
        return {key: record for key in keys if (record := self._records.get(key)) is not None}

    def find_by_request_id(self, request_id: str) -> list[CallRecord]:
        """Return the calls with this id of BIGHUB's, newest first."""
        with self._lock:
            records = reversed(self._records.values())
            return [record for record in records if record.request_id == request_id]

    def find_overdue(self, at: float, limit: int) -> list[CallRecord]:
        """Return calls whose time to be answered, or to use their approval, is over."""
        with self._lock:
            records = self._records.values()
            return [
                record
                for record in records
                if record.state in EXPIRING_STATES and is_expired(record, at)
            ][:limit]

    def find_waiting(self, thread: str) -> list[CallRecord]:
        """Return the calls of a thread that wait for a person or for the thread."""
        with self._lock:
            if thread not in self._open_calls:
                return []
            records = [record for record in self._records.values() if record.thread == thread]
            return [record for record in records if record.state in WAITING_STATES]

    def insert(self, records: Sequence[CallRecord], reporting: ReportingConfig) -> list[CallRecord]:
        """Store new records. Where a key exists, the stored record is kept and returned."""
        with self._lock:
            return [self._insert(record, reporting) for record in records]

    def transition(self, key: str, event: Event, reporting: ReportingConfig) -> CallRecord:
        """Apply an event to a record and queue its reports."""
        with self._lock:
            before = self._records.get(key)
            if before is None:
                raise RecordNotFound([key])
            after = apply_event(before, event)
            if after is before:
                return before
            now = self._clock()
            if kinds := report_kinds(before, after, reporting):
                self._queue(kinds, after, reporting, now)
            self._records[key] = after
            self._updated_at[key] = now
            if after.is_final:
                self._finish(after)
            return after

    def store_questions(self, questions: Sequence[ApprovalQuestion]) -> None:
        """Keep nothing: other processes, which show them to people, cannot read this journal."""

    def take_questions(self, keys: Sequence[str]) -> None:
        """Keep nothing, as `store_questions`."""

    def is_owner_dead(self, record: CallRecord) -> bool:
        """Whether the process that runs a call has ended: after a fork it is another process."""
        return process_of(record.owner) != self.owner

    def claim_work(self, key: str, owner: str, *, durable: bool = True) -> WorkClaim:  # noqa: ARG002 - nothing here is
        """Claim work that is no call, unless it has a result or a living process holds it."""
        with self._lock:
            claim = self._claims.get(key)
            if claim is None or (claim.result is None and process_of(claim.owner) != self.owner):
                claim = self._claims[key] = WorkClaim(owner)
            return claim

    def end_work_claim(
        self,
        key: str,
        owner: str,
        result: Mapping[str, Any] | None = None,
        *,
        durable: bool = True,  # noqa: ARG002 - nothing here is
    ) -> None:
        """Release an owner's claim, or keep its result; of these, as many as of final calls."""
        with self._lock:
            claim = self._claims.get(key)
            if (
                claim is None
                or claim.owner != owner
                or (result is None and claim.result is not None)
            ):
                return
            del self._claims[key]
            if result is not None:
                self._claims[key] = WorkClaim(owner, result)
                if len(self._claims) > self._max_final_calls:
                    oldest = next(key for key, claim in self._claims.items() if claim.result)
                    del self._claims[oldest]

    def lease_batch(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> Sequence[QueuedReport]:
        """Lease the reports that are due; one waits for the earlier ones of its call."""
        now = self._clock()
        batch: list[MemoryReport] = []
        try:
            with self._lock:
                blocked_keys: set[str] = set()
                for report in self._reports.values():
                    key = report.key
                    is_other_turn = turn is not None and report.turn != turn
                    if is_other_turn or report.dead_letter or key in blocked_keys:
                        continue
                    is_turn_over = turn is not None and not report.tries
                    is_early = early and not report.refusals
                    is_due = is_turn_over or is_early or not 0 < report.due_at - at < LONGEST_RETRY
                    if 0 < report.leased_until - now < 2 * DELIVERY_LEASE or not is_due:
                        if not (report.kind == ReportKind.APPROVAL and report.refusals):
                            blocked_keys.add(key)
                        continue
                    batch.append(report)
                    report.leased_until = now + DELIVERY_LEASE
                    if len(batch) == limit:
                        break
        except BaseException:  # interrupted: the caller never receives them
            for report in batch:
                report.leased_until = 0.0
            raise
        return batch

    def ack(self, ids: Sequence[int]) -> None:
        """Remove reports that were delivered."""
        with self._lock:
            for report in self._find_reports(ids):
                del self._reports[report.id]
                self._dead_letters -= report.dead_letter
                _decrement(self._pending_counts, report.key)

    def release(self, ids: Sequence[int]) -> None:
        """End the lease of reports that were not tried."""
        with self._lock:
            for report in self._find_reports(ids):
                report.leased_until = 0.0

    def nack(
        self,
        ids: Sequence[int],
        until: float,
        error: str,
        *,
        refused: bool = False,
        dead_letter: bool = False,
    ) -> None:
        """Retry reports later, or make them dead letters."""
        with self._lock:
            for report in self._find_reports(ids):
                report.tries += 1
                report.error = error
                report.refusals += refused
                report.due_at, report.leased_until = until, 0.0
                if dead_letter and not report.dead_letter:
                    report.dead_letter = True
                    self._dead_letters += 1

    def count_waiting(self) -> tuple[int, float | None]:
        """Count the calls that wait for a person, and return when the oldest was made."""
        with self._lock:
            records = self._records.values()
            made_at = [item.created_at for item in records if item.state is State.AWAITING]
        return len(made_at), min(made_at, default=None)

    def pending_count(self, *, include_dead_letters: bool = False) -> int:
        """Count the reports that are not delivered."""
        return len(self._reports) - (0 if include_dead_letters else self._dead_letters)

    def prune(self, older_than: float) -> int:
        """Delete final calls older than a number of seconds; see `Journal.prune`."""
        before = self._clock() - older_than
        with self._lock:
            old_keys = [key for key in self._records if self._updated_at[key] < before]
            return sum(self._delete(key) for key in old_keys)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _insert(self, record: CallRecord, reporting: ReportingConfig) -> CallRecord:
        stored_record = self._records.setdefault(record.key, record)
        if stored_record is record:
            self._updated_at[record.key] = now = self._clock()
            self._open_calls[record.thread] += 1
            if record.is_final:
                before = record._replace(state=State.PROPOSED)
                if kinds := report_kinds(before, record, reporting):
                    self._queue(kinds, record, reporting, now)
                self._finish(record)
        return stored_record

    def _finish(self, record: CallRecord) -> None:
        """Count a call as final, and delete the oldest beyond the limit."""
        _decrement(self._open_calls, record.thread)
        self._final_keys.append(record.key)
        for _ in range(2):  # one for this call, one for a call that had to be kept before
            if len(self._final_keys) > self._max_final_calls:
                key = self._final_keys.popleft()
                if key in self._records and not self._delete(key):
                    self._final_keys.append(key)

    def _delete(self, key: str) -> bool:
        """Delete a call that is final and delivered, of a thread without open calls."""
        if key in self._pending_counts or self._records[key].thread in self._open_calls:
            return False
        del self._records[key], self._updated_at[key]
        return True

    def _queue(
        self,
        kinds: Sequence[ReportKind],
        record: CallRecord,
        reporting: ReportingConfig,
        now: float,
    ) -> None:
        # A user's redaction may depend on its context, so it runs where the call ran.
        is_built_later = has_immutable_output(record) and reporting.redact is redact
        bodies, reports = ReportBodies(record, reporting), {}
        for number, kind in enumerate(kinds, self._last_id + 1):
            build = partial(bodies.build, kind)
            read_body = build if is_built_later else partial(dict, build())
            report = MemoryReport(number, record.key, record.turn, kind, read_body)
            if kind is ReportKind.MEMORY:
                report.due_at = now + MEMORY_GRACE
            reports[number] = report
        last_id = self._last_id + len(reports)
        pending_count = self._pending_counts[record.key] + len(reports)
        # All or nothing: between these no signal's handler runs, since nothing is called.
        self._reports |= reports
        self._last_id = last_id
        self._pending_counts[record.key] = pending_count

    def _find_reports(self, ids: Sequence[int]) -> list[MemoryReport]:
        return [self._reports[number] for number in ids if number in self._reports]


def _log_lost(reports: Mapping[int, MemoryReport]) -> None:
    for report in list(reports.values())[:1]:
        why = f" ({report.error})" if report.error else ""
        message = "%d entries for BIGHUB are lost with this process%s; use a journal file"
        log.error(message, len(reports), why)


def _decrement(counter: Counter[str], name: str) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
