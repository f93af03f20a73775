"""A journal on SQL: SQLite for one machine, PostgreSQL where several share it."""

import logging
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from bighub_langgraph.core.errors import (
    InvalidTransition,
    JournalError,
    RecordNotFound,
)
from bighub_langgraph.core.lifecycle import (
    DecisionMade,
    Event,
    ExecutionFinished,
    ExecutionStarted,
    apply_event,
)
from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.core.ports import ApprovalQuestion, QueuedReport, WorkClaim
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.journal import schema
from bighub_langgraph.journal.admin import JournalAdmin
from bighub_langgraph.journal.liveness import Heartbeat, ProcessIdentity
from bighub_langgraph.journal.memory_journal import MemoryJournal
from bighub_langgraph.journal.row_mapping import (
    build_audit_entry,
    build_question_entry,
    build_transition_rows,
    question_to_row,
    read_rows,
    record_from_row,
    record_to_row,
    to_storable,
    transition_to_row,
)
from bighub_langgraph.journal.sql_outbox import Outbox
from bighub_langgraph.journal.sql_owners import SqlOwners
from bighub_langgraph.journal.sql_resumes import ResumeQueue
from bighub_langgraph.journal.write_behind import WriteBehind
from bighub_langgraph.sql_engines import Location, parse_journal_location
from bighub_langgraph.sqldb import Database, call_after_fork, execute, execute_many, fetch_rows

log = logging.getLogger("bighub_langgraph")

# After how many seconds without a heartbeat a process on another machine counts as dead.
LEASE = 30.0
# How often the heartbeat's thread looks for work, in seconds.
TICK = 1.0
# How many open records are kept. Reading each again makes a claim on SQLite 0.2 ms slower.
MAX_RECENT = 1024


