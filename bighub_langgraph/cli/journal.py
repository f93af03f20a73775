"""The journal that a command line names, and how its times and calls are said."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bighub_langgraph.cli.console import stop
from bighub_langgraph.cli.database import database_url

if TYPE_CHECKING:
    from bighub_langgraph.journal.books import Line, Note, Waiting
    from bighub_langgraph.journal.journal import Journal

JournalOption = Annotated[
    str,
    typer.Option(
        "--journal",
        "--db",
        envvar="BIGHUB_JOURNAL",
        help="The guard's journal: the path of a SQLite file, or a URL.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
DEFAULT = "calls.db"


@contextmanager
def opened_journal(given: str) -> "Iterator[Journal]":
    """Open a journal that is there; a mistyped path makes no new one and ends with code 2."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from bighub_langgraph.core.errors import BighubGuardError
    from bighub_langgraph.journal.journal import Journal

    url = database_url(given)
    try:
        file = make_url(url).database if url.startswith("sqlite") else None
        if file and not Path(file).is_file():
            stop(f"there is no journal {file}; name it with --journal or BIGHUB_JOURNAL")
        journal = Journal(url)
    except (BighubGuardError, ArgumentError) as error:
        stop(str(error))
    with closing(journal):
        yield journal


def moment(at: float) -> str:
    """A time as people read it, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def print_json(told: Any) -> None:
    """Print plain JSON."""
    print(json.dumps(told, indent=2))


def status_of(line: "Line") -> str:
    """The state of a call; `in_doubt` where nobody knows what became of it."""
    return "in_doubt" if line.in_doubt else line.record.state.value


def call_as_json(line: "Line") -> dict[str, Any]:
    """A call with everything the journal knows of it."""
    record = line.record
    told: dict[str, Any] = {
        "key": record.key,
        "status": status_of(line),
        "state": record.state.value,
        "tool": record.tool,
        "thread": record.thread,
        "turn": record.turn,
        "call_id": record.call_id,
        "created_at": record.created_at,
        "moved_at": line.moved_at,
        "starts": record.starts,
        "reason": record.reason,
        "request_id": record.request_id,
        "edited_from": record.edited_from,
        "arguments": record.request.context.get("arguments"),
        "value": record.request.value,
    }
    return told


def note_as_json(note: "Note") -> dict[str, Any]:
    """One line of a call's history."""
    said: Mapping[str, Any] = note.said
    return {
        "at": note.at,
        "event": note.event,
        "state": note.state.value,
        "version": note.version,
        **said,
    }


def entry_as_json(waiting: "Waiting") -> dict[str, Any]:
    """One undelivered entry."""
    queued = waiting.queued
    return {
        "id": queued.id,
        "key": queued.report.key,
        "kind": queued.report.kind.value,
        "queued_at": waiting.queued_at,
        "due_at": waiting.due_at,
        "tries": queued.tries,
        "refusals": queued.refusals,
        "aside": waiting.dead_letter,
        "error": waiting.error,
    }
