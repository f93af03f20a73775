"""A journal on SQL: SQLite for one machine, PostgreSQL where several share it."""

import contextlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bighub_langgraph.core.errors import CallNotRecorded, ConfigurationError, JournalError
from bighub_langgraph.core.outcome import Entry, Kind, Telling, entries
from bighub_langgraph.core.ports import MEMORY_GRACE, Queued
from bighub_langgraph.core.record import Record
from bighub_langgraph.core.transitions import Event, Started, advance
from bighub_langgraph.core.words import State
from bighub_langgraph.journal.owners import Heartbeat, process_of, surely_gone, this_process
from bighub_langgraph.journal.rows import entry_of, note_of, record_of, row_of
from bighub_langgraph.journal.tables import calls, history, migrate, outbox, owners

log = logging.getLogger("bighub_langgraph")

LEASE = 30.0
BUSY_TIMEOUT = 30.0


class SqlJournal:
    """Keeps records and outbox in a database; every method is one transaction.

    Args:
        url: SQLAlchemy's URL of the database; the file of an SQLite database is made readable for
            its owner alone.
        lease: After how many seconds without a sign of life a process counts as gone.
        clock: Seconds since the epoch.
    """

    durable = True
    blocking = True

    def __init__(
        self, url: str, *, lease: float = LEASE, clock: Callable[[], float] = time.time
    ) -> None:
        self._url = sa.make_url(url)
        self._lease = lease
        self._clock = clock
        self._engine = _engine(self._url)
        self._pid = os.getpid()
        self._owner = this_process()
        self._heart = Heartbeat(self._beat, lease / 3)
        with _said(self._url):
            migrate(self._engine)

    @property
    def owner(self) -> str:
        """This process's name on the calls it runs."""
        self._after_fork()
        return self._owner

    def find(self, keys: Sequence[str]) -> dict[str, Record]:
        """The records of these keys."""
        with self._reading() as db:
            rows = db.execute(sa.select(calls).where(calls.c.key.in_(keys))).mappings()
            return {row["key"]: record_of(dict(row)) for row in rows}

    def open(self, records: Sequence[Record], telling: Telling) -> list[Record]:
        """Store new records; a stored one wins."""
        with self._writing() as db:
            return [self._opened(db, record, telling) for record in records]

    def move(self, key: str, event: Event, telling: Telling) -> Record:
        """Advance a record and queue what there is to tell."""
        if isinstance(event, Started):
            self._heart.start()
        with self._writing() as db:
            while True:
                row = db.execute(sa.select(calls).where(calls.c.key == key)).mappings().first()
                if row is None:
                    raise CallNotRecorded([key])
                before = record_of(dict(row))
                after = advance(before, event)
                if self._replaced(db, before, after):
                    self._noted(db, after, type(event).__name__)
                    self._queue(db, entries(before, after, telling))
                    return after

    def abandoned(self, record: Record) -> bool:
        """Whether the process that runs a call is gone."""
        owner = process_of(record.owner)
        if owner in {"", self.owner}:
            return False
        if surely_gone(owner):
            return True
        with self._reading() as db:
            seen = sa.select(owners.c.beat_at).where(owners.c.owner == owner)
            beat = db.execute(seen).scalar_one_or_none()
        return beat is None or self._clock() - beat > self._lease

    def due(
        self, at: float, limit: int, turn: str | None = None, *, early: bool = False
    ) -> list[Queued]:
        """Lease what is due; what follows an entry that is not due yet waits for it."""
        free = _due(at, limit, turn, early=early)
        if self._url.get_backend_name() == "postgresql":
            free = free.with_for_update(skip_locked=True)
        with self._writing() as db:
            rows = db.execute(free).mappings().all()
            ids = [row["id"] for row in rows]
            leased = sa.update(outbox).where(outbox.c.id.in_(ids))
            if ids:
                db.execute(leased.values(leased_until=at + self._lease))
        return [Queued(row["id"], entry_of(dict(row)), row["tries"]) for row in rows]

    def delivered(self, ids: Sequence[int]) -> None:
        """Forget entries that arrived."""
        with self._writing() as db:
            db.execute(sa.delete(outbox).where(outbox.c.id.in_(ids)))

    def postpone(self, ids: Sequence[int], until: float, why: str, *, aside: bool = False) -> None:
        """Try entries again later, or set them apart."""
        changed = {"due_at": until, "leased_until": 0.0, "error": why, "aside": int(aside)}
        rows = sa.update(outbox).where(outbox.c.id.in_(ids))
        with self._writing() as db:
            db.execute(rows.values(tries=outbox.c.tries + 1, **changed))

    def waiting(self, *, aside: bool = False) -> int:
        """How many entries are not delivered."""
        count = sa.select(sa.func.count()).select_from(outbox)
        if not aside:
            count = count.where(outbox.c.aside == 0)
        with self._reading() as db:
            return int(db.execute(count).scalar_one())

    def close(self) -> None:
        """Stop the sign of life and let go of the connections."""
        self._heart.stop()
        self._engine.dispose()

    def _opened(self, db: sa.Connection, record: Record, telling: Telling) -> Record:
        added = db.execute(
            _insert(self._url)(calls).values(row_of(record)).on_conflict_do_nothing()
        )
        if not added.rowcount:
            row = db.execute(sa.select(calls).where(calls.c.key == record.key)).mappings().one()
            return record_of(dict(row))
        self._noted(db, record, "Decided")
        self._queue(db, entries(replace(record, state=State.PROPOSED), record, telling))
        return record

    def _replaced(self, db: sa.Connection, before: Record, after: Record) -> bool:
        same = (calls.c.key == before.key) & (calls.c.version == before.version)
        return bool(db.execute(sa.update(calls).where(same).values(row_of(after))).rowcount)

    def _noted(self, db: sa.Connection, record: Record, event: str) -> None:
        db.execute(
            sa.insert(history).values(
                key=record.key,
                at=self._clock(),
                event=event,
                state=record.state.value,
                version=record.version,
                note=note_of(record),
            )
        )

    def _queue(self, db: sa.Connection, told: Iterable[Entry]) -> None:
        late = self._clock() + MEMORY_GRACE
        rows = [
            {
                "key": one.key,
                "turn": one.turn,
                "kind": one.kind.value,
                "body": json.dumps(one.body),
                "due_at": late if one.kind is Kind.MEMORY else 0.0,
            }
            for one in told
        ]
        if rows:
            db.execute(sa.insert(outbox), rows)

    def _after_fork(self) -> None:
        """A forked child gets a name, connections and a sign of life of its own."""
        if os.getpid() == self._pid:
            return
        self._engine.dispose(close=False)
        self._pid = os.getpid()
        self._owner = this_process()
        self._heart = Heartbeat(self._beat, self._lease / 3)

    def _beat(self) -> None:
        row = {"owner": self.owner, "beat_at": self._clock()}
        try:
            with self._writing() as db:
                statement = _insert(self._url)(owners).values(row)
                beat = {"beat_at": row["beat_at"]}
                db.execute(statement.on_conflict_do_update(index_elements=["owner"], set_=beat))
        except JournalError as error:
            log.warning("no sign of life could be written: %s", error)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        self._after_fork()
        with _said(self._url), self._engine.begin() as db:
            yield db

    @contextlib.contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        self._after_fork()
        with _said(self._url), self._engine.connect() as db:
            yield db.execution_options(isolation_level="AUTOCOMMIT")