class Journal:
    """The record of every call and the outbox of undelivered reports, in a database.

    `Journal("calls.db")` serves the processes of one machine, `Journal("postgresql://user@host/name")`
    those of many. Every method is one short transaction.

    Args:
        location: The path of an SQLite file, or SQLAlchemy's URL of a database. The file is
            readable for its owner only.
        lease: After how many seconds without a heartbeat a process that cannot be looked at, as on
            another machine, counts as dead. It is counted by the database.
        clock: Returns seconds since the epoch, for the times that people read.
    """

    durable = True
    is_blocking = True

    def __init__(
        self, location: Location, *, lease: float = LEASE, clock: Callable[[], float] = time.time
    ) -> None:
        self._db = Database(
            parse_journal_location(location), label="the journal", error=JournalError, clock=clock
        )
        try:
            self.schema_version = self._db.migrate("journal", schema.metadata)
            self._db.set_clock()
        except BaseException:
            self._db.close()
            raise
        self._lease = lease
        self._process = ProcessIdentity()
        self._outbox = Outbox(self._db, self._process)
        self._owners = SqlOwners(self._db, self._process, lease)
        self.resumes = ResumeQueue(self._db)  # for workers
        self._start()
        # When the journal is forgotten, and at interpreter exit.
        weakref.finalize(self, self._outbox.close)
        call_after_fork(self)

    @staticmethod
    def in_memory() -> MemoryJournal:
        """Return a journal that ends with the process and does not survive a crash."""
        return MemoryJournal(chosen=True)

    @property
    def owner(self) -> str:
        """This process's name on the calls it runs."""
        return self._process.name

    @property
    def database(self) -> Database:
        """The database: its name and condition, and the tables of the users who answer."""
        return self._db

    @property
    def admin(self) -> JournalAdmin:
        """The journal for people: what ran, who answered what, what is pending."""
        self._outbox.flush()
        return JournalAdmin(self._db, self.is_owner_dead)

    def find(self, keys: Sequence[str]) -> dict[str, CallRecord]:
        """Return the records that exist, by key."""
        with self._db.read_connection() as db:
            rows = [row for key in keys for row in fetch_rows(db, schema.SELECT_CALL, key=key)]
        return {row["key"]: record_from_row(row) for row in rows}

    def find_by_request_id(self, request_id: str) -> list[CallRecord]:
        """Return the calls with this id of BIGHUB's, newest first."""
        return self._read(schema.SELECT_CALLS_BY_REQUEST, request_id=to_storable(request_id))

    def find_overdue(self, at: float, limit: int) -> list[CallRecord]:
        """Return calls whose time to be answered, or to use their approval, is over."""
        return self._read(schema.SELECT_OVERDUE, at=at, limit=limit)

    def find_waiting(self, thread: str) -> list[CallRecord]:
        """Return the calls of a thread that wait for a person or for the thread."""
        records = self._read(schema.SELECT_WAITING, thread=to_storable(thread))
        return [record for record in records if not record.is_final]

    def insert(self, records: Sequence[CallRecord], reporting: ReportingConfig) -> list[CallRecord]:
        """Store new records. Where a key exists, the stored record is kept and returned."""
        now, event = self._db.now(), DecisionMade.__name__
        # In the order of their keys, so that two workers with the same ones never deadlock.
        ordered_records = sorted(records, key=lambda record: record.key)
        calls = [record_to_row(record, now) for record in ordered_records]
        transition_rows = [
            build_transition_rows(None, new, event, reporting, now) for new in ordered_records
        ]
        stored_records = {}
        with self._outbox.transaction() as db:
            for record, call, (entry, reports) in zip(
                ordered_records, calls, transition_rows, strict=True
            ):
                if execute(db, schema.INSERT_CALL, **call):
                    execute(db, schema.INSERT_HISTORY, **entry)
                    execute_many(db, schema.INSERT_REPORT, reports)
                    stored_records[record.key] = record
                else:
                    stored_records[record.key] = _select(db, record.key)
        for record in stored_records.values():
            self._remember(record)
        return [stored_records[record.key] for record in records]

    def transition(self, key: str, event: Event, reporting: ReportingConfig) -> CallRecord:
        """Apply an event to a record and queue its reports."""
        try:
            after = self._apply(key, event, reporting)
        except RecordNotFound:
            raise
        except JournalError:
            if self._write_behind.add(key, event, reporting):
                self._heartbeat.start()
            raise
        if isinstance(event, ExecutionStarted):
            self._heartbeat.start()
        return after

    def store_questions(self, questions: Sequence[ApprovalQuestion]) -> None:
        """Keep what people are shown of calls that wait for them."""
        now = self._db.now()
        rows = [question_to_row(question, self.owner, now) for question in questions]
        with self._outbox.transaction() as db:
            for row in sorted(rows, key=lambda row: str(row["key"])):
                execute(db, schema.UPSERT_QUESTION, **row)
                execute(
                    db, schema.INSERT_HISTORY, **build_question_entry(_select(db, row["key"]), now)
                )

    def take_questions(self, keys: Sequence[str]) -> None:
        """Keep that this process goes on with the threads that asked about some calls."""
        rows = [{"key": key, "runner": self.owner} for key in sorted(keys)]
        with self._outbox.transaction() as db:
            execute_many(db, schema.UPDATE_RUNNER, rows)

    def is_owner_dead(self, record: CallRecord) -> bool:
        """Whether the process that runs a call has ended."""
        return self._owners.is_dead(record.owner)

    def claim_work(self, key: str, owner: str, *, durable: bool = True) -> WorkClaim:
        """Claim work that is no call, unless it has a result or a living process holds it."""
        claim = self._owners.claim_work(key, owner, durable=durable)
        self._heartbeat.start()
        return claim

    def end_work_claim(
        self,
        key: str,
        owner: str,
        result: Mapping[str, Any] | None = None,
        *,
        durable: bool = True,
    ) -> None:
        """Release an owner's claim, or keep its JSON-compatible result."""
        self._owners.end_work_claim(key, owner, result, durable=durable)

    def lease_batch(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> list[QueuedReport]:
        """Lease the reports that are due; one waits for the earlier ones of its call."""
        return self._outbox.lease_batch(at, limit, turn, early=early)

    def ack(self, ids: Sequence[int]) -> None:
        """Remove reports that were delivered: with the next transaction, or a moment later."""
        self._outbox.ack(ids)
        self._heartbeat.start()

    def release(self, ids: Sequence[int]) -> None:
        """End the lease of reports that were not tried."""
        self._outbox.release(ids)

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
        self._outbox.nack(ids, until, error, refused=refused, dead_letter=dead_letter)

    def count_waiting(self) -> tuple[int, float | None]:
        """Count the calls that wait for a person, and return when the oldest was made."""
        return self.admin.count_waiting()

    def pending_count(self, *, include_dead_letters: bool = False) -> int:
        """Count the reports that are not delivered."""
        return self._outbox.pending_count(include_dead_letters=include_dead_letters)

    def prune(self, older_than: float) -> int:
        """Delete final calls older than a number of seconds; return how many.

        Calls that are open, of unknown outcome or not yet reported are kept, and so are all calls
        of their threads. A thread whose calls are deleted must not be resumed: they would count
        as new.
        """
        return self.admin.prune(older_than)

    def close(self) -> None:
        """Write what is pending, stop the heartbeat and close the connections."""
        self._heartbeat.stop()
        self._write_behind.flush(self._apply)
        self._write_behind.log_lost()
        self._outbox.close()
        self._db.close()

    def _read(self, query: str, **values: Any) -> list[CallRecord]:
        return read_rows(self._db.fetch_rows(query, **values), record_from_row)

    def _start(self) -> None:
        """Start with an empty memory, at first and in a forked child."""
        self._write_behind = WriteBehind()
        self._heartbeat = Heartbeat(weakref.WeakMethod(self._beat), min(TICK, self._lease / 3))
        self._recent: OrderedDict[str, CallRecord] = OrderedDict()

    def after_fork(self) -> None:
        """Start anew in a forked child, which has none of its parent's threads."""
        self._outbox.reset()
        self._owners.reset()
        self._start()

    def _apply(self, key: str, event: Event, reporting: ReportingConfig) -> CallRecord:
        """Compare and set: the first transition of a record wins, the others read it again."""
        if (recent := self._recent.pop(key, None)) is not None:
            # It may have changed since: what is allowed now, the database says.
            with suppress(InvalidTransition):
                after = self._apply_to(recent, event, reporting)
                if after is not None and after is not recent:
                    return after
        while True:
            with self._db.read_connection() as db:
                before = _select(db, key)
            if (after := self._apply_to(before, event, reporting)) is not None:
                return after

    def _apply_to(
        self, before: CallRecord, event: Event, reporting: ReportingConfig
    ) -> CallRecord | None:
        """Apply an event, unless the record has changed since it was read."""
        after, now = apply_event(before, event), self._db.now()
        if after is before:
            return before
        # Rows are built first: while a user's `redact` runs, others may write.
        row = transition_to_row(after, now)
        name = type(event).__name__
        approval = getattr(event, "approval", None)
        entry, reports = build_transition_rows(
            before, after, name, reporting, now, approval=approval
        )
        if isinstance(event, ExecutionFinished) and reports:
            self._outbox.reserve(reports)
        audit_entry = build_audit_entry(after, event, now)
        # With the claim, so that there is no claim without a heartbeat.
        read = {"created_at": before.created_at, "previous_version": before.version}
        with self._outbox.transaction() as db:
            if not execute(db, schema.UPDATE_CALL, key=before.key, **row, **read):
                return None
            execute(db, schema.INSERT_HISTORY, **entry)
            execute_many(db, schema.INSERT_REPORT, reports)
            if audit_entry is not None:
                execute(db, schema.INSERT_AUDIT, **audit_entry)
            if isinstance(event, ExecutionStarted):
                self._owners.write_beat(db)
        self._remember(after)
        return after

    def _remember(self, record: CallRecord) -> None:
        """Keep an open record that this process has written, to save the next read."""
        if not record.is_final:
            self._recent[record.key] = record
            if len(self._recent) > MAX_RECENT:
                self._recent.popitem(last=False)

    def _beat(self) -> None:
        """Write the heartbeat when it is due, and what is pending."""
        try:
            if self._owners.is_beat_due:
                with self._outbox.transaction() as db:
                    self._owners.write_beat(db)
                self._db.set_clock()
            self._outbox.flush()
        except JournalError as error:
            log.warning("no heartbeat could be written: %s", error)
        else:
            self._write_behind.flush(self._apply)


def _select(db: sa.Connection, key: str) -> CallRecord:
    for row in fetch_rows(db, schema.SELECT_CALL, key=key):
        return record_from_row(row)
    raise RecordNotFound([key])
