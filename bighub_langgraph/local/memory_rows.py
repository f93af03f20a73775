"""An engine in memory: rows that its database does not have yet, and transactions over both."""

from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, ExitStack
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table

Key = tuple[Any, Hashable]  # a table or a text, and a key
WriteRow = Callable[[Connection, Any, Any], object]

MAX_PENDING = 1_000  # rows; writing them takes about 10 ms
MAX_KEYS = 25_000  # of a table, of rows in the database
_ABSENT = object()
_IN_DATABASE = None


class MemoryRows:
    """The rows of a database in memory that changed since its last SQL statement.

    A decision with SQL takes 1.7 times as long. So a row stays an object, by table and key, until
    a statement may need it; then the database has it, and only its key is kept here. What is kept
    under a text instead of a table stays here.
    """

    def __init__(self, write_row: WriteRow) -> None:
        self._write_row = write_row
        self._tables: dict[Table | str, dict[Hashable, Any]] = {}
        self._pending: dict[Key, Any] = {}
        self._written_rows: dict[Key, Any] = {}  # in this transaction
        self._undo: list[tuple[Key, Any]] = []

    def find(self, table: Table | str, key: Hashable) -> Any:
        """Return a row; None if the database has it or there is none, see `has`."""
        return self._tables.get(table, {}).get(key)

    def has(self, table: Table | str, key: Hashable) -> bool:
        """Whether a row exists, here or in the database."""
        return key in self._tables.get(table, {})

    def put(self, table: Table | str, key: Hashable, row: Any) -> None:
        """Insert or replace a row."""
        rows = self._tables.setdefault(table, {})
        self._undo.append(((table, key), rows.get(key, _ABSENT)))
        rows[key] = row
        if not isinstance(table, str):
            self._pending[table, key] = row

    def delete(self, name: str, is_old: Callable[[Any], bool]) -> None:
        """Delete the rows under a text that are old."""
        rows = self._tables.get(name, {})
        for key in [key for key, row in rows.items() if is_old(row)]:
            self._undo.append(((name, key), rows.pop(key)))

    @property
    def is_full(self) -> bool:
        """Whether the rows that the database does not have are too many to wait for a query."""
        return len(self._pending) >= MAX_PENDING

    def write_pending(self, connection: Connection) -> None:
        """Write the rows that the database does not have."""
        if self._pending:
            for (table, key), row in self._pending.items():
                self._write_row(connection, table, row)
                self._written_rows[table, key] = row
            self._pending = {}

    def mark(self) -> int:
        """Return the present state as a mark, to go back to it."""
        return len(self._undo)

    def undo(self, mark: int) -> None:
        """Undo what was put since a mark. What was written meanwhile is written again later."""
        self._pending, self._written_rows = {**self._written_rows, **self._pending}, {}
        while len(self._undo) > mark:
            (table, key), row = self._undo[-1]
            self._tables[table][key] = row
            if row is _ABSENT:
                del self._tables[table][key]
            if row is _ABSENT or row is _IN_DATABASE:
                self._pending.pop((table, key), None)
            elif not isinstance(table, str):
                self._pending[table, key] = row
            self._undo.pop()

    def commit(self) -> None:
        """Keep what was put, and only the keys of what was written."""
        self._undo = []
        if self._written_rows:
            for table, key in self._written_rows.keys() - self._pending.keys():
                self._tables[table][key] = _IN_DATABASE
            self._written_rows = {}
            for rows in self._tables.values():
                for key in list(islice(rows, max(0, len(rows) - MAX_KEYS))):
                    if rows[key] is _IN_DATABASE:
                        del rows[key]


class MemoryTransaction:
    """A transaction over rows and their database, which begins with the first SQL statement.

    It stands for SQLAlchemy's connection; leaving `stack` ends it.
    """

    def __init__(
        self,
        rows: MemoryRows,
        stack: ExitStack,
        begin: Callable[[], AbstractContextManager[Connection]],
        outer: "MemoryTransaction | None",
    ) -> None:
        self._rows = rows
        self._stack = stack
        self._begin = begin
        self._outer = outer
        self._connection: Connection | None = None

    def __getattr__(self, name: str) -> Any:
        connection = self.connect()
        self._rows.write_pending(connection)
        return getattr(connection, name)

    def connect(self) -> Connection:
        """Return the connection, without the rows that the database does not have yet."""
        if self._connection is None:
            if self._outer is None:
                self._connection = self._stack.enter_context(self._begin())
            else:
                connection = self._outer.connect()
                self._stack.enter_context(connection.begin_nested())
                self._connection = connection
        return self._connection
