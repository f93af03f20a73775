"""Options that several commands share, and how the databases that they name are opened."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bighub_langgraph.cli.console import fail

if TYPE_CHECKING:
    from bighub_langgraph.journal.sql import Journal
    from bighub_langgraph.local import LocalBighub, Settings

DEFAULT_JOURNAL = "calls.db"

JournalOption = Annotated[
    str,
    typer.Option("--journal", "--db", envvar="BIGHUB_JOURNAL", help="A SQLite file or a URL."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def database_url(location: str | None) -> str:
    """Get the URL of a database: from a URL, a SQLite file, or None for a new one in memory."""
    if location is None:
        return "sqlite://"
    return location if "://" in location else f"sqlite:///{location}"


@contextmanager
def open_journal(location: str) -> "Iterator[Journal]":
    """Open an existing journal; exit with code 2 if there is none, so a typo creates no file."""
    from bighub_langgraph.core.errors import BighubGuardError
    from bighub_langgraph.journal.sql import Journal
    from bighub_langgraph.sql_engines import parse_location

    try:
        url = parse_location(location)
        file = url.database if url.get_backend_name() == "sqlite" else None
        if file and not Path(file).is_file():
            fail(f"there is no journal {file}; pass --journal or set BIGHUB_JOURNAL")
        journal = Journal(url)
    except BighubGuardError as error:
        fail(str(error))
    with closing(journal):
        yield journal


@contextmanager
def open_local_bighub(
    location: str | None, settings: "Settings | None" = None
) -> "Iterator[LocalBighub]":
    """Open the embedded engine; exit with code 2 if its database cannot be opened."""
    from bighub_langgraph.local import LocalBighub

    with exit_on_database_error(location):
        client = LocalBighub(database_url(location), settings=settings)
    with closing(client):
        yield client


@contextmanager
def exit_on_database_error(location: str | None) -> Iterator[None]:
    """Report a database error in one line and exit with code 2."""
    from sqlalchemy.exc import SQLAlchemyError

    from bighub_langgraph.core.errors import BighubGuardError

    try:
        yield
    except (BighubGuardError, SQLAlchemyError, ImportError, OSError) as error:
        fail(f"--db {location}: {str(error).splitlines()[0]}")
