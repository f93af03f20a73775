"""A journal's connections: how they are opened, kept, and found to be broken."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DisconnectionError

from bighub_langgraph.concurrency import fork_safe_lock
from bighub_langgraph.core.errors import ConfigurationError, JournalError

# How long a writer waits for its turn, in seconds, before it gives up with an error.
BUSY_TIMEOUT = 30.0
# How long a connection may lie idle and is still believed to be there, in seconds.
IDLE = 1.0
# How long it waits before it tries again to change a database's mode, in seconds.
WAL_PAUSE = 0.01
KNOWN = ("sqlite", "postgresql")


class Pooled:
    """Connections from the engine's pool, one for each thread that needs one just now."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._closed = False

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """A connection; a block that is left by an error is rolled back."""
        connection = self._engine.raw_connection()
        try:
            yield connection
        except self._driver_error:
            # Whatever state it is in now, nobody shall find it in the pool.
            connection.invalidate()
            raise
        finally:
            if self._closed:
                connection.invalidate()  # its pool is gone: nobody else would ever close it
            connection.close()

    def close(self) -> None:
        """The pool goes with its engine, and what is in use just now as soon as it is not."""
        self._closed = True


class OneWriter:
    """The connection that writes to SQLite, which has no more than one writer at a time.

    Threads take turns by a lock, which is fairer than SQLite's busy handler; and whoever has the
    turn needs no pool.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._turn = fork_safe_lock()
        self._kept: Any = None

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """The connection, with the database locked; a block that is left by an error closes it."""
        taken: list[bool] = []
        try:
            if not self._takes(taken):
                raise OSError(f"no turn to write within {BUSY_TIMEOUT:g} seconds")
            # Not kept while it is in use: of a child forked now, it must be nobody's to close.
            connection, self._kept = self._kept or self._engine.raw_connection(), None
            try:
                # What reads first and writes later may find its snapshot stale: lock it now.
                connection.execute("BEGIN IMMEDIATE")
                yield connection
            except BaseException:
                connection.invalidate()
                raise
            self._kept = connection
        finally:
            if taken == [True]:
                self._turn.release()

    def close(self) -> None:
        """Let go of the connection, after whoever writes just now."""
        taken: list[bool] = []
        try:
            self._takes(taken)
            kept, self._kept = self._kept, None
        finally:
            if taken == [True]:
                self._turn.release()
        if kept is not None:
            kept.invalidate()

    def _takes(self, taken: list[bool]) -> bool:
        """Wait for a turn, and note in `taken` whether it came."""
        # In one call: where a signal's handler raises behind `acquire`, nobody would know of it.
        taken.extend(map(self._turn.acquire, [True], [BUSY_TIMEOUT]))
        return taken == [True]


def checked(url: str) -> sa.URL:
    """A URL of a database that a journal can live on."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() not in KNOWN:
        raise ConfigurationError(
            f"a journal lives on sqlite:/// or postgresql+psycopg://, not on {parsed.drivername}"
        )
    if parsed.get_backend_name() == "sqlite" and parsed.database in {None, "", ":memory:"}:
        raise ConfigurationError("for a journal in memory use Journal.in_memory()")
    return parsed


def opened(url: sa.URL) -> sa.Engine:
    """An engine whose connections are as durable as a journal needs them."""
    try:
        return _postgresql(url) if url.get_backend_name() == "postgresql" else _sqlite(url)
    except OSError as error:
        raise JournalError(
            f"the journal {url.render_as_string()} cannot be opened: {error}"
        ) from error
    except ImportError as error:
        raise ConfigurationError(
            f"a journal on {url.drivername} needs its driver ({error}): "
            "pip install 'bighub-langgraph[postgres]'"
        ) from error


def _postgresql(url: sa.URL) -> sa.Engine:
    engine = sa.create_engine(url, pool_size=8, max_overflow=24, isolation_level="READ COMMITTED")
    sa.event.listen(engine, "checkin", _remember_use)
    sa.event.listen(engine, "checkout", partial(_ping_after_idleness, engine.dialect))
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


def _sqlite(url: sa.URL) -> sa.Engine:
    if "uri" not in url.query:
        # Records hold results of tool calls; they are the owner's alone.
        Path(str(url.database)).touch(mode=0o600)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT}, max_overflow=-1)
    sa.event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun where we say so, not by the driver
    switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")


def switch_to_wal(connection: Any) -> None:
    """Switch a SQLite database to its write-ahead log.

    Only the first connection ever has to change the mode, for which it must be alone. Of several
    that open a new database at once SQLite refuses some without waiting; they try again.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(WAL_PAUSE)
        else:
            return  # a database that has no log of its own, such as one in memory, stays as it is
