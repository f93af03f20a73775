"""The embedded engine's database: its schema and its prepared statements."""

import threading
from collections.abc import Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, cast

from sqlalchemy import Column, Connection, Table
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from bighub_langgraph.core.errors import BighubGuardError
from bighub_langgraph.local.memory_rows import MemoryRows, MemoryTransaction
from bighub_langgraph.local.tables import decisions, heads, metadata
from bighub_langgraph.sql_engines import begin_transaction
from bighub_langgraph.sqldb import Database, run_statement

# The advisory lock of PostgreSQL under which one process at a time saves a snapshot.
SNAPSHOT_LOCK = 8_787_002
# The key by which a row of a table is replaced; rows of other tables are only inserted.
_REPLACED_BY = {decisions: "request_id"}


class StoreError(BighubGuardError):
    """The embedded engine's database cannot be used; the message says what to check."""


class Store(Database):
    """The database of an embedded engine: SQLite in memory or in a file, or PostgreSQL.

    Attributes:
        faults: The exceptions raised when the database fails.
        alone: Held while the engine learns from a transaction; a forked process gets a new one.
        rows: The rows of a database in memory that it does not have yet.
    """

    faults = (StoreError,)

    def __init__(self, url: str) -> None:
        super().__init__(url, label="the engine's database", error=StoreError)
        self.alone = threading.Lock()
        self.rows = MemoryRows(self._write_row)
        self._inserts: dict[str, PreparedStatement] = {}
        self.migrate("engine", metadata)
        rows = [{"name": "evidence", "number": 0}, {"name": "controls", "number": 0}]
        with self.transaction() as tx:
            tx.execute(self.insert(heads).on_conflict_do_nothing(), rows)

    def transaction(self, *, durable: bool = True) -> AbstractContextManager[Connection]:
        """A transaction, see `Database.transaction`. In memory it begins with its first SQL."""
        if self.in_memory:
            return self._memory_transaction()
        return super().transaction(durable=durable)

    @contextmanager
    def _memory_transaction(self) -> Iterator[Connection]:
        outer = getattr(self._open, "connection", None)
        with self._translate_errors(), nullcontext() if outer else self._take(self._writer):
            if self._is_closed:
                raise OSError("it is closed")
            mark = self.rows.mark()
            try:
                with ExitStack() as stack:
                    tx = MemoryTransaction(self.rows, stack, self._begin, outer)
                    self._open.connection = tx
                    try:
                        yield cast("Connection", tx)
                        if outer is None and self.rows.is_full:
                            self.rows.write_pending(tx.connect())
                    finally:
                        self._open.connection = outer
            except BaseException:
                self.rows.undo(mark)
                raise
            if outer is None:
                self.rows.commit()

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        with self._checkout() as connection, begin_transaction(connection):
            yield connection

    def _write_row(self, connection: Connection, table: Table, row: Any) -> None:
        values = row if isinstance(row, dict) else row.to_columns()
        self.prepare(table, only=values, replace=_REPLACED_BY.get(table)).write(
            connection, **values
        )

    @property
    def in_transaction(self) -> bool:
        """Whether this thread is within a transaction."""
        return getattr(self._open, "connection", None) is not None

    def insert(self, table: Table) -> Any:
        """Return an INSERT with `on_conflict_do_nothing` and `on_conflict_do_update`."""
        return sqlite_insert(table) if self.sqlite else postgres_insert(table)

    def prepare(
        self,
        table: Table,
        *,
        only: Iterable[str] | None = None,
        replace: str | None = None,
        returning: str | None = None,
    ) -> "PreparedStatement":
        """Return the table's INSERT of all columns or of `only` some.

        A row that exists is kept, or replaced where `replace` names its key. A table has one such
        INSERT.
        """
        if table.name not in self._inserts:
            insert = self.insert(table)
            columns = list(only or (column.name for column in table.c if not _is_serial(column)))
            if replace is None:
                insert = insert.on_conflict_do_nothing()
            else:
                new_values = {name: insert.excluded[name] for name in columns if name != replace}
                insert = insert.on_conflict_do_update(index_elements=[replace], set_=new_values)
            if returning is not None:
                insert = insert.returning(table.c[returning])
            self._inserts[table.name] = PreparedStatement(insert, columns=columns)
        return self._inserts[table.name]

    def insert_row(self, tx: Connection, table: Table, key: Hashable, row: dict[str, Any]) -> bool:
        """Insert a row; return False if its key exists."""
        if not self.in_memory:
            return bool(self.prepare(table).write(tx, **row))
        if is_new := not self.rows.has(table, key):
            self.rows.put(table, key, row)
        return is_new

    def after_fork(self) -> None:
        """Open new connections in a forked child."""
        super().after_fork()
        self.alone = threading.Lock()


def _is_serial(column: Column[Any]) -> bool:
    """Whether the database numbers a column by itself."""
    return column.primary_key and column.autoincrement is True


class PreparedStatement:
    """A statement that is compiled once and runs with values by name.

    Args:
        columns: The columns an INSERT or UPDATE writes; None for all.
    """

    def __init__(self, statement: Any, *, columns: Iterable[str] | None = None) -> None:
        self._statement = statement
        self._columns = None if columns is None else tuple(columns)

    def rows(self, tx: Connection, **values: Any) -> list[tuple[Any, ...]]:
        """Run a query and return its rows."""
        rows: list[tuple[Any, ...]] = self._run(tx, values).fetchall()
        return rows

    def write(self, tx: Connection, **values: Any) -> int:
        """Run a change and return the number of rows it changed."""
        return int(self._run(tx, values).rowcount)

    def _run(self, tx: Connection, values: dict[str, Any]) -> Any:
        return run_statement(tx, self._statement, values, self._columns)
