"""The `outbox` commands: list, flush and requeue what is not delivered to BIGHUB yet."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bighub_langgraph.cli import console, options

if TYPE_CHECKING:
    from bighub_langgraph.journal.admin import OutboxEntry

outbox = typer.Typer(
    help="List, deliver and requeue what is not delivered to BIGHUB yet.", no_args_is_help=True
)


@outbox.command("list")
def list_entries(
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    limit: options.LimitOption = 50,
    json: options.JsonOption = False,
) -> None:
    """List pending entries and dead letters (refused by BIGHUB several times), the oldest first.

    **Examples**

    ```
    bighub-langgraph outbox list --journal postgresql+psycopg://me@db/agents --json
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with options.open_journal(location) as journal:
        entries = journal.admin.outbox(limit=limit)
        pending = journal.pending_count()
        dead_letters = journal.pending_count(include_dead_letters=True) - pending
    if json:
        rows = [_entry_to_json(entry) for entry in entries]
        console.print_json({"pending": pending, "dead_letters": dead_letters, "entries": rows})
        return
    console.print_table(
        f"{pending} pending, {dead_letters} dead letters",
        ("id", "call", "kind", "since (UTC)", "tries", "next", "last error"),
        map(_entry_to_row, entries),
    )


@outbox.command("flush")
def flush_entries(
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    bighub: options.BighubOption = None,
    timeout: Annotated[float, typer.Option(min=0.0, help="Seconds to keep trying.")] = 30.0,
) -> None:
    """Deliver pending entries now.

    **Examples**

    ```
    bighub-langgraph outbox flush --bighub bighub.db --timeout 5
    ```

    Exit codes: 0 when nothing is pending any more, 1 when something is, 2 for bad usage.
    """
    from bighub_langgraph.guard import BighubGuard

    service = None if bighub is None else options.database_url(bighub)
    with (
        options.open_journal(location) as journal,
        BighubGuard(bighub=service, journal=journal) as guard,
    ):
        pending = guard.flush(timeout)
    console.print_line(f"{pending} entries pending" if pending else "everything is delivered")
    raise typer.Exit(console.NOT_DONE if pending else 0)


@outbox.command("requeue")
def requeue_entries(location: options.JournalOption = options.DEFAULT_JOURNAL) -> None:
    """Make dead letters pending again, once the reason for BIGHUB's refusal is fixed.

    **Example**

    ```
    bighub-langgraph outbox requeue && bighub-langgraph outbox flush
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with options.open_journal(location) as journal:
        count = journal.admin.requeue()
    console.print_line(f"{count} entries requeued")


def _entry_to_row(entry: "OutboxEntry") -> tuple[object, ...]:
    report = entry.report
    next_try = console.format_time(entry.due_at) if entry.due_at else "now"
    return (
        *(report.id, console.shorten_key(report.key), report.kind),
        *(console.format_time(entry.queued_at), report.tries),
        *("dead letter" if entry.dead_letter else next_try, entry.error),
    )


def _entry_to_json(entry: "OutboxEntry") -> dict[str, Any]:
    report = entry.report
    return {
        "id": report.id,
        "key": report.key,
        "kind": report.kind,
        "queued_at": entry.queued_at,
        "due_at": entry.due_at,
        "tries": report.tries,
        "refusals": report.refusals,
        "dead_letter": entry.dead_letter,
        "error": entry.error,
    }
