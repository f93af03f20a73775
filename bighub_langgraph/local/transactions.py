"""Transactions: of threads that take turns on SQLite's one connection, and of a pool's connections.

A transaction within another one of the same thread is a part of it: undone by itself when it
fails, committed with the whole.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self

from sqlalchemy import Connection, Engine

# How they end: well, or as if they had not been.
_WHOLE_ENDS = "COMMIT", ("ROLLBACK",)
_PART_ENDS = "RELEASE part", ("ROLLBACK TO part", "RELEASE part")
_EPOCHS = itertools.count(1)


class Turns:
    """Transactions of several threads on one connection that stays open.

    SQLite has one writer at a time anyway; waiting in the process is fairer than its retries.

    Attributes:
        epoch: Another one when the store may have changed by more than what was committed here:
            something was undone, another connection wrote, or something wrote that tells nobody.
            What was remembered under an earlier one holds no longer.
        pending: What waits to be written before the commit. A part that is undone leaves it as it
            was before.
    """

    def __init__(self, database: Engine, *, alone: bool) -> None:
        self.epoch: int | None = next(_EPOCHS)
        self.pending: dict[str, Any] = {}
        self._pending_before: list[dict[str, Any]] = []  # of each part that is going on
        self._database = database
        self._alone = alone
        self._version: object = None
        self._error: type[Exception] = database.dialect.loaded_dbapi.Error
        self._turn = threading.RLock()
        self._connection: Connection | None = None
        self._driver: Any = None
        self._depth = 0

    def transaction(self) -> Self:
        """A transaction that commits at its end, or leaves nothing behind."""
        return self  # what is within is told by the depth: one that is made anew costs more

    def __enter__(self) -> Connection:
        self._turn.acquire()
        try:
            if self._connection is None:
                self._connection = self._database.connect()
                # Straight to the driver: what SQLAlchemy does around takes as long as a decision.
                self._driver = self._connection.connection.dbapi_connection
            self._begin()
        except BaseException:
            self._turn.release()
            raise
        self._pending_before.append(dict(self.pending))
        self._depth += 1
        return self._connection

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._depth -= 1
        before = self._pending_before.pop()
        commit, undo = _PART_ENDS if self._depth else _WHOLE_ENDS
        try:
            if kind is None:
                self._driver.execute(commit)
            else:
                self._undo(undo)
                self.pending = before
        except BaseException:
            self._undo(undo)
            self.pending = before
            raise
        finally:
            self._turn.release()

    def changed(self) -> None:
        """Note that the store changed by something that tells nobody."""
        self.epoch = next(_EPOCHS)

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _begin(self) -> None:
        if self._depth:
            if not self._driver.in_transaction:
                raise self._error("the transaction around this one was undone")
            self._driver.execute("SAVEPOINT part")
            return
        self._driver.execute("BEGIN IMMEDIATE")
        if not self._alone:
            self._look_around()

    def _undo(self, statements: tuple[str, ...]) -> None:
        self.changed()
        with suppress(self._error):  # a full disk undoes a transaction by itself
            for statement in statements:
                self._driver.execute(statement)

    def _look_around(self) -> None:
        """Notice when another connection has written."""
        version = self._driver.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self.epoch, self._version = next(_EPOCHS), version


class Pooled:
    """Transactions on connections of their own; others may write at any time."""

    epoch: int | None = None

    def __init__(self, database: Engine) -> None:
        self.pending: dict[str, Any] = {}
        self._database = database
        self._open = threading.local()
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that commits at its end, or leaves nothing behind."""
        outer: Connection | None = getattr(self._open, "connection", None)
        if outer is not None:
            with outer.begin_nested():
                yield outer
            return
        with self._database.connect() as connection:
            self._open.connection = connection
            try:
                with connection.begin():
                    yield connection
            finally:
                self._open.connection = None
                if self._closed:
                    connection.invalidate()  # its pool is gone: nobody else would ever close it

    def close(self) -> None:
        """Nothing stays open between transactions, nor after one that is still going on."""
        self._closed = True
