"""SQLite and PostgreSQL: connections, short transactions, named SQL and migrations.

The journal and the embedded engine keep their tables through this module.
"""

import math
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from bighub_langgraph.concurrency import fork_safe_lock
from bighub_langgraph.core.errors import BighubGuardError, ConfigurationError
from bighub_langgraph.core.redaction import mask_passwords
from bighub_langgraph.sql_engines import (
    BUSY_TIMEOUT,
    KeptConnection,
    Location,
    begin_transaction,
    create_engine,
    driver_connection,
    parse_location,
    sqlite_file,
)

# How long closing waits for a thread that uses the database, in seconds.
CLOSE_TIMEOUT = 3.0
# The advisory lock of PostgreSQL that migrations take.
_MIGRATION_LOCK = 7_264_512

# -- named SQL -------------------------------------------------------------------------------------


# SQL with names of values, or a statement of SQLAlchemy's.
Statement = str | sa.Select[Any] | sa.UpdateBase
# The columns that an INSERT or UPDATE of SQLAlchemy's writes; None for all.
Columns = tuple[str, ...] | None

# The driver's cursor runs these statements: a call's claim and outcome take 1.4 times as long as
# their bare commits on SQLite, and 2.3 times as long through SQLAlchemy's execution.


def fetch_rows(connection: sa.Connection, sql: str, **values: Any) -> list[dict[str, Any]]:
    """Return the rows of a query. A list among the values expands for `IN`."""
    if lists := [name for name, value in values.items() if isinstance(value, list)]:
        list_parameters: list[Any] = [sa.bindparam(name, expanding=True) for name in lists]
        query = sa.text(_with_clock(sql, connection.dialect)).bindparams(*list_parameters)
        return [dict(row) for row in connection.execute(query, values).mappings()]
    cursor = run_statement(connection, sql, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def execute(connection: sa.Connection, sql: str, **values: Any) -> int:
    """Run a statement and return how many rows it changed."""
    return int(run_statement(connection, sql, values).rowcount)


def execute_many(connection: sa.Connection, sql: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Run a statement once for each row of values."""
    for row in rows:
        run_statement(connection, sql, row)


def run_statement(
    connection: sa.Connection,
    statement: Statement,
    values: Mapping[str, Any],
    columns: Columns = None,
) -> Any:
    """Run a statement and return the driver's cursor; see `Columns`."""
    text, bind = _compile(statement, columns, connection.dialect)
    cursor = driver_connection(connection).cursor()
    cursor.execute(text, bind(values))
    return cursor


def _with_clock(sql: str, dialect: sa.Dialect) -> str:
    """Make `clock()` the seconds of a clock that all users of the database share.

    PostgreSQL's is the server's, at the statement. On SQLite it is the machine's monotonic clock,
    see `bighub_langgraph.sql_engines`.
    """
    now = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
    return sql if dialect.name == "sqlite" else sql.replace("clock()", now)


@lru_cache(maxsize=512)
def _compile(
    statement: Statement, columns: Columns, dialect: sa.Dialect
) -> tuple[str, Callable[[Mapping[str, Any]], Any]]:
    """Return a statement in the driver's style, and a function that arranges its values."""
    clause = sa.text(_with_clock(statement, dialect)) if isinstance(statement, str) else statement
    compiled_clause = clause.compile(dialect=dialect, column_keys=columns)
    constants = {name: value for name, value in compiled_clause.params.items() if value is not None}
    names = compiled_clause.positiontup
    if names is None:  # this driver takes values by name
        return str(compiled_clause), lambda values: {**constants, **values}

    def list_values(values: Mapping[str, Any]) -> list[Any]:
        by_name = {**constants, **values}
        return [by_name[name] for name in names]

    return str(compiled_clause), list_values


# -- databases -------------------------------------------------------------------------------------


class Database:
    """A database with short transactions, shared by threads and forked processes.

    The file of an SQLite database is readable for its owner only. When the database fails, `error`
    is raised; `label` says what the database holds. `clock` returns seconds since the epoch.
    """

    def __init__(
        self,
        location: Location,
        *,
        label: str,
        error: type[BighubGuardError],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = parse_location(location)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self.in_memory = self.sqlite and self.url.database in {None, "", ":memory:"}
        self.clock_skew = 0.0
        self.failed_at = -math.inf  # by the monotonic clock
        self._label = f"{label} {self.name}"
        self._error = error
        self._clock = clock
        self._is_closed = False
        # One writer, and one reader beside it: SQLite's own locks must be free in a forked child.
        self._writer, self._reader = fork_safe_lock(), fork_safe_lock()
        self._open = threading.local()  # the connection of this thread's transaction
        self._engine = self._create_engine()
        self._driver_error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._file = sqlite_file(self.url)
        self._file_id = self._file and _identify(self._file)
        users = self._writer if self.in_memory else self._reader
        self._kept_writer = KeptConnection()
        self._dispose = weakref.finalize(self, _dispose, self._engine, users, self._kept_writer)
        call_after_fork(self)

    @property
    def name(self) -> str:
        """The URL without its password."""
        return mask_passwords(self.url.render_as_string())

    def now(self) -> float:
        """Return seconds since the epoch by the clock all users of the database share."""
        return self._clock() + self.clock_skew

    def set_clock(self) -> None:
        """Measure how far the database's clock is ahead of this machine's."""
        if not self.sqlite:
            [row] = self.fetch_rows("SELECT extract(epoch FROM clock_timestamp()) AS now")
            self.clock_skew = float(row["now"]) - self._clock()

    def durability_warning(self) -> str:
        """Return why a commit may be lost in a power cut; "" if it cannot."""
        if not self.sqlite:
            query = "SELECT name FROM pg_settings WHERE setting = 'off' AND name IN :names"
            for row in self.fetch_rows(query, names=["fsync", "synchronous_commit"]):
                return (
                    f"PostgreSQL runs with {row['name']} = off: a claim may be lost in a power cut"
                )
        return ""

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[sa.Connection]:
        """A transaction that is stored at the end of the block, or leaves nothing behind.

        Within another transaction of the same thread it is a part of it: undone by itself when it
        fails, committed with the whole. One that is not `durable` does not wait for the disk: it
        outlives processes, but not a power cut.
        """
        return self._transaction(durable=durable)

    @contextmanager
    def _transaction(self, *, durable: bool) -> Iterator[sa.Connection]:
        outer: sa.Connection | None = getattr(self._open, "connection", None)
        with self._translate_errors():
            if outer is not None:
                with outer.begin_nested():
                    yield outer
                return
            with (
                self._take(self._writer),
                self._checkout(is_writer=True) as connection,
                nullcontext() if durable else self._without_sync(connection),
                begin_transaction(connection),
            ):
                if not (durable or self.sqlite):
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
                self._open.connection = connection
                try:
                    yield connection
                finally:
                    self._open.connection = None

    @contextmanager
    def _without_sync(self, connection: sa.Connection) -> Iterator[None]:
        """Commit on SQLite without waiting for the disk; its log stays consistent."""
        if not self.sqlite:
            yield
            return
        driver = driver_connection(connection)
        driver.execute("PRAGMA synchronous=NORMAL")
        try:
            yield
        finally:
            driver.execute("PRAGMA synchronous=FULL")

    @contextmanager
    def read_connection(self) -> Iterator[sa.Connection]:
        """A connection to read from. On an SQLite file it does not wait for a writer."""
        if self.in_memory or getattr(self._open, "connection", None) is not None:
            with self.transaction() as connection:
                yield connection
            return
        with self._translate_errors(), self._take(self._reader), self._checkout() as connection:
            if self.sqlite:
                yield connection
            else:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def fetch_rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query that belongs to no transaction."""
        with self.read_connection() as connection:
            return fetch_rows(connection, sql, **values)

    def migrate(
        self, component: str, metadata: sa.MetaData, steps: "Sequence[Migration]" = ()
    ) -> int:
        """Bring a component's tables to their newest version and return it.

        A new database gets the tables of `metadata`, an older one goes through `steps`. The step
        at index n brings version n + 1 to n + 2.
        """
        newest = len(steps) + 1
        with self.transaction() as connection:
            if not self.sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            _versions.create(connection, checkfirst=True)
            row = _versions.c.component == component
            version = connection.execute(sa.select(_versions.c.version).where(row)).scalar()
            if version is None:
                metadata.create_all(connection)
                connection.execute(_versions.insert().values(component=component, version=newest))
            elif version > newest:
                raise self._error(
                    f"{self._label} has schema version {version}, this program knows {newest}: "
                    "upgrade bighub-langgraph here, or use another database"
                )
            elif version < newest:
                for step in steps[version - 1 :]:
                    step(connection)
                connection.execute(_versions.update().where(row).values(version=newest))
        return newest

    def close(self) -> None:
        """Close idle connections now and the others at the end of their use.

        A database in memory ends, once no thread uses it; any other can still be used.
        """
        self._is_closed = True
        self._dispose()

    @contextmanager
    def _checkout(self, *, is_writer: bool = False) -> Iterator[sa.Connection]:
        if self._is_closed and self.in_memory:
            raise OSError("it is closed")
        if self._file is not None and _identify(self._file) != self._file_id:
            raise OSError("its file was deleted or replaced while it was open; start again")
        if is_writer and self._file is not None:
            with self._kept_writer.use(self._engine) as connection:
                yield connection
            return
        with self._engine.connect() as connection:
            try:
                yield connection
            finally:
                if self._is_closed:
                    connection.invalidate()  # its pool is gone: nothing else would close it

    @contextmanager
    def _take(self, lock: threading.Lock) -> Iterator[None]:
        """Let one thread at a time use SQLite, which is fairer than SQLite's retries."""
        attempts: list[bool] = []
        try:
            # In one call: a signal's handler that raises behind `acquire` would leave it locked.
            if self.sqlite:
                attempts.extend(map(lock.acquire, [True], [BUSY_TIMEOUT]))
            if attempts == [False]:
                raise OSError(f"no turn to use it within {BUSY_TIMEOUT:g} seconds")
            yield
        finally:
            if attempts == [True]:
                lock.release()

    def after_fork(self) -> None:
        """Open new connections in a forked child.

        The parent's connections are kept and never closed here: SQLite would remove the file's
        locks.
        """
        self._open = threading.local()
        if not self.in_memory:
            _inherited_connections.append((self._engine.pool, self._kept_writer.forget()))
            self._engine.dispose(close=False)

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, self._driver_error, OSError) as error:
            self.failed_at = time.monotonic()
            cause = getattr(error, "orig", None) or error
            raise self._error(
                f"{self._label} cannot be used: {str(cause).strip()}. The step was not "
                "recorded; check that the database is there, writable and not full"
            ) from error

    def _create_engine(self) -> sa.Engine:
        try:
            return create_engine(self.url)
        except OSError as error:
            raise self._error(f"{self._label} cannot be opened: {error}") from error
        except ImportError as error:
            raise ConfigurationError(
                f"{self._label} needs its driver ({error}): "
                "pip install 'bighub-langgraph[postgres]'"
            ) from error


def _dispose(engine: sa.Engine, users: threading.Lock, kept_writer: KeptConnection) -> None:
    """Close idle connections, and the one of a database in memory when no thread uses it."""
    kept_writer.close()
    if users.acquire(timeout=CLOSE_TIMEOUT):  # else a thread still uses it: it stays open
        try:
            engine.dispose()
        finally:
            users.release()


def _identify(file: str) -> tuple[int, int] | None:
    """Return what tells a file from one that is put in its place; None if there is none."""
    try:
        stat = os.stat(file)  # noqa: PTH116 - for each transaction
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


Migration = Callable[[sa.Connection], None]

_versions = sa.Table(
    "bighub_schema_versions",
    sa.MetaData(),
    sa.Column("component", sa.String(32), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

# -- forks -----------------------------------------------------------------------------------------


_fork_aware: "weakref.WeakSet[Any]" = weakref.WeakSet()
_inherited_connections: list[object] = []


def call_after_fork(instance: Any) -> None:
    """Call an object's method `after_fork` in forked children, for as long as it exists."""
    _fork_aware.add(instance)


def _after_fork_in_child() -> None:
    for instance in list(_fork_aware):
        instance.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