def _due(at: float, limit: int, turn: str | None, *, early: bool) -> sa.Select[Any]:
    by = math.inf if early else at
    earlier = outbox.alias()
    held = sa.exists().where(
        earlier.c.key == outbox.c.key,
        earlier.c.id < outbox.c.id,
        earlier.c.aside == 0,
        sa.not_(_ready(earlier, at, by, turn)),
    )
    free = sa.select(outbox).where(outbox.c.aside == 0, _ready(outbox, at, by, turn), ~held)
    if turn is not None:
        free = free.where(outbox.c.turn == turn)
    return free.order_by(outbox.c.id).limit(limit)


def _ready(rows: sa.FromClause, at: float, by: float, turn: str | None) -> sa.ColumnElement[bool]:
    due = rows.c.due_at <= by
    if turn is not None:
        due = sa.or_(due, sa.and_(rows.c.turn == turn, rows.c.tries == 0))
    return sa.and_(rows.c.leased_until <= at, due)


@contextlib.contextmanager
def _said(url: sa.URL) -> Iterator[None]:
    """Turn a database's error into one that says which journal and what to do."""
    try:
        yield
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise JournalError(
            f"the journal {url.render_as_string()} cannot be used: {cause}. The step was not "
            "recorded; check that the database is there, writable and not full"
        ) from error


_INSERTS: Mapping[str, Callable[..., Any]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}


def _insert(url: sa.URL) -> Callable[..., Any]:
    return _INSERTS[url.get_backend_name()]


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() not in _INSERTS:
        raise ConfigurationError(
            f"a journal lives on sqlite:/// or postgresql+psycopg://, not on {url.drivername}"
        )
    if url.get_backend_name() == "postgresql":
        return sa.create_engine(url, pool_pre_ping=True)
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("for a journal in memory use Journal.in_memory()")
    Path(url.database).touch(mode=0o600)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT})
    sa.event.listen(engine, "connect", _set_up_sqlite)
    sa.event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(db: sa.Connection) -> None:
    # What reads first and writes later may find its snapshot stale: take the lock now.
    if db.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        db.exec_driver_sql("BEGIN IMMEDIATE")
