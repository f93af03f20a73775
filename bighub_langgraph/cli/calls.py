"""`calls`: what ran, who said so, and what a person knows of a call in doubt."""

import getpass
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bighub_langgraph.cli.console import plain_table, stderr, stdout, stop
from bighub_langgraph.cli.journal import (
    DEFAULT,
    JournalOption,
    JsonOption,
    call_as_json,
    moment,
    note_as_json,
    opened_journal,
    print_json,
    status_of,
)

if TYPE_CHECKING:
    from bighub_langgraph.core.models import Approval
    from bighub_langgraph.journal.books import Line, Note
    from bighub_langgraph.journal.journal import Journal

REFUSED = 1
IN_DOUBT = "in_doubt"
DAY = 86_400.0
SHORT = 12

calls = typer.Typer(help="List calls, show one, settle one in doubt.", no_args_is_help=True)
Key = Annotated[str, typer.Argument(help="The call's key, or how it begins.")]


@calls.command("list")
def list_calls(  # noqa: PLR0917 - typer makes options of them
    journal: JournalOption = DEFAULT,
    thread: Annotated[str | None, typer.Option(help="Only calls of this thread.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only calls of this tool.")] = None,
    status: Annotated[
        str | None, typer.Option(help="Only calls in this state; `in_doubt` for those in doubt.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest first.")] = 50,
    json: JsonOption = False,
) -> None:
    """List calls, the newest first.

    **Examples**

    ```
    bighub-langgraph calls list --journal calls.db
    bighub-langgraph calls list --status in_doubt
    bighub-langgraph calls list --thread order-17 --tool refund --json
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with opened_journal(journal) as opened:
        if status == IN_DOUBT:
            found = opened.books.in_doubt(thread=thread, tool=tool)[:limit]
        else:
            states = [] if status is None else [_state(status)]
            found = opened.books.calls(thread=thread, tool=tool, states=states, limit=limit)
    if json:
        print_json([call_as_json(line) for line in found])
        return
    table = plain_table(f"{len(found)} calls")
    for name in ("key", "status", "tool", "thread", "since (UTC)"):
        table.add_column(name, overflow="fold")
    for line in found:
        record = line.record
        row = (record.key[:SHORT], status_of(line), record.tool, record.thread)
        table.add_row(*row, moment(line.moved_at))
    stdout().print(table)


@calls.command()
def show(key: Key, journal: JournalOption = DEFAULT, json: JsonOption = False) -> None:
    """Show one call and everything that happened to it.

    **Examples**

    ```
    bighub-langgraph calls show 4f1c09ab
    bighub-langgraph calls show 4f1c09ab --journal postgresql+psycopg://me@db/agents --json
    ```

    Exit codes: 0 done, 2 for bad usage or a call that is not there.
    """
    with opened_journal(journal) as opened:
        line = _only(opened, key)
        notes = opened.books.history(line.record.key)
    if json:
        print_json({**call_as_json(line), "history": [note_as_json(note) for note in notes]})
        return
    for name, value in call_as_json(line).items():
        if value not in (None, ""):
            stdout().print(f"{name:>12}  {_said(name, value)}", markup=False)
    table = plain_table("\nHistory")
    for name in ("at (UTC)", "event", "state", "said"):
        table.add_column(name, overflow="fold")
    for note in notes:
        table.add_row(moment(note.at), note.event, note.state.value, _summary(note))
    stdout().print(table)


@calls.command()
def resolve(  # noqa: PLR0917 - typer makes options of them
    key: Key,
    journal: JournalOption = DEFAULT,
    executed: Annotated[bool, typer.Option("--executed", help="It took effect.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="It did not, and shall not.")] = False,
    run_again: Annotated[
        bool, typer.Option("--run-again", help="It did not; the thread may run it again.")
    ] = False,
    text: Annotated[
        str, typer.Option(help="What the model shall read: the tool's output, or why it failed.")
    ] = "",
    by: Annotated[str, typer.Option(help="Who says so; your login by default.")] = "",
) -> None:
    """Settle a call in doubt: say what really became of it. Look first, at the payment provider.

    Its outcome is queued for BIGHUB. The thread goes on when it is resumed; where a person was
    asked about this call there, what was said here counts.

    **Examples**

    ```
    bighub-langgraph calls resolve 4f1c09ab --executed --text "refunded, see receipt 88"
    bighub-langgraph calls resolve 4f1c09ab --failed --by alice
    bighub-langgraph calls resolve 4f1c09ab --run-again
    ```

    Exit codes: 0 done, 1 when the call is not in doubt, 2 for bad usage.
    """
    from bighub_langgraph.core.models import Answer, Approval

    said = [Answer.RESPOND] * executed + [Answer.REJECT] * failed + [Answer.APPROVE] * run_again
    if len(said) != 1:
        stop("say exactly one of --executed, --failed and --run-again")
    approval = Approval(said[0], time.time(), text=text, approver=by or getpass.getuser())
    with opened_journal(journal) as opened:
        line = _settled(opened, _only(opened, key), approval)
    stdout().print(f"{line.record.tool} {line.record.key[:SHORT]} is {status_of(line)} now")


@calls.command()
def prune(
    older_than: Annotated[float, typer.Option(min=0.0, help="Age in days.")],
    journal: JournalOption = DEFAULT,
) -> None:
    """Forget settled calls that are older than so many days.

    Calls that are open, in doubt or not told to BIGHUB yet stay, and so do all calls of their
    threads. Prune the checkpoints of old threads first: a thread that is resumed after its calls
    were forgotten runs them as new ones.

    **Example**

    ```
    bighub-langgraph calls prune --older-than 90
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with opened_journal(journal) as opened:
        forgotten = opened.prune(older_than * DAY)
    stdout().print(f"{forgotten} calls forgotten")


def _state(word: str) -> Any:
    from bighub_langgraph.core.models import State

    if word not in set(State):
        stop(f"--status is one of {', '.join([*State, IN_DOUBT])}, not {word!r}")
    return State(word)


def _only(journal: "Journal", key: str) -> "Line":
    found = journal.books.matching(key)
    if len(found) != 1:
        several = "more than one call" if found else "no call"
        stop(f"there is {several} whose key begins with {key!r}")
    return found[0]


def _settled(journal: "Journal", line: "Line", approval: "Approval") -> "Line":
    """What the journal says after a person's word; it refuses one about a call not in doubt."""
    from bighub_langgraph.core.errors import InvalidTransition
    from bighub_langgraph.core.execution import event_for_answer
    from bighub_langgraph.core.lifecycle import OwnerLost
    from bighub_langgraph.core.models import State
    from bighub_langgraph.core.reporting import ReportingConfig

    record, told = line.record, ReportingConfig()
    if not line.in_doubt:
        stderr().print(f"{record.tool} {record.key[:SHORT]} is {status_of(line)}, not in doubt")
        raise typer.Exit(REFUSED)
    try:
        if record.state is State.RUNNING:
            gone = OwnerLost(record.owner or "", "the process that ran it is gone")
            journal.transition(record.key, gone, told)
        journal.transition(record.key, event_for_answer(approval), told)
    except InvalidTransition as error:
        stderr().print(f"somebody was faster: {error}")
        raise typer.Exit(REFUSED) from error
    return _only(journal, record.key)


def _said(name: str, value: Any) -> str:
    return moment(value) if name.endswith("_at") else str(value)


def _summary(note: "Note") -> str:
    """Who said what, and on which evidence, in a few words."""
    said = note.said
    parts = []
    if decision := said.get("decision"):
        parts.append(f"BIGHUB: {decision['recommendation']} ({decision['request_id']})")
    if approval := said.get("approval"):
        sure = "verified" if approval["verified"] else "not verified"
        parts.append(f"{approval['answer']} by {approval['approver'] or 'nobody named'} ({sure})")
        parts.append(approval["comment"] or approval["text"])
    parts += [said.get("reason", ""), said.get("error", "")]
    return "; ".join(part for part in parts if part)
