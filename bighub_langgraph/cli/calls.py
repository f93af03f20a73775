"""The `calls` commands: list, show, resolve, cancel and prune the calls in a guard's journal."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bighub_langgraph.cli import console, options
from bighub_langgraph.core.evidence import describe_reason
from bighub_langgraph.core.models import WAITING_STATES, Answer, Approval, State

if TYPE_CHECKING:
    from bighub_langgraph.journal.admin import CallView, HistoryEntry


calls = typer.Typer(help="List, show, resolve, cancel and prune calls.", no_args_is_help=True)


@calls.command("list")
def list_calls(  # noqa: PLR0917 - typer makes options of them
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    thread: options.ThreadOption = None,
    tool: options.ToolOption = None,
    status: Annotated[State | None, typer.Option(help="Only calls in this state.")] = None,
    waiting_longer_than: options.AgeOption = None,
    limit: options.LimitOption = 50,
    json: options.JsonOption = False,
) -> None:
    """List calls, the newest first.

    **Examples**

    ```
    bighub-langgraph calls list --status unknown
    bighub-langgraph calls list --waiting-longer-than 7d
    bighub-langgraph calls list --thread order-17 --tool refund --json
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with options.open_journal(location) as journal:
        if status is State.UNKNOWN:
            views = journal.admin.unknown_outcomes(thread=thread, tool=tool)[:limit]
        else:
            states = WAITING_STATES if waiting_longer_than is not None else frozenset()
            views = journal.admin.calls(
                thread=thread,
                tool=tool,
                states=states if status is None else {status},
                longer_than=waiting_longer_than,
                limit=limit,
            )
    if json:
        console.print_json([_call_to_json(view) for view in views])
        return
    rows = [
        (
            *(console.shorten_key(view.record.key), _status_of(view), view.record.tool),
            *(view.record.thread, console.format_time(view.updated_at)),
        )
        for view in views
    ]
    columns = ("key", "status", "tool", "thread", "since (UTC)")
    console.print_table(f"{len(rows)} calls", columns, rows)


@calls.command("show")
def show_call(
    key: options.KeyArgument,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    json: options.JsonOption = False,
) -> None:
    """Show one call and its history.

    **Examples**

    ```
    bighub-langgraph calls show 4f1c09ab
    bighub-langgraph calls show 4f1c09ab --journal postgresql+psycopg://me@db/agents --json
    ```

    Exit codes: 0 done, 2 for bad usage or a call that does not exist.
    """
    from bighub_langgraph.approvals.cards import describe_details
    from bighub_langgraph.approvals.inbox import find_call

    with options.open_journal(location) as journal:
        view = find_call(journal, key)
        history = journal.admin.history(view.record.key)
    if json:
        entries = [_entry_to_json(entry) for entry in history]
        console.print_json({**_call_to_json(view), "history": entries})
        return
    fields = _call_to_json(view)
    times = {name: console.format_time(fields[name]) for name in ("created_at", "updated_at")}
    console.print_fields(fields | times)
    rows = [
        (
            *(console.format_time(entry.at), entry.event, entry.state.value),
            "; ".join(describe_details(entry.details)),
        )
        for entry in history
    ]
    console.print_table("\nHistory", ("at (UTC)", "event", "state", "details"), rows)


@calls.command("resolve")
def resolve_call(  # noqa: PLR0917 - typer makes options of them
    key: options.KeyArgument,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    executed: Annotated[bool, typer.Option("--executed", help="The call took effect.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="No effect; do not run it.")] = False,
    run_again: Annotated[bool, typer.Option("--run-again", help="No effect; run it.")] = False,
    text: Annotated[str, typer.Option(help="The output or error that the model reads.")] = "",
    by: options.ByOption = "",
) -> None:
    """Resolve a call whose outcome is unknown. First check what happened, e.g. at the provider.

    The outcome is queued for delivery to BIGHUB. The thread continues when it is resumed; if it
    also asks a person about this call, the resolution recorded here counts.

    **Examples**

    ```
    bighub-langgraph calls resolve 4f1c09ab --executed --text "refunded, see receipt 88"
    bighub-langgraph calls resolve 4f1c09ab --failed --by alice
    ```

    Exit codes: 0 done, 1 if nothing was resolved, 2 for bad usage.
    """
    from bighub_langgraph.approvals.inbox import find_call, resolve_unknown_outcome
    from bighub_langgraph.core.errors import InvalidTransition

    answers = [Answer.RESPOND] * executed + [Answer.REJECT] * failed + [Answer.APPROVE] * run_again
    if len(answers) != 1:
        console.fail("pass exactly one of --executed, --failed and --run-again")
    approval = Approval(
        answers[0], time.time(), text=text, approver=by or options.find_login_name()
    )
    with options.open_journal(location) as journal:
        view = find_call(journal, key)
        name = f"{view.record.tool} {console.shorten_key(view.record.key)}"
        if not view.outcome_unknown:
            message = f"{name} is {_status_of(view)}; only an unknown outcome can be resolved"
            console.fail(message, console.NOT_DONE)
        try:
            resolve_unknown_outcome(journal, view.record, approval)
        except InvalidTransition as error:
            console.fail(f"the call was resolved by somebody else: {error}", console.NOT_DONE)
        status = _status_of(find_call(journal, view.record.key))
    console.print_line(f"{name} is now {status}")


@calls.command("cancel")
def cancel_call(
    key: options.KeyArgument,
    reason: options.ReasonOption,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    by: options.ByOption = "",
) -> None:
    """End a call that waits for an approval or for its start; it does not run.

    The outcome is queued for delivery to BIGHUB, which learns nothing from it. The model reads that
    the call was cancelled when the thread is resumed.

    **Example**

    ```
    bighub-langgraph calls cancel 4f1c09ab --reason "the order was withdrawn"
    ```

    Exit codes: 0 done, 1 without a reason or if the call does not wait any more, 2 for bad usage.
    """
    from bighub_langgraph.approvals.cards import Approver
    from bighub_langgraph.approvals.inbox import AlreadyAnswered, ApprovalInbox

    approver = Approver(by or options.find_login_name())
    with options.open_journal(location) as journal:
        try:
            card = ApprovalInbox(journal).cancel(key, reason, approver=approver)
        except AlreadyAnswered as error:
            console.fail(f"{error}; only a call that waits can be cancelled", console.NOT_DONE)
    console.print_line(f"{card.tool} {console.shorten_key(card.key)} is cancelled")


@calls.command("prune")
def prune_calls(
    older_than: Annotated[float, typer.Option(min=0.0, help="Age in days.")],
    location: options.JournalOption = options.DEFAULT_JOURNAL,
) -> None:
    """Delete completed calls older than this many days.

    Calls that are open, have an unknown outcome or are not delivered to BIGHUB yet are kept, and
    so are all calls of their threads. Prune the checkpoints of old threads first: a thread that is
    resumed after its calls were deleted runs them again.

    **Example**

    ```
    bighub-langgraph calls prune --older-than 90
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    with options.open_journal(location) as journal:
        count = journal.prune(older_than * options.SECONDS["d"])
    console.print_line(f"{count} calls deleted")


def _status_of(view: "CallView") -> str:
    # A call is also unknown while its journal entry still says "running" for a dead process.
    return (State.UNKNOWN if view.outcome_unknown else view.record.state).value


def _call_to_json(view: "CallView") -> dict[str, Any]:
    record = view.record
    return {
        "key": record.key,
        "status": _status_of(view),
        "state": record.state.value,
        "tool": record.tool,
        "thread": record.thread,
        "turn": record.turn,
        "call_id": record.call_id,
        "created_at": record.created_at,
        "updated_at": view.updated_at,
        "starts": record.starts,
        "reason": describe_reason(record),
        "request_id": record.request_id,
        "edited_from": record.edited_from,
        "arguments": record.request.context.get("arguments"),
        "value": record.request.value,
    }


def _entry_to_json(entry: "HistoryEntry") -> dict[str, Any]:
    head = {"at": entry.at, "event": entry.event, "state": entry.state.value}
    return {**head, "version": entry.version, **entry.details}
