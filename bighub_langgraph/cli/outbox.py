"""`outbox`: what BIGHUB has not been told yet, and why."""

from typing import Annotated

import typer

from bighub_langgraph.cli.console import plain_table, stdout, stop
from bighub_langgraph.cli.database import database_url
from bighub_langgraph.cli.journal import (
    DEFAULT,
    JournalOption,
    JsonOption,
    entry_as_json,
    moment,
    opened_journal,
    print_json,
)

LEFT = 1
SHORT = 12

outbox = typer.Typer(help="See and deliver what BIGHUB has not been told.", no_args_is_help=True)


@outbox.command()
def state(
    journal: JournalOption = DEFAULT,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the oldest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List what waits, and what was set aside after BIGHUB had refused it eight times.

    **Examples**

    ```
    bighub-langgraph outbox state
    bighub-langgraph outbox state --journal postgresql+psycopg://me@db/agents --json
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with opened_journal(journal) as opened:
        found = opened.books.outbox(limit=limit)
        waiting, everything = (
            opened.pending_count(),
            opened.pending_count(include_dead_letters=True),
        )
    if json:
        entries = [entry_as_json(one) for one in found]
        print_json({"waiting": waiting, "aside": everything - waiting, "entries": entries})
        return
    table = plain_table(f"{waiting} wait, {everything - waiting} are set aside")
    for name in ("id", "call", "tells", "since (UTC)", "tries", "next", "last error"):
        table.add_column(name, overflow="fold")
    for one in found:
        queued = one.queued
        due = "set aside" if one.dead_letter else moment(one.due_at) if one.due_at else "now"
        about = (str(queued.id), queued.report.key[:SHORT], queued.report.kind.value)
        table.add_row(*about, moment(one.queued_at), str(queued.tries), due, one.error)
    stdout().print(table)


@outbox.command()
def flush(
    journal: JournalOption = DEFAULT,
    bighub: Annotated[
        str | None,
        typer.Option(
            help="Whom to tell: an https URL, or the embedded engine's database. "
            "By default BIGHUB_API_KEY and BIGHUB_BASE_URL say."
        ),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.0, help="Seconds to go on trying.")] = 30.0,
) -> None:
    """Deliver what waits, now.

    **Examples**

    ```
    bighub-langgraph outbox flush
    bighub-langgraph outbox flush --bighub bighub.db --timeout 5
    ```

    Exit codes: 0 when nothing waits any more, 1 when something does, 2 for bad usage.
    """
    from bighub_langgraph.core.errors import ConfigurationError
    from bighub_langgraph.guard import BighubGuard

    whom = None if bighub is None else bighub if "://" in bighub else database_url(bighub)
    with opened_journal(journal) as opened:
        try:
            guard = BighubGuard(bighub=whom, journal=opened)
        except ConfigurationError as error:
            stop(str(error))
        left = guard.flush(timeout)
        guard.close()
    stdout().print(f"{left} entries wait" if left else "everything is delivered")
    raise typer.Exit(LEFT if left else 0)


@outbox.command()
def retry(journal: JournalOption = DEFAULT) -> None:
    """Give what was set aside a fresh start, once the reason it was refused for is mended.

    **Example**

    ```
    bighub-langgraph outbox retry && bighub-langgraph outbox flush
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with opened_journal(journal) as opened:
        again = opened.books.retry()
    stdout().print(f"{again} entries wait for delivery again")
