"""Where the embedded engine keeps things: SQLite in memory or in a file, or PostgreSQL."""

import math
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from bighub_langgraph.local.tables import heads, metadata

_WAIT_FOR_LOCK = 30.0
_PREPARING = 8_787_001  # one process at a time makes the tables


class Store:
    """A database with short transactions. Threads may share it."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self.in_memory = self.sqlite and parsed.database in (None, "", ":memory:")
        self._database = _connect(parsed)
        self.faults = (SQLAlchemyError, self._database.dialect.loaded_dbapi.Error)
        weakref.finalize(self, self._database.dispose)
        # SQLite has one writer at a time anyway; waiting in the process is fairer than its retries.
        self._turn = threading.RLock() if self.sqlite else None
        self._process = os.getpid()
        self._inserts: dict[str, Prepared] = {}
        self._prepare(parsed)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that commits at its end, or leaves nothing behind."""
        self._leave_parents_connections()
        with self._turn or nullcontext(), self._database.begin() as connection:
            yield connection

    def insert(self, table: Any) -> Any:
        """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite_insert(table) if self.sqlite else postgres_insert(table)

    def prepared(self, table: Table, *, replace: str | None = None) -> "Prepared":
        """An INSERT of whole rows; one with the same `replace` column gives way."""
        known = self._inserts.get(table.name)
        if known is None:
            insert = self.insert(table)
            columns = [
                each.name
                for each in table.c
                if not (each.primary_key and each.autoincrement is True)
            ]
            if replace is None:
                insert = insert.on_conflict_do_nothing()
            else:
                changed = {name: insert.excluded[name] for name in columns if name != replace}
                insert = insert.on_conflict_do_update(index_elements=[replace], set_=changed)
            known = self._inserts[table.name] = Prepared(insert, columns=columns)
        return known

    def close(self) -> None:
        """Let go of every connection."""
        self._database.dispose()

    def _leave_parents_connections(self) -> None:
        """A forked process may not use the connections that it inherited."""
        if self._process != (here := os.getpid()):
            self._process = here
            self._turn = threading.RLock() if self.sqlite else None
            if not self.in_memory:
                self._database.dispose(close=False)

    def _prepare(self, url: URL) -> None:
        if self.sqlite and not self.in_memory and url.database:
            # Decisions carry arguments of tool calls; they are the owner's alone.
            os.close(os.open(Path(url.database), os.O_CREAT | os.O_RDWR, 0o600))
        with self.transaction() as connection:
            if not self.sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_PREPARING})")
            metadata.create_all(connection)
            rows = [{"name": "evidence", "number": 0}, {"name": "controls", "number": 0}]
            connection.execute(self.insert(heads).on_conflict_do_nothing(), rows)


class Prepared:
    """A statement that is compiled once for a database: every decision runs the same few.

    It goes straight to the driver within the connection's transaction, and rows come back as the
    driver gives them; that takes a third of the time.
    """

    def __init__(self, statement: Any, *, columns: list[str] | None = None) -> None:
        self._statement = statement
        self._columns = columns
        self._texts: dict[str, tuple[str, dict[str, Any]]] = {}

    def rows(self, tx: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Run a query; its rows."""
        cursor = self._run(tx, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
        return found

    def write(self, tx: Connection, **values: Any) -> int:
        """Run a change; the number of rows it touched."""
        cursor = self._run(tx, values)
        touched: int = cursor.rowcount
        cursor.close()
        return touched

    def _run(self, tx: Connection, values: Mapping[str, Any]) -> Any:
        dialect = tx.dialect
        if dialect.name not in self._texts:
            compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
            self._texts[dialect.name] = str(compiled), dict(compiled.params)
        text, fixed = self._texts[dialect.name]
        cursor = tx.connection.cursor()
        cursor.execute(text, {**fixed, **values})
        return cursor


def next_number(connection: Connection, name: str) -> int:
    """Draw the next number under a name.

    The name's row stays locked until the commit, so numbers appear in order and none is missing.
    """
    row = update(heads).where(heads.c.name == name).values(number=heads.c.number + 1)
    return int(connection.execute(row.returning(heads.c.number)).scalar_one())


def current_numbers(connection: Connection) -> Mapping[str, int]:
    """The last number drawn under each name."""
    return {row[0]: row[1] for row in _HEADS.rows(connection)}


_HEADS = Prepared(select(heads.c.name, heads.c.number))


def _connect(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    options: dict[str, Any] = {"check_same_thread": False, "timeout": _WAIT_FOR_LOCK}
    # One connection is enough: transactions take turns.
    database = create_engine(url, poolclass=StaticPool, connect_args=options, paramstyle="named")
    event.listen(database, "connect", _configure_sqlite)
    event.listen(database, "begin", _begin_immediately)
    return database


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.create_function("floor", 1, math.floor, deterministic=True)  # not in every build


def _begin_immediately(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
