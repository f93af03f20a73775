"""Where the embedded engine keeps things: SQLite in memory or in a file, or PostgreSQL."""

import math
import os
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, closing
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Dialect,
    Engine,
    ExceptionContext,
    Table,
    create_engine,
    event,
)
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from bighub_langgraph.journal.connections import switch_to_wal
from bighub_langgraph.local.tables import heads, metadata
from bighub_langgraph.local.transactions import Pooled, Turns

_WAIT_FOR_LOCK = 30.0
# Advisory locks of PostgreSQL: one process at a time makes the tables, and keeps a snapshot.
_PREPARING, KEEPING = 8_787_001, 8_787_002


class Store:
    """A database with short transactions. Threads may share it."""

    def __init__(self, url: str) -> None:
        parsed = make_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self.in_memory = self.sqlite and parsed.database in (None, "", ":memory:")
        self._database = _connect(parsed)
        self.faults = (SQLAlchemyError, self._database.dialect.loaded_dbapi.Error)
        self._transactions = self._begun()
        self._inherited: list[Turns | Pooled] = []
        self._process = os.getpid()
        # For what a transaction learns; a forked process must not inherit it locked.
        self.alone = threading.Lock()
        self._inserts: dict[str, Prepared] = {}
        self._prepare(parsed)

    def transaction(self) -> AbstractContextManager[Connection]:
        """A transaction that commits at its end, or leaves nothing behind.

        One that is opened within another of the same thread is part of it.
        """
        if self._process != os.getpid():
            self._leave_parents_connections()
        return self._transactions.transaction()

    @property
    def epoch(self) -> int | None:
        """What is known of the store holds as long as this stays; None: no longer than it takes.

        It is looked at within a transaction. Whoever writes with a `Prepared` tells those who
        remember it; any other change begins a new epoch.
        """
        return self._transactions.epoch

    @property
    def pending(self) -> dict[str, Any]:
        """What waits to be written before the commit; only where there are epochs."""
        return self._transactions.pending

    def insert(self, table: Any) -> Any:
        """An INSERT that knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite_insert(table) if self.sqlite else postgres_insert(table)

    def prepared(
        self,
        table: Table,
        *,
        only: Iterable[str] | None = None,
        replace: str | None = None,
        returning: str | None = None,
    ) -> "Prepared":
        """An INSERT of rows, of all columns or `only` some; one with the same `replace` gives way.

        A table has one such INSERT.
        """
        known = self._inserts.get(table.name)
        if known is None:
            insert = self.insert(table)
            columns = only or [
                each.name
                for each in table.c
                if not (each.primary_key and each.autoincrement is True)
            ]
            if replace is None:
                insert = insert.on_conflict_do_nothing()
            else:
                changed = {name: insert.excluded[name] for name in columns if name != replace}
                insert = insert.on_conflict_do_update(index_elements=[replace], set_=changed)
            if returning is not None:
                insert = insert.returning(table.c[returning])
            known = self._inserts[table.name] = Prepared(insert, columns=columns)
        return known

    def close(self) -> None:
        """Let go of every connection."""
        _let_go(self._transactions, self._database)

    def _begun(self) -> Turns | Pooled:
        found: Turns | Pooled
        if self.sqlite:
            found = Turns(self._database, alone=self.in_memory)
            event.listen(self._database, "before_cursor_execute", _noticing(found))
        else:
            found = Pooled(self._database)
        weakref.finalize(self, _let_go, found, self._database)
        return found

    def _leave_parents_connections(self) -> None:
        """A forked process may not use the connections that it inherited."""
        self._process = os.getpid()
        self.alone = threading.Lock()
        self._inherited.append(self._transactions)  # kept, so that nothing closes what it holds
        if not self.in_memory:
            self._database.dispose(close=False)
        self._transactions = self._begun()

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


class _Compiled(NamedTuple):
    """A statement for a database: its text, what it always says, and how values are bound."""

    text: str
    fixed: Mapping[str, Any]
    bound: Callable[[Mapping[str, Any]], Any]


class Prepared:
    """A statement that is compiled once for a database: every decision runs the same few.

    It goes straight to the driver within the connection's transaction, and rows come back as the
    driver gives them; that takes a third of the time.
    """

    def __init__(self, statement: Any, *, columns: Iterable[str] | None = None) -> None:
        self._statement = statement
        self._columns = None if columns is None else list(columns)
        self._texts: dict[str, _Compiled] = {}

    def rows(self, tx: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Run a query; its rows."""
        found: list[tuple[Any, ...]] = self._run(tx, values).fetchall()
        return found

    def each(self, tx: Connection, **values: Any) -> Generator[tuple[Any, ...], None, None]:
        """Run a query; its rows one by one, for whoever may not want them all."""
        with closing(self._run(tx, values)) as cursor:
            yield from cursor

    def write(self, tx: Connection, **values: Any) -> int:
        """Run a change; the number of rows it touched."""
        touched: int = self._run(tx, values).rowcount
        return touched

    def _run(self, tx: Connection, values: Mapping[str, Any]) -> Any:
        text, fixed, bound = self._texts.get(tx.dialect.name) or self._compiled(tx.dialect)
        driver: Any = tx.connection.dbapi_connection
        return driver.execute(text, bound({**fixed, **values} if fixed else values))

    def _compiled(self, dialect: Dialect) -> _Compiled:
        compiled = self._statement.compile(dialect=dialect, column_keys=self._columns)
        fixed = {name: each for name, each in compiled.params.items() if each is not None}
        found = _Compiled(str(compiled), fixed, _binding(compiled.positiontup))
        self._texts[dialect.name] = found
        return found


def _binding(names: list[str] | None) -> Callable[[Mapping[str, Any]], Any]:
    """How a driver takes named values: as they are, or in the order of `names`, which is faster."""
    if names is None:
        return lambda values: values
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: tuple([values[name] for name in names])


def _connect(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    options: dict[str, Any] = {"check_same_thread": False, "timeout": _WAIT_FOR_LOCK}
    # One connection is enough: transactions take turns.
    database = create_engine(url, poolclass=StaticPool, connect_args=options)
    event.listen(database, "connect", _configure_sqlite)
    event.listen(database, "handle_error", _keep_connection)
    return database


def _noticing(turns: Turns) -> Callable[..., None]:
    def notice(_connection: Connection, _cursor: Any, statement: str, *_: object) -> None:
        if not statement.startswith(("SELECT", "PRAGMA")):
            turns.changed()

    return notice


def _let_go(transactions: Turns | Pooled, database: Engine) -> None:
    transactions.close()
    database.dispose()


def _keep_connection(context: ExceptionContext) -> None:
    """An interrupted statement costs its transaction, not the one connection."""
    context.is_disconnect = False


def _configure_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # transactions begin where we say so
    switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.create_function("floor", 1, math.floor, deterministic=True)  # not in every build
