"""The demo's support desk: a person decides about calls that need an approval."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from bighub_langgraph.cli.demo.demo_command import Approve
from bighub_langgraph.cli.demo.support_desk import Approver, create_approver

ACTION_REQUEST: Mapping[str, Any] = {
    "name": "pay",
    "args": {"note": "[bold]"},
    "description": "pay(note='[bold]')\nit is much",
}


def at_terminal(typed: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Approver, io.StringIO]:
    """An approver whose person has typed something, and what it prints."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    output = io.StringIO()
    return create_approver("ask", Console(file=output, width=80)), output


@pytest.mark.parametrize(("approve", "answer"), [("yes", True), ("no", False)])
def test_yes_and_no_decide_every_call(approve: Approve, answer: bool) -> None:
    assert create_approver(approve, Console())(ACTION_REQUEST) is answer


def test_a_person_is_shown_the_call_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, printed = at_terminal("n\n", monkeypatch)
    assert ask(ACTION_REQUEST) is False
    assert "pay(note='[bold]')" in printed.getvalue()
    assert "it is much" in printed.getvalue()


def test_a_person_is_asked_again_until_the_answer_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask, _ = at_terminal("maybe\n\nYes\nNo\n", monkeypatch)
    assert [ask(ACTION_REQUEST), ask(ACTION_REQUEST)] == [True, False]


def test_a_person_may_approve_all_remaining_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, _ = at_terminal("n\na\n", monkeypatch)
    assert [ask(ACTION_REQUEST) for _ in range(4)] == [False, True, True, True]


def test_without_an_answer_nothing_is_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, _ = at_terminal("", monkeypatch)
    with pytest.raises(EOFError):
        ask(ACTION_REQUEST)
