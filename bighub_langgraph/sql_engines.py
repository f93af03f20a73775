"""Where a database is, and SQLAlchemy's engines for SQLite and PostgreSQL."""

import math
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from bighub_langgraph.core.errors import ConfigurationError

# How long a writer waits for its turn before it fails, in seconds.
BUSY_TIMEOUT = 30.0
# The pause between two attempts to switch a database to its write-ahead log, in seconds.
_WAL_RETRY_DELAY = 0.01

# A URL, or the path of an SQLite file.
Location = str | os.PathLike[str] | sa.URL


def parse_location(location: Location) -> sa.URL:
    """Return the URL of a database; PostgreSQL without the name of a driver is psycopg.

    Raises:
        ConfigurationError: It is neither a URL nor a path. The message shows no password.
    """
    if isinstance(location, sa.URL):
        url = location
    elif "://" not in (text := os.fspath(location)):
        return sa.URL.create("sqlite", database=text)
    else:
        try:
            url = sa.make_url(text)
        except (SQLAlchemyError, ValueError):
            raise ConfigurationError(
                "the URL of a database cannot be parsed; characters such as @, : and / in a "
                "password are written as %40, %3A and %2F"
            ) from None
    if url.drivername in {"postgres", "postgresql"}:
        return url.set(drivername="postgresql+psycopg")
    return url


def parse_journal_location(location: Location) -> sa.URL:
    """Return the URL of a journal's database: an SQLite file, or a PostgreSQL database."""
    url = parse_location(location)
    backend = url.get_backend_name()
    if backend not in {"sqlite", "postgresql"}:
        raise ConfigurationError(
            "a journal is the path of an SQLite file, or on sqlite:/// or postgresql://, "
            f"not on {url.drivername}"
        )
    if backend == "sqlite" and url.database in {None, "", ":memory:"}:
        raise ConfigurationError("for a journal in memory use Journal.in_memory()")
    return url


def driver_connection(connection: sa.Connection) -> Any:
    """Return the driver's own connection."""
    return connection.connection.dbapi_connection


def sqlite_file(url: sa.URL) -> str | None:
    """Return the path of an SQLite database's file; None if it has none, or a URI of its own."""
    is_file = url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
    return str(Path(str(url.database)).absolute()) if is_file and "uri" not in url.query else None


def create_engine(url: sa.URL) -> sa.Engine:
    """Return the engine of a database; the file of an SQLite database is made if it is missing."""
    if url.get_backend_name() == "sqlite":
        return _create_sqlite_engine(url)
    pool = {"pool_pre_ping": True, "pool_size": 8, "max_overflow": 24}
    return sa.create_engine(url, isolation_level="READ COMMITTED", **pool)


def _create_sqlite_engine(url: sa.URL) -> sa.Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT}}
    if url.database in {None, "", ":memory:"}:
        options["poolclass"] = StaticPool
        options["connect_args"]["check_same_thread"] = False
    else:
        options["max_overflow"] = -1
        if file := sqlite_file(url):
            Path(file).touch(mode=0o600)
    engine = sa.create_engine(url, **options)
    sa.event.listen(engine, "connect", _configure_sqlite)
    sa.event.listen(engine, "handle_error", _keep_connection)
    sa.event.listen(engine, "savepoint", _check_transaction)
    return engine


def _configure_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions begin where this module begins them
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.create_function("clock", 0, time.monotonic)  # counts for the machine, from its start
    connection.create_function("floor", 1, math.floor, deterministic=True)  # not in every build


@contextmanager
def begin_transaction(connection: sa.Connection) -> Iterator[None]:
    """Begin a transaction, and commit it at the end of the block.

    On SQLite it begins with a write lock: what is read first may be stale when it is written. The
    driver begins and commits it: with SQLAlchemy's begin and commit the engine's decision on a file
    takes 1.05 times as long.
    """
    if connection.dialect.name != "sqlite":
        with connection.begin():
            yield
        return
    driver = driver_connection(connection)
    driver.execute("BEGIN IMMEDIATE")
    try:
        yield
        _check_transaction(connection)
        driver.execute("COMMIT")
    finally:
        driver.rollback()  # what was not committed


class KeptConnection:
    """A connection that stays open between the transactions of one writer at a time.

    Out of the pool each time, a call's claim and outcome take 1.1 times as long on SQLite. Any
    thread may close it at any time; one that is in use is closed when its writer gives it back.
    """

    def __init__(self) -> None:
        self._is_closed = False
        self._idle: list[sa.Connection] = []

    @contextmanager
    def use(self, engine: sa.Engine) -> Iterator[sa.Connection]:
        """Use the connection, or a new one; after an exception it is not kept."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = engine.connect()
        try:
            yield connection
            connection.rollback()  # what SQLAlchemy has begun by itself
        except BaseException:
            _close(connection)
            raise
        self._idle.append(connection)
        if self._is_closed:
            self.close()

    def close(self) -> None:
        """Close the connection now or when it is given back."""
        self._is_closed = True
        with suppress(IndexError):
            _close(self._idle.pop())

    def forget(self) -> list[sa.Connection]:
        """Return the idle connection of a parent process, which a forked child may not close."""
        idle = self._idle.copy()
        self._idle.clear()
        return idle


def _close(connection: sa.Connection) -> None:
    """Close a connection, which does not go back to its pool."""
    connection.invalidate()
    connection.close()


def _check_transaction(connection: sa.Connection, *_: object) -> None:
    """Fail where SQLite has undone a transaction by itself, as it does on a full disk."""
    if not driver_connection(connection).in_transaction:
        raise sqlite3.OperationalError("the transaction was undone")


def _keep_connection(context: sa.ExceptionContext) -> None:
    """Keep a connection whose statement was interrupted: only its transaction is undone."""
    context.is_disconnect = False


def _switch_to_wal(connection: Any) -> None:
    """Switch a database to its write-ahead log.

    Only the first connection changes the mode, and it must be alone. SQLite refuses some of the
    connections that open a new database at the same time; they try again.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT
    while connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(_WAL_RETRY_DELAY)
        else:
            return  # a database in memory has no log and stays as it is
