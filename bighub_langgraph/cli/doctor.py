"""`doctor`: whether everything is as it should be, and what needs a person."""

import os
import platform
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bighub_langgraph.cli.console import stdout
from bighub_langgraph.cli.journal import (
    DEFAULT,
    JournalOption,
    JsonOption,
    moment,
    opened_journal,
    print_json,
)

if TYPE_CHECKING:
    from bighub_langgraph.journal.journal import Journal

NEEDS_A_PERSON = 1
PARTS = (
    *("bighub-langgraph", "bighub", "langgraph", "langgraph-prebuilt", "langgraph-checkpoint"),
    *("langchain-core", "langchain", "openai", "SQLAlchemy", "psycopg"),
)
SKEW = 5.0
LATE = 3600.0

Health = Literal["fine", "note", "needs a person"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    health: Health
    said: str


def doctor(
    journal: JournalOption = DEFAULT,
    bighub: Annotated[
        str | None, typer.Option(help="BIGHUB's URL; BIGHUB_BASE_URL by default.")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask BIGHUB nothing.")] = False,
    json: JsonOption = False,
) -> None:
    """Look at the keys, BIGHUB, the journal, its clock, calls in doubt and the outbox.

    Calls that wait for an approval are listed and are no reason to worry: their threads ask for it.

    **Examples**

    ```
    bighub-langgraph doctor --journal calls.db
    bighub-langgraph doctor --journal postgresql+psycopg://me@db/agents --json
    ```

    Exit codes: 0 when all is well, 1 when something needs a person, 2 for bad usage.
    """
    with opened_journal(journal) as opened:
        found = [*_versions(), *_service(bighub, offline=offline), *_books(opened)]
    if json:
        print_json([asdict(one) for one in found])
    else:
        for one in found:
            colour = {"fine": "green", "note": "yellow", "needs a person": "bold red"}[one.health]
            stdout().print(f"[{colour}]{one.health:>14}[/]  {one.what}: ", end="")
            stdout().print(one.said, markup=False, soft_wrap=True)
    raise typer.Exit(NEEDS_A_PERSON if any(one.health == "needs a person" for one in found) else 0)


def _versions() -> Iterator[Finding]:
    found = [f"Python {platform.python_version()}"]
    for part in PARTS:
        try:
            found.append(f"{part} {version(part)}")
        except PackageNotFoundError:
            continue
    yield Finding("versions", "fine", ", ".join(found))


def _service(url: str | None, *, offline: bool) -> Iterator[Finding]:
    key = os.environ.get("BIGHUB_API_KEY")
    url = url or os.environ.get("BIGHUB_BASE_URL")
    if not key and not url:
        said = "neither BIGHUB_API_KEY nor BIGHUB_BASE_URL is set; guards here need bighub=..."
        yield Finding("keys", "note", said)
        return
    yield Finding("keys", "fine", "BIGHUB_API_KEY is set" if key else "no BIGHUB_API_KEY is set")
    if not offline:
        yield _asked(url)


def _asked(url: str | None) -> Finding:
    """Whether BIGHUB answers, and takes our key: by asking for the open approvals."""
    from bighub_langgraph.bighub.client_factory import open_clients
    from bighub_langgraph.bighub.sdk_engine import classify_error
    from bighub_langgraph.core.errors import ConfigurationError, EngineAuthError, EngineUnavailable

    began = time.monotonic()
    try:
        both = open_clients(url, retries=0)
    except ConfigurationError as error:
        return Finding("BIGHUB", "needs a person", str(error))
    try:
        both.blocking.approvals.list(limit=1)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        found = classify_error(error)
        if isinstance(found, EngineUnavailable | EngineAuthError):
            return Finding("BIGHUB", "needs a person", str(found))
    finally:
        both.close()
    milliseconds = (time.monotonic() - began) * 1000
    return Finding("BIGHUB", "fine", f"answers in {milliseconds:.0f} ms")


def _books(journal: "Journal") -> Iterator[Finding]:
    name = f"{journal.name}, schema version {journal.schema_version}"
    yield Finding("journal", "fine", name)
    skew = journal.clock_skew
    health: Health = "fine" if abs(skew) < SKEW else "needs a person"
    yield Finding("clock", health, f"the database's is {skew:+.1f} seconds ahead of this machine's")
    if complaint := journal.unsafe:
        yield Finding("durability", "needs a person", complaint)
    counts = {state.value: number for state, number in journal.books.counts().items()}
    listed = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    yield Finding("calls", "fine", listed or "none yet")
    yield from _in_doubt(journal)
    yield from _undelivered(journal)


def _in_doubt(journal: "Journal") -> Iterator[Finding]:
    for line in journal.books.in_doubt():
        record = line.record
        said = (
            f"{record.key[:12]} in thread {record.thread} since {moment(line.moved_at)}: "
            f"{record.reason or 'its process is gone'}; see `calls show`, then `calls resolve`"
        )
        yield Finding(f"{record.tool} is in doubt", "needs a person", said)


def _undelivered(journal: "Journal") -> Iterator[Finding]:
    waiting = journal.books.outbox(dead_letter=False, limit=1)
    number = journal.pending_count()
    health: Health = "fine"
    said = "everything is delivered"
    if waiting:
        late = time.time() - waiting[0].queued_at > LATE
        health = "needs a person" if late else "note"
        said = f"{number} entries wait, the oldest since {moment(waiting[0].queued_at)}"
        said += f": {waiting[0].error}" if waiting[0].error else ""
    yield Finding("outbox", health, said)
    if aside := journal.pending_count(include_dead_letters=True) - number:
        said = f"{aside} entries were refused eight times; see `outbox state`, then `outbox retry`"
        yield Finding("set aside", "needs a person", said)
