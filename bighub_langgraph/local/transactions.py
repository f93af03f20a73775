"""Transactions: of threads that take turns on SQLite's one connection, and of a pool's connections.

A transaction within another one of the same thread is a part of it: undone by itself when it
fails, committed with the whole.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine

from bighub_langgraph.concurrency import fork_safe_lock

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
        self._database = database
        self._alone = alone
        self._version: object = None
        self._error: type[Exception] = database.dialect.loaded_dbapi.Error
        self._turn = fork_safe_lock()
        self._owner: int | None = None
        self._connection: Connection | None = None
        self._driver: Any = None

    def transaction(self) -> AbstractContextManager[Connection]:
        """A transaction that commits at its end, or leaves nothing behind."""
        # Only a generator is sure to come to its end when a signal's handler raises around it.
        return self._part() if self._owner == threading.get_ident() else self._whole()

    @contextmanager
    def _whole(self) -> Iterator[Connection]:
        with self._turn:
            try:
                self._owner = threading.get_ident()
                if self._connection is None:
                    self._connection = self._database.connect()
                    # Straight to the driver: what is around it takes as long as a decision.
                    self._driver = self._connection.connection.dbapi_connection
                self._driver.execute("BEGIN IMMEDIATE")
                if not self._alone:
                    self._look_around()
                yield self._connection
                self._driver.execute("COMMIT")
            except BaseException:
                self._undo(("ROLLBACK",))
                self.pending = {}
                raise
            finally:
                self._owner = None

    @contextmanager
    def _part(self) -> Iterator[Connection]:
        if self._connection is None or not self._driver.in_transaction:  # a full disk undoes it
            raise self._error("the transaction around this one was undone")
        before = dict(self.pending)
        self._driver.execute("SAVEPOINT part")
        try:
            yield self._connection
            self._driver.execute("RELEASE part")
        except BaseException:
            self._undo(("ROLLBACK TO part", "RELEASE part"))
            self.pending = before
            raise

    def changed(self) -> None:
        """Note that the store changed by something that tells nobody."""
        self.epoch = next(_EPOCHS)

    def close(self) -> None:
        """Let go of the connection; what others write from now on is not noticed."""
        self.changed()
        if self._connection is not None:
            self._connection.close()
            self._connection = self._driver = None

    def _undo(self, statements: tuple[str, ...]) -> None:
        self.changed()
        if self._driver is None:  # it could not even connect
            return
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
