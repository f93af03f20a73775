"""Empty databases for a measurement, and plain connections to them."""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Database:
    """One database, for the journal by its URL and for the driver alone."""

    url: str
    mark: str
    begin: str
    connect: Callable[[], AbstractContextManager[Any]]


@contextmanager
def databases(kind: str) -> Iterator[Iterator[Database]]:
    """As many new databases as are drawn, on `sqlite` or `postgres`."""
    with ExitStack() as stack:
        yield _POOLS[kind](stack)


def _sqlite(stack: ExitStack) -> Iterator[Database]:
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    for number in count():
        path = home / f"{number}.db"
        yield Database(f"sqlite:///{path}", "?", "BEGIN IMMEDIATE", partial(_sqlite3, path))


def _sqlite3(path: Path) -> AbstractContextManager[Any]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return closing(connection)


def _postgres(stack: ExitStack) -> Iterator[Database]:
    from tests import postgres

    server = stack.enter_context(postgres.a_server())
    while True:
        url = stack.enter_context(postgres.database(server))
        yield Database(url, "%s", "BEGIN", partial(_psycopg, postgres.plain(url)))


def _psycopg(url: str) -> AbstractContextManager[Any]:
    import psycopg

    return closing(psycopg.connect(url, autocommit=True))


_POOLS = {"sqlite": _sqlite, "postgres": _postgres}
