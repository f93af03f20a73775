"""The `approvals` commands: list, show and answer the calls that wait for a person."""

import json as json_module
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bighub_langgraph.cli import console, options
from bighub_langgraph.core.evidence import describe_risk
from bighub_langgraph.core.jsonable import to_jsonable, truncate
from bighub_langgraph.core.models import Answer

if TYPE_CHECKING:
    from bighub_langgraph.approvals.cards import ApprovalCard
    from bighub_langgraph.approvals.inbox import ApprovalInbox

# How often `--watch` looks for changes, in seconds.
WATCH_INTERVAL = 0.5
LONGEST_VALUE = 2_000

approvals = typer.Typer(
    help="List, show and answer the calls that wait for a person.", no_args_is_help=True
)
CommentOption = Annotated[str, typer.Option(help="For the history and for BIGHUB.")]


@approvals.command("list")
def list_approvals(  # noqa: PLR0917 - typer makes options of them
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    agent: Annotated[str | None, typer.Option(help="Only calls of this agent.")] = None,
    tool: options.ToolOption = None,
    thread: options.ThreadOption = None,
    min_risk: Annotated[float | None, typer.Option(help="Only calls of this risk or more.")] = None,
    waiting_longer_than: options.AgeOption = None,
    limit: options.LimitOption = 50,
    watch: Annotated[bool, typer.Option("--watch", help="List again when one changes.")] = False,
    json: options.JsonOption = False,
) -> None:
    """List the calls that wait for a person, the riskiest first.

    With `--watch` it goes on until Ctrl-C; with `--json`, too, it prints each call that is new or
    has changed as one line.

    **Examples**

    ```
    bighub-langgraph approvals list --watch
    bighub-langgraph approvals list --agent support-desk --min-risk 0.5 --json
    ```

    Exit codes: 0 done, 2 for bad usage or a journal that cannot be opened.
    """
    filters = {"agent": agent, "tool": tool, "thread": thread, "min_risk": min_risk}
    filters |= {"longer_than": waiting_longer_than, "limit": limit}
    with _open_inbox(location) as inbox, suppress(KeyboardInterrupt):
        change_by_key: dict[str, int] = {}
        for cards in _list_cards(inbox, filters, watch=watch):
            if not json:
                _print_table(cards, clear=watch)
            elif not watch:
                console.print_json([_card_to_json(card) for card in cards])
            else:
                change_by_key = _print_changes(inbox, cards, change_by_key)


@approvals.command("show")
def show_approval(
    key: options.KeyArgument,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    json: options.JsonOption = False,
) -> None:
    """Show one call with everything that a person needs to answer about it.

    **Example**

    ```
    bighub-langgraph approvals show 4f1c09ab
    ```

    Exit codes: 0 done, 2 for bad usage or a call that does not exist.
    """
    with _open_inbox(location) as inbox:
        card = inbox.get(key)
    if json:
        console.print_json(_card_to_json(card))
        return
    head = {
        "key": card.key,
        "call": f"{card.tool}, {describe_risk(card.risk_score)}",
        "agent": card.agent or "none: its caller resumes it",
        "thread": card.thread,
        "state": _state_of(card),
        "asked": f"{console.format_time(card.asked_at)} UTC",
        "expires": card.expires_at and f"{console.format_time(card.expires_at)} UTC",
        "allowed": ", ".join(card.allowed_answers),
        "approved by": ", ".join(vote.approver or "unnamed" for vote in card.votes),
        "approvals": f"{card.required_approvals} needed" if card.required_approvals > 1 else "",
        "approvers": ", ".join(card.approvers),
    }
    console.print_fields(head)
    rows = [(name, _format_value(value)) for name, value in card.arguments.items()]
    console.print_table("\nArguments", ("name", "value"), rows)
    for line in ["", *card.description.splitlines()]:
        console.print_line(line)


@approvals.command("approve")
def approve_call(
    key: options.KeyArgument,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    comment: CommentOption = "",
    by: options.ByOption = "",
) -> None:
    """Approve a call. Its agent goes on when its thread is resumed, or by its worker.

    A name in the terminal is not verified, so calls that need several people or certain people are
    approved on the page.

    **Example**

    ```
    bighub-langgraph approvals approve 4f1c09ab --comment "receipt checked"
    ```

    Exit codes: 0 done, 1 if the answer does not count, 2 for bad usage.
    """
    _answer(location, key, Answer.APPROVE, by, comment=comment)


@approvals.command("reject")
def reject_call(
    key: options.KeyArgument,
    reason: options.ReasonOption,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    by: options.ByOption = "",
) -> None:
    """Reject a call; it does not run.

    **Example**

    ```
    bighub-langgraph approvals reject 4f1c09ab --reason "the order was never paid"
    ```

    Exit codes: 0 done, 1 if the answer does not count, 2 for bad usage.
    """
    _answer(location, key, Answer.REJECT, by, text=reason)


