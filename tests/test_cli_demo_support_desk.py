"""The demo's support desk: a person, simulated or real, decides about calls, and costs count."""

import io
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from bighub_langgraph.cli.demo.summary import REVIEW_COST, summarize
from bighub_langgraph.cli.demo.support_desk import DemoCall, SimulatedPerson, TerminalPerson
from bighub_langgraph.cli.demo.world import DAY, LateOutcome, Request
from bighub_langgraph.core.models import Verdict

GOOD = Request(1, 0.0, "C-1 Ada", "refund O-1", draw=0.5)
FRAUD = replace(GOOD, late_outcome=LateOutcome("pay", "FRAUD", "a stolen card", DAY, 100.0))
CAREFUL, CARELESS = SimulatedPerson(0.9), SimulatedPerson(0.4)


def action_request(tool: str) -> Mapping[str, Any]:
    description = "pay(note='[bold]')\nit is much"
    return {"name": tool, "args": {"note": "[bold]"}, "description": description}


def at_terminal(stdin: str, monkeypatch: pytest.MonkeyPatch) -> tuple[TerminalPerson, io.StringIO]:
    """A person who has typed something, and what is printed. The rest is approved."""
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    output = io.StringIO()
    console = Console(file=output, width=80)
    return TerminalPerson(console, SimulatedPerson(None, approves_all=True), nullcontext), output


@pytest.mark.parametrize("answer", [True, False])
def test_a_person_who_approves_or_rejects_all_does(answer: bool) -> None:
    person = SimulatedPerson(None, approves_all=answer)
    assert [person.approves(request) for request in (GOOD, FRAUD)] == [answer, answer]


def test_a_simulated_person_is_right_as_often_as_stated() -> None:
    requests = [replace(FRAUD, draw=n / 100) for n in range(100)]
    assert sum(not CAREFUL.approves(request) for request in requests) == 90
    assert (CAREFUL.approves(GOOD), CARELESS.approves(GOOD)) == (True, False)


def test_a_person_is_shown_the_customer_the_call_and_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask, output = at_terminal("n\n", monkeypatch)
    assert ask(GOOD, action_request("pay")) is False
    for text in ("C-1 Ada: refund O-1", "pay(note='[bold]')", "it is much"):
        assert text in output.getvalue()


def test_a_person_is_asked_again_until_the_answer_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask, _ = at_terminal("maybe\n\nYes\nNo\n", monkeypatch)
    assert [ask(GOOD, action_request(tool)) for tool in ("a", "b")] == [True, False]


def test_a_person_is_asked_about_each_tool_once_and_three_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask, output = at_terminal("n\nn\nn\n", monkeypatch)
    answers = [ask(GOOD, action_request(tool)) for tool in ("a", "a", "b", "c", "d")]
    assert answers == [False, True, False, False, True]
    assert output.getvalue().count("run it?") == 3


def test_without_an_answer_nothing_is_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, _ = at_terminal("", monkeypatch)
    with pytest.raises(EOFError):
        ask(GOOD, action_request("pay"))


def create_call(request: Request, verdict: Verdict | None, status: str, at: float = 0) -> DemoCall:
    statuses = ["approval_required", status] if verdict is Verdict.REVIEW else [status]
    request = replace(request, at=at * DAY)
    return DemoCall(request, "pay", {}, 100.0, verdict, "proceed", statuses=statuses)


def test_the_summary_counts_the_evaluated_calls_by_week() -> None:
    calls = [
        create_call(GOOD, None, "executed"),
        create_call(GOOD, Verdict.REVIEW, "executed"),
        create_call(FRAUD, Verdict.REVIEW, "blocked", at=6.9),
        create_call(GOOD, Verdict.EXECUTE, "executed", at=7),
        create_call(GOOD, Verdict.EXECUTE, "tool_error", at=8),
        create_call(FRAUD, Verdict.EXECUTE, "executed", at=9),
        create_call(GOOD, Verdict.BLOCK, "blocked", at=21),
    ]
    summary = summarize(calls, CAREFUL, 7)
    assert [week.calls for week in summary.weeks] == [2, 3, 0, 1]
    assert [week.approvals_per_hundred for week in summary.weeks] == [100, 0, 0, 0]
    assert (summary.total.automatic, summary.total.bad_automatic) == (3, 2)
    assert (summary.total.blocked, summary.bad) == (1, 3)
    statuses = {"executed": 3, "blocked": 2, "approval_required": 2, "tool_error": 1}
    assert summary.statuses == statuses


@pytest.mark.parametrize(
    ("call", "person", "costs"),
    [
        (create_call(GOOD, Verdict.EXECUTE, "executed"), CAREFUL, (0, REVIEW_COST, 0)),
        (create_call(FRAUD, Verdict.EXECUTE, "executed"), CAREFUL, (100, REVIEW_COST, 100)),
        (create_call(FRAUD, Verdict.EXECUTE, "executed"), CARELESS, (100, REVIEW_COST + 100, 100)),
        (create_call(FRAUD, Verdict.REVIEW, "blocked"), CAREFUL, (REVIEW_COST, REVIEW_COST, 100)),
        (create_call(FRAUD, Verdict.BLOCK, "blocked"), CAREFUL, (0, REVIEW_COST, 100)),
        (create_call(GOOD, Verdict.BLOCK, "blocked"), CARELESS, (REVIEW_COST, 2 * REVIEW_COST, 0)),
    ],
)
def test_people_fraud_and_held_up_calls_cost(
    call: DemoCall, person: SimulatedPerson, costs: tuple[float, float, float]
) -> None:
    summary = summarize([call], person, 1).costs
    assert (summary.guard, summary.ask_always, summary.ask_never) == costs


def test_without_calls_there_are_no_weeks_and_no_costs() -> None:
    document = summarize([], CAREFUL, 0).to_json()
    assert document["weeks"] == []
    assert document["costs"]["guard"] == 0
