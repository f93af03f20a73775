"""The embedded engine over the database that a command line names."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from bighub_langgraph.cli.console import stop

if TYPE_CHECKING:
    from bighub_langgraph.local import LocalBighub, Settings

IN_MEMORY = "sqlite://"


def database_url(given: str | None) -> str:
    """A database URL from what was given: a URL, the path of a SQLite file, or nothing."""
    if given is None:
        return IN_MEMORY
    return given if "://" in given else f"sqlite:///{given}"


@contextmanager
def embedded_engine(
    given: str | None, settings: "Settings | None" = None
) -> "Iterator[LocalBighub]":
    """Open the embedded engine; a database that cannot be opened ends the command with code 2."""
    from sqlalchemy.exc import SQLAlchemyError

    from bighub_langgraph.local import LocalBighub

    try:
        client = LocalBighub(database_url(given), settings=settings)
    except (SQLAlchemyError, ImportError, OSError) as error:
        stop(f"--db {given}: {str(error).splitlines()[0]}")
    with closing(client):
        yield client