@approvals.command("edit")
def edit_call(  # noqa: PLR0917 - typer makes options of them
    key: options.KeyArgument,
    location: options.JournalOption = options.DEFAULT_JOURNAL,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A new value, as JSON or text."),
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="NAME", help="Leave it out.")
    ] = None,
    comment: CommentOption = "",
    by: options.ByOption = "",
) -> None:
    """Change the arguments of a call and approve it so; BIGHUB evaluates it again.

    A name is that of an argument, or a JSON pointer to a part of one. What is not named stays as it
    is, and so do the arguments that are not shown.

    **Example**

    ```
    bighub-langgraph approvals edit 4f1c09ab --set amount=20 --set /items/0/name='"chair"'
    ```

    Exit codes: 0 done, 1 if the answer does not count, 2 for bad usage.
    """
    edit = {}
    for change in changes or ():
        name, separator, text = change.partition("=")
        if not separator:
            console.fail(f"--set {change}: write NAME=VALUE")
        edit[_to_pointer(name)] = _parse_value(text)
    pointers = tuple(map(_to_pointer, remove or ()))
    _answer(location, key, Answer.EDIT, by, comment=comment, edit=edit, remove=pointers)


@contextmanager
def _open_inbox(location: str) -> "Iterator[ApprovalInbox]":
    from bighub_langgraph.approvals.inbox import ApprovalInbox

    with options.open_journal(location) as journal:
        yield ApprovalInbox(journal)


def _answer(location: str, key: str, answer: Answer, by: str, **details: Any) -> None:
    from bighub_langgraph.approvals.cards import Approver

    approver = Approver(by or options.find_login_name())
    with _open_inbox(location) as inbox:
        card = inbox.get(key)
        if card.outcome_unknown:
            console.fail(
                f"{_name(card)} was started, and its outcome is unknown; see `calls resolve`",
                console.NOT_DONE,
            )
        receipt = inbox.answer(card.key, answer, approver=approver, version=card.version, **details)
    what = "" if receipt.is_final else f"; {receipt.missing_approvals} more must approve it"
    console.print_line(f"{_name(card)} is now {_state_of(receipt.card)}{what}")


def _list_cards(
    inbox: "ApprovalInbox", filters: dict[str, Any], *, watch: bool
) -> "Iterator[list[ApprovalCard]]":
    """Yield what waits; with `watch` again after each change."""
    while True:
        change = inbox.newest_change()
        yield list(inbox.list(**filters))
        while watch and inbox.newest_change() == change:
            time.sleep(WATCH_INTERVAL)
        if not watch:
            return


def _print_table(cards: "list[ApprovalCard]", *, clear: bool) -> None:
    if clear:
        console.stdout().clear()  # nothing where the output is no terminal
    rows = [
        (
            *(console.shorten_key(card.key), card.tool, card.agent),
            *(describe_risk(card.risk_score), console.format_time(card.asked_at)),
            "" if card.expires_at is None else console.format_time(card.expires_at),
        )
        for card in cards
    ]
    columns = ("key", "tool", "agent", "risk", "asked (UTC)", "expires (UTC)")
    console.print_table(f"{len(rows)} calls wait for a person", columns, rows)


def _print_changes(
    inbox: "ApprovalInbox", cards: "list[ApprovalCard]", change_by_key: dict[str, int]
) -> dict[str, int]:
    """Print the calls that changed, and those that wait no more; return the newest changes."""
    from bighub_langgraph.approvals.inbox import ApprovalNotFound

    waiting_keys = {card.key for card in cards}
    changed_calls = [card for card in cards if change_by_key.get(card.key) != card.change]
    for key in change_by_key:
        with suppress(ApprovalNotFound):  # it has ended, and was pruned since
            if key not in waiting_keys:
                changed_calls.append(inbox.get(key))
    for card in changed_calls:
        print(json_module.dumps(_card_to_json(card)), flush=True)
    return {card.key: card.change for card in cards}


def _name(card: "ApprovalCard") -> str:
    return f"{card.tool} {console.shorten_key(card.key)}"


def _state_of(card: "ApprovalCard") -> str:
    return "unknown" if card.outcome_unknown else card.state.value


def _format_value(value: object) -> str:
    return truncate(json_module.dumps(value, ensure_ascii=False), LONGEST_VALUE)


def _to_pointer(name: str) -> str:
    """Return the JSON pointer of an argument's name."""
    return name if name.startswith("/") else f"/{name.replace('~', '~0')}"


def _parse_value(text: str) -> Any:
    try:
        return json_module.loads(text)
    except ValueError:
        return text
    except RecursionError:
        console.fail(f"--set {truncate(text, 80)}: this is nested too deep")


_FIELDS = (
    *("key", "agent", "thread", "tool", "call_id", "version", "arguments", "locked_pointers"),
    *("description", "evidence", "allowed_answers", "approvers", "required_approvals"),
    *("asked_at", "expires_at", "outcome_unknown"),
)


def _card_to_json(card: "ApprovalCard") -> dict[str, Any]:
    votes = [
        {"approver": vote.approver, "verified": vote.verified, "at": vote.at} for vote in card.votes
    ]
    fields = {name: getattr(card, name) for name in _FIELDS}
    value: dict[str, Any] = to_jsonable({**fields, "state": _state_of(card), "votes": votes})
    return value
