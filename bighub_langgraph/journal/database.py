"""A journal's database: short transactions on SQLite or PostgreSQL, and what goes wrong in them."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError

from bighub_langgraph.core.errors import ConfigurationError, JournalError

# How long a writer waits for its turn, in seconds, before it gives up with an error.
BUSY_TIMEOUT = 30.0
# How long a connection may lie idle and is still believed to be there, in seconds.
IDLE = 1.0
KNOWN = ("sqlite", "postgresql")


class Transaction:
    """Runs named SQL on one connection. The texts are compiled once per database."""

    def __init__(self, cursor: Any, prepared: Callable[[str], "_Prepared"]) -> None:
        self._cursor = cursor
        self._prepared = prepared

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """What a query finds."""
        self._run(sql, values)
        names = [column[0] for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor.fetchall()]

    def change(self, sql: str, **values: Any) -> int:
        """Run a statement; returns how many rows it changed."""
        self._run(sql, values)
        return int(self._cursor.rowcount)

    def change_each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each of some rows."""
        prepared = self._prepared(sql)
        if rows:
            self._cursor.executemany(prepared.text, [prepared.values(row) for row in rows])

    def _run(self, sql: str, values: Mapping[str, Any]) -> None:
        prepared = self._prepared(sql)
        self._cursor.execute(prepared.text, prepared.values(values))


class Database:
    """One database behind a pool of connections; threads may share it, and forked children.

    The driver's own cursor runs the statements: through SQLAlchemy's a claim costs twice as much.

    Args:
        url: SQLAlchemy's URL.
        clock: Seconds since the epoch on this machine.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self.url = _checked(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock
        self._inherited: list[sa.Engine] = []
        self._connect()
        self.skew = 0.0
        self.failed_at = 0.0

    @property
    def name(self) -> str:
        """The URL without its password."""
        return self.url.render_as_string()

    @property
    def engine(self) -> sa.Engine:
        """The connections, for migrations."""
        return self._engine

    def now(self) -> float:
        """Seconds since the epoch, by the clock that all users of the database share."""
        return self._clock() + self.skew

    def set_clock(self) -> None:
        """Measure how far the clock that several machines share, the database's, is ahead."""
        if not self.sqlite:
            with self.reading() as db:
                [row] = db.rows("SELECT extract(epoch FROM clock_timestamp()) AS now")
            self.skew = float(row["now"]) - self._clock()

    def unsafe(self) -> str:
        """Why a claim may be forgotten in a power cut; "" when it is not."""
        if self.sqlite:
            return ""
        for setting in ("fsync", "synchronous_commit"):
            with self.reading() as db:
                [row] = db.rows(f"SELECT current_setting('{setting}') AS value")
            if row["value"] == "off":
                return f"PostgreSQL runs with {setting} = off: a claim may be lost in a power cut"
        return ""

    @contextlib.contextmanager
    def writing(self) -> Iterator[Transaction]:
        """A transaction that is durable when the block is left, or leaves nothing behind."""
        with self.errors_told(), self._turn_to_write(), self._connection() as connection:
            cursor = connection.cursor()
            try:
                if self.sqlite:
                    # What reads first and writes later may find its snapshot stale: lock it now.
                    cursor.execute("BEGIN IMMEDIATE")
                yield Transaction(cursor, self._prepare)
                connection.commit()
            finally:
                cursor.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A connection to read from; on SQLite it waits for no writer."""
        with self.errors_told(), self._connection() as connection:
            cursor = connection.cursor()
            try:
                yield Transaction(cursor, self._prepare)
            finally:
                cursor.close()

    def after_fork(self) -> None:
        """Open connections of one's own in a forked child.

        It keeps those of its parent and never closes them: SQLite would take the file's locks off.
        """
        self._inherited.append(self._engine)
        self._connect()

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()

    @contextlib.contextmanager
    def errors_told(self) -> Iterator[None]:
        """Turn a database's error into one that says which journal it is and what to do."""
        try:
            yield
        except (SQLAlchemyError, self._driver_error, OSError) as error:
            self.failed_at = self.now()
            cause = getattr(error, "orig", None) or error
            raise JournalError(
                f"the journal {self.name} cannot be used: {str(cause).strip()}. The step was not "
                "recorded; check that the database is there, writable and not full"
            ) from error

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        connection = self._engine.raw_connection()
        try:
            yield connection
        except self._driver_error:
            # Whatever state it is in now, nobody shall find it in the pool.
            connection.invalidate()
            raise
        finally:
            # A block that is left by an error is rolled back on the way into the pool.
            connection.close()

    @contextlib.contextmanager
    def _turn_to_write(self) -> Iterator[None]:
        """One writer at a time: SQLite has no more, and a lock is fairer than its busy handler."""
        if self._turn is None:
            yield
            return
        if not self._turn.acquire(timeout=BUSY_TIMEOUT):
            raise OSError(f"no turn to write within {BUSY_TIMEOUT:g} seconds")
        try:
            yield
        finally:
            self._turn.release()

    def _connect(self) -> None:
        with _reasons_told(self.url):
            self._engine = _engine(self.url)
        self._driver_error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._turn = threading.Lock() if self.sqlite else None
        self._compiled: dict[str, _Prepared] = {}

    def _prepare(self, sql: str) -> "_Prepared":
        if (known := self._compiled.get(sql)) is None:
            compiled = sa.text(sql).compile(dialect=self._engine.dialect)
            known = _Prepared(str(compiled), compiled.positiontup)
            self._compiled[sql] = known
        return known


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement in the driver's own style; `names` are its places, or None where it has names."""

    text: str
    names: Sequence[str] | None

    def values(self, given: Mapping[str, Any]) -> Any:
        return given if self.names is None else [given[name] for name in self.names]


def _checked(url: str) -> sa.URL:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() not in KNOWN:
        raise ConfigurationError(
            f"a journal lives on sqlite:/// or postgresql+psycopg://, not on {parsed.drivername}"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise ConfigurationError("for a journal in memory use Journal.in_memory()")
    return parsed


@contextlib.contextmanager
def _reasons_told(url: sa.URL) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise JournalError(
            f"the journal {url.render_as_string()} cannot be opened: {error}"
        ) from error
    except ImportError as error:
        raise ConfigurationError(
            f"a journal on {url.drivername} needs its driver ({error}): "
            "pip install 'bighub-langgraph[postgres]'"
        ) from error


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() == "postgresql":
        engine = sa.create_engine(
            url, pool_size=8, max_overflow=24, isolation_level="READ COMMITTED"
        )
        sa.event.listen(engine, "checkin", _remember_use)
        sa.event.listen(engine, "checkout", partial(_ping_after_idleness, engine.dialect))
        return engine
    if "uri" not in url.query:
        # Records hold results of tool calls; they are the owner's alone.
        Path(str(url.database)).touch(mode=0o600)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT}, max_overflow=-1)
    sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _remember_use(_: Any, entry: Any) -> None:
    entry.info["used"] = time.monotonic()


def _ping_after_idleness(dialect: sa.Dialect, connection: Any, entry: Any, _: Any) -> None:
    """Find out about a server that went away and came back, before a claim is sent."""
    used = entry.info.get("used", time.monotonic())
    if time.monotonic() - used > IDLE and not _answers(dialect, connection):
        raise DisconnectionError  # the pool opens another one


def _answers(dialect: sa.Dialect, connection: Any) -> bool:
    try:
        return dialect.do_ping(connection)
    except dialect.loaded_dbapi.Error:
        return False


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun where we say so, not by the driver
    # Only the first connection ever has to change the mode, for which it must be alone.
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
