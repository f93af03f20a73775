"""A journal's database: short transactions on SQLite or PostgreSQL, and what goes wrong in them."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.journal.connections import OneWriter, Pooled, checked, opened


class Transaction:
    """Runs named SQL on one connection. The texts are compiled once per database."""

    def __init__(self, cursor: Any, prepared: Callable[[str], "_Prepared"]) -> None:
        self._cursor = cursor
        self._prepared = prepared

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        """What a query finds."""
        self.change(sql, **values)
        names = [column[0] for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor.fetchall()]

    def change(self, sql: str, **values: Any) -> int:
        """Run a statement; returns how many rows it changed."""
        text, placed = self._prepared(sql)
        self._cursor.execute(text, placed(values))
        return int(self._cursor.rowcount)

    def change_each(self, sql: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Run a statement once for each of some rows."""
        if rows:
            text, placed = self._prepared(sql)
            self._cursor.executemany(text, list(map(placed, rows)))


class Database:
    """One database behind its connections; threads may share it, and forked children.

    The driver's own cursor runs the statements: through SQLAlchemy's a claim costs twice as much.

    Args:
        url: SQLAlchemy's URL.
        clock: Seconds since the epoch on this machine.
    """

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self.url = checked(url)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._clock = clock
        self._inherited: list[object] = []
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
        with self.errors_told(), self._writers.connection() as connection:
            cursor = connection.cursor()
            try:
                yield Transaction(cursor, self._prepare)
            finally:
                cursor.close()
            connection.commit()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A connection to read from; on SQLite it waits for no writer."""
        with self.errors_told(), self._readers.connection() as connection:
            cursor = connection.cursor()
            try:
                yield Transaction(cursor, self._prepare)
            finally:
                cursor.close()

    def after_fork(self) -> None:
        """Open connections of one's own in a forked child.

        It keeps those of its parent and never closes them: SQLite would take the file's locks off.
        """
        self._inherited += (self._engine, self._writers)
        self._connect()

    def close(self) -> None:
        """Let go of the connections."""
        self._readers.close()
        self._writers.close()
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

    def _connect(self) -> None:
        self._engine = opened(self.url)
        self._readers = Pooled(self._engine)
        self._writers = OneWriter(self._engine) if self.sqlite else self._readers
        self._driver_error: type[Exception] = self._engine.dialect.loaded_dbapi.Error
        self._compiled: dict[str, _Prepared] = {}

    def _prepare(self, sql: str) -> "_Prepared":
        if (known := self._compiled.get(sql)) is None:
            compiled = sa.text(sql).compile(dialect=self._engine.dialect)
            known = _Prepared(str(compiled), _placed(compiled.positiontup))
            self._compiled[sql] = known
        return known


Values = Mapping[str, Any]


class _Prepared(NamedTuple):
    """A statement in the driver's own style, and what puts its values where that has them."""

    text: str
    placed: Callable[[Values], Any]


def _placed(names: Sequence[str] | None) -> Callable[[Values], Any]:
    if names is None:  # a driver that takes them by name
        return dict
    if len(names) > 1:
        return itemgetter(*names)
    return lambda values: [values[name] for name in names]
