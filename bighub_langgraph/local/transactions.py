"""Transactions: of threads that take turns on SQLite's one connection, and of a pool's connections.

A transaction within another one of the same thread is a part of it: undone by itself when it
fails, committed with the whole.
"""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine

_WHOLE = ("BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",))
_EPOCHS = itertools.count(1)
_PART = ("SAVEPOINT part", "RELEASE part", ("ROLLBACK TO part", "RELEASE part"))


class Turns:
    """Transactions of several threads on one connection that stays open.

    SQLite has one writer at a time anyway; waiting in the process is fairer than its retries.

    Attributes:
        epoch: Another one when the store may have changed by more than what was committed here:
            something was undone, or another connection wrote. What was remembered under an
            earlier one holds no longer.
    """

    def __init__(self, database: Engine, *, alone: bool) -> None:
        self.epoch: int | None = next(_EPOCHS)
        self._database = database
        self._alone = alone
        self._version: object = None
        self._error: type[Exception] = database.dialect.loaded_dbapi.Error
        self._turn = threading.RLock()
        self._connection: Connection | None = None
        self._depth = 0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that commits at its end, or leaves nothing behind."""
        with self._turn:
            if self._connection is None:
                self._connection = self._database.connect()
            # Straight to the driver: what SQLAlchemy does around it takes as long as a decision.
            driver: Any = self._connection.connection.dbapi_connection
            begin, commit, undo = _PART if self._depth else _WHOLE
            if self._depth and not driver.in_transaction:
                raise self._error("the transaction around this one was undone")
            driver.execute(begin)
            if not (self._alone or self._depth):
                self._look_around(driver)
            self._depth += 1
            try:
                yield self._connection
                driver.execute(commit)
            except BaseException:
                self.epoch = next(_EPOCHS)
                with suppress(self._error):  # a full disk undoes a transaction by itself
                    for statement in undo:
                        driver.execute(statement)
                raise
            finally:
                self._depth -= 1

    def _look_around(self, driver: Any) -> None:
        """Notice when another connection has written."""
        version = driver.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            self.epoch, self._version = next(_EPOCHS), version

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Pooled:
    """Transactions on connections of their own; others may write at any time."""

    epoch: int | None = None

    def __init__(self, database: Engine) -> None:
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
