"""A journal on SQL: SQLite for one machine, PostgreSQL where several share it."""

import contextlib
import logging
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bighub_langgraph.core.errors import InvalidTransition, JournalError, RecordNotFound
from bighub_langgraph.core.lifecycle import Event, ExecutionStarted, apply_event
from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.core.ports import QueuedReport
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.journal import queries
from bighub_langgraph.journal.books import Books
from bighub_langgraph.journal.database import Database, Transaction
from bighub_langgraph.journal.outbox import Outbox
from bighub_langgraph.journal.owed import OwedMoves
from bighub_langgraph.journal.owners import Heartbeat, ThisProcess, presence, process_of
from bighub_langgraph.journal.recent import RecentRecords
from bighub_langgraph.journal.rows import moving_parts, record_of, row_of, storable
from bighub_langgraph.journal.tables import migrate
from bighub_langgraph.journal.traces import Traces, traces

log = logging.getLogger("bighub_langgraph")

# After how many seconds without a sign of life a process elsewhere counts as gone.
LEASE = 30.0
OWED_AGAIN = 1.0


class SqlJournal:
    """Keeps records and outbox in a database; every method is one transaction.

    Args:
        url: SQLAlchemy's URL of the database; the file of an SQLite database is made readable for
            its owner alone.
        lease: After how many seconds without a sign of life a process on another machine counts as
            gone. Of processes on this machine we know by looking.
        clock: Seconds since the epoch.
    """

    durable = True
    blocking = True

    def __init__(
        self, url: str, *, lease: float = LEASE, clock: Callable[[], float] = time.time
    ) -> None:
        self._db = Database(url, clock=clock)
        weakref.finalize(self, self._db.close).atexit = False
        try:
            with self._db.errors_told():
                self.schema_version = migrate(self._db.engine)
            self._db.set_clock()
        except BaseException:
            self._db.close()
            raise
        self._lease = lease
        self._process = ThisProcess()
        self._outbox = Outbox(self._db, self._process)
        self._begin()
        _journals.add(self)

    @property
    def owner(self) -> str:
        """This process's name on the calls it runs."""
        return self._process.name

    @property
    def name(self) -> str:
        """The database's URL, without its password."""
        return self._db.name

    @property
    def clock_skew(self) -> float:
        """How many seconds the database's clock is ahead of this machine's."""
        return self._db.skew

    @property
    def unsafe(self) -> str:
        """Why the database may forget what it said it had written; "" when it does not."""
        return self._db.unsafe()

    @property
    def books(self) -> Books:
        """The journal for people: what ran, who said what, what waits, what may be forgotten."""
        return Books(self._db, self.is_owner_dead)

    def find(self, keys: Sequence[str]) -> dict[str, CallRecord]:
        """The records of these keys."""
        with self._db.reading() as db:
            rows = [row for key in keys for row in db.rows(queries.READ_CALL, key=key)]
        return {row["key"]: self._recent.same(row) or record_of(row) for row in rows}

    def find_by_request_id(self, request_id: str) -> list[CallRecord]:
        """The calls of a request."""
        with self._db.reading() as db:
            rows = db.rows(queries.CALLS_OF_REQUEST, request_id=storable(request_id))
        return [record_of(row) for row in rows]

    def insert(self, records: Sequence[CallRecord], reporting: ReportingConfig) -> list[CallRecord]:
        """Store new records; a stored one wins."""
        now = self._db.now()
        ready = [
            (one, row_of(one, now), traces(None, one, "Decided", reporting, now))
            # In the order of their keys: two workers that store the same ones never cross.
            for one in sorted(records, key=lambda one: one.key)
        ]
        with self._db.writing() as db:
            stored = {one.key: _opened(db, one, row, left) for one, row, left in ready}
        for record in stored.values():
            self._recent.keep(record)
        return [stored[one.key] for one in records]

    def transition(self, key: str, event: Event, reporting: ReportingConfig) -> CallRecord:
        """Advance a record and queue what there is to tell."""
        try:
            after = self._moved(key, event, reporting)
        except RecordNotFound:
            raise
        except JournalError:
            if self._owed.keep(key, event, reporting):
                self._heart.start(OWED_AGAIN)
                self._heart.beat_now()
            raise
        if isinstance(event, ExecutionStarted):
            self._heart.start(self._lease / 3)
        return after

    def is_owner_dead(self, record: CallRecord) -> bool:
        """Whether the process that runs a call is gone."""
        process = process_of(record.owner)
        if process == self.owner:
            return False
        there = presence(process)
        if there is not None:
            return not there
        with self._db.reading() as db:
            beats = db.rows(queries.READ_BEAT, owner=process)
        # While the database is away nobody can give a sign of life: count from its return.
        last: float = max([self._db.failed_at, *(row["beat_at"] for row in beats)])
        return self._db.now() - last > self._lease

    def lease_batch(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> list[QueuedReport]:
        """Lease what is due; what follows an entry that is not due yet waits for it."""
        return self._outbox.lease_batch(at, limit, turn, early=early)

    def ack(self, ids: Sequence[int]) -> None:
        """Forget entries that arrived."""
        self._outbox.ack(ids)

    def release(self, ids: Sequence[int]) -> None:
        """Let others deliver entries that were leased and not tried."""
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
        """Try entries again later, or set them apart."""
        self._outbox.nack(ids, until, error, refused=refused, dead_letter=dead_letter)

    def pending_count(self, *, include_dead_letters: bool = False) -> int:
        """How many entries are not delivered."""
        return self._outbox.pending_count(include_dead_letters=include_dead_letters)

    def prune(self, older_than: float) -> int:
        """Forget settled calls that are older than so many seconds; returns how many.

        Calls that are open, in doubt or not yet told stay, and so do all calls of their threads. A
        thread whose calls are forgotten must not be resumed: they would count as new.
        """
        return self.books.prune(older_than)

    def close(self) -> None:
        """Write what is owed, stop the sign of life and let go of the connections."""
        self._heart.stop()
        self._owed.write(self._moved)
        self._owed.tell()
        self._db.close()

    def _begin(self) -> None:
        """Start with nothing remembered: what threads and locks of a parent leave is not ours."""
        self._recent = RecentRecords()
        self._owed = OwedMoves()
        self._heart = self._new_heart()
        self._beaten_at = 0.0

    def _after_fork(self) -> None:
        self._db.after_fork()
        self._begin()

    def _new_heart(self) -> Heartbeat:
        """A heart that ends with this journal, although its thread holds on to it."""
        me = weakref.ref(self)

        def beat() -> float | None:
            journal = me()
            return None if journal is None else journal._beat()  # noqa: SLF001 - our own

        return Heartbeat(beat)

    def _moved(self, key: str, event: Event, reporting: ReportingConfig) -> CallRecord:
        """Compare and set: whoever moves a record first wins, and the others look again."""
        if (remembered := self._recent.get(key)) is not None:
            # Somebody else may have moved it since; what is allowed now, the database knows.
            with contextlib.suppress(InvalidTransition):
                if (after := self._moved_from(remembered, event, reporting)) is not None:
                    return after
        while (after := self._moved_from(self._looked_up(key), event, reporting)) is None:
            pass
        return after

    def _moved_from(
        self, before: CallRecord, event: Event, reporting: ReportingConfig
    ) -> CallRecord | None:
        """Make a move, unless the record has moved since."""
        after, now = apply_event(before, event), self._db.now()
        # What is to be written is made first: while a user's `redact` runs, others may write.
        row = {"key": before.key, "before": before.version, "created_at": before.created_at}
        row |= moving_parts(after, now)
        left = traces(before, after, type(event).__name__, reporting, now)
        # With the claim, so that there is no claim without a sign of life.
        signs = isinstance(event, ExecutionStarted) and now - self._beaten_at > self._lease / 3
        with self._db.writing() as db:
            if not db.change(queries.MOVE_CALL, **row):
                return None
            left.add_to(db)
            if signs:
                db.change(queries.BEAT, owner=self.owner, beat_at=now)
        if signs:
            self._beaten_at = now
        self._recent.keep(after)
        return after

    def _looked_up(self, key: str) -> CallRecord:
        with self._db.reading() as db:
            record = _read(db, key)
        self._recent.keep(record)
        return record

    def _beat(self) -> float:
        """Say that this process is alive, and write what it owes; returns when to come again."""
        try:
            with self._db.writing() as db:
                db.change(queries.BEAT, owner=self.owner, beat_at=self._db.now())
            self._db.set_clock()
        except JournalError as error:
            log.warning("no sign of life could be written: %s", error)
            return OWED_AGAIN
        self._beaten_at = self._db.now()
        self._owed.write(self._moved)
        return OWED_AGAIN if self._owed else self._lease / 3


def _opened(
    db: Transaction, record: CallRecord, row: Mapping[str, Any], left: Traces
) -> CallRecord:
    if not db.change(queries.ADD_CALL, **row):
        return _read(db, record.key)
    left.add_to(db)
    return record


def _read(db: Transaction, key: str) -> CallRecord:
    for row in db.rows(queries.READ_CALL, key=key):
        return record_of(row)
    raise RecordNotFound([key])


_journals: "weakref.WeakSet[SqlJournal]" = weakref.WeakSet()


def _start_anew_in_child() -> None:
    """Before a forked child has a thread: what its parent's threads held is not its own."""
    for journal in _journals:
        journal._after_fork()  # noqa: SLF001 - our own


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_in_child)
