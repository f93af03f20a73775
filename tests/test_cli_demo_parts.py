"""What the demo asks, counts and prints."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from bighub_langgraph.cli.demo.approving import Approve, Approver, NobodyAnswers, approver
from bighub_langgraph.cli.demo.comparison import comparison
from bighub_langgraph.cli.demo.introduction import introduction
from bighub_langgraph.cli.demo.lines import call_line, later_line, print_line, request_line, titles
from bighub_langgraph.cli.demo.requests import REQUESTS, Later
from bighub_langgraph.cli.demo.seen import Measures, Seen, measure, thirds
from bighub_langgraph.core.models import Verdict
from bighub_langgraph.local import DomainSettings

ASKED: Mapping[str, Any] = {
    "name": "pay",
    "args": {"note": "[bold]"},
    "bighub": {"rationale": "it is much"},
}
FRAUD = Later("pay", "FRAUD", "a stolen card")


def at_terminal(typed: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Approver, io.StringIO]:
    """An approver whose person has typed something, and what it prints."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    printed = io.StringIO()
    return approver(Approve.ASK, Console(file=printed, width=80)), printed


@pytest.mark.parametrize(("how", "answer"), [(Approve.YES, True), (Approve.NO, False)])
def test_yes_and_no_answer_everything(how: Approve, answer: bool) -> None:
    assert approver(how, Console())(ASKED) is answer


def test_a_person_is_shown_the_call_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, printed = at_terminal("n\n", monkeypatch)
    assert ask(ASKED) is False
    assert "pay(note='[bold]')" in printed.getvalue()
    assert "it is much" in printed.getvalue()


def test_a_person_is_asked_again_until_the_answer_is_understood(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask, _ = at_terminal("maybe\n\nYes\nNo\n", monkeypatch)
    assert [ask(ASKED), ask(ASKED)] == [True, False]


def test_a_person_may_say_yes_to_all_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, _ = at_terminal("n\na\n", monkeypatch)
    assert [ask(ASKED) for _ in range(4)] == [False, True, True, True]


def test_without_anyone_to_ask_nothing_is_approved(monkeypatch: pytest.MonkeyPatch) -> None:
    ask, _ = at_terminal("", monkeypatch)
    with pytest.raises(NobodyAnswers):
        ask(ASKED)


def call(
    verdict: Verdict | None, outcome: str, risk: float | None = None, trouble: Later | None = None
) -> Seen:
    return Seen(1, "pay", {}, verdict, risk=risk, outcome=outcome, trouble=trouble)


def test_what_is_measured_is_counted_from_the_calls() -> None:
    seen = [
        call(None, "SUCCESS"),
        call(Verdict.EXECUTE, "SUCCESS", 0.125),
        call(Verdict.EXECUTE, "FAILURE", 0.25),
        call(Verdict.REVIEW, "SUCCESS", 0.375),
        call(Verdict.REVIEW, "SUCCESS", 0.5, FRAUD),
        call(Verdict.BLOCK, "BLOCKED", 0.75, FRAUD),
    ]
    assert measure(seen) == Measures(
        calls=5,
        unasked=2,
        asked=2,
        blocked=1,
        bad_unasked=1,
        bad=3,
        risk_of_good=0.25,
        risk_of_bad=0.5,
    )


def test_nothing_seen_has_no_mean() -> None:
    assert measure([]).risk_of_good is None


def test_thirds_are_taken_by_request() -> None:
    seen = [Seen(number, "pay", {}) for number in (1, 2, 2, 3, 4, 6)]
    first, last = thirds(seen, 6)
    assert [one.request for one in first] == [1, 2, 2]
    assert [one.request for one in last] == [6]


def printed(line: Any) -> list[str]:
    paper = io.StringIO()
    Console(file=paper, width=80).print(line)
    return paper.getvalue().splitlines()


@pytest.mark.parametrize(
    "line",
    [
        titles(),
        call_line(
            Seen(
                24,
                "a_tool_with_a_very_long_name",
                {"order_id": "O-123456789", "amount": 123456789.0},
                Verdict.REVIEW,
                "proceed_with_caution",
                "medium",
                0.5,
                approved=True,
                outcome="SUCCESS",
            )
        ),
        later_line(call(Verdict.REVIEW, "SUCCESS"), Later("pay", "FRAUD", "because " * 20)),
        *(request_line(24, 24, request) for request in REQUESTS),
    ],
)
def test_every_line_fits_eighty_columns(line: Text) -> None:
    paper = io.StringIO()
    print_line(Console(file=paper, width=80), line)
    assert len(paper.getvalue().splitlines()) == 1


def test_what_a_call_line_tells() -> None:
    (line,) = printed(
        call_line(
            Seen(
                1,
                "refund_payment",
                {"order_id": "O-1", "amount": 9.9},
                Verdict.REVIEW,
                "review_recommended",
                "low",
                0.3,
                approved=False,
                outcome="BLOCKED",
            )
        )
    )
    assert line.split() == [
        *("refund_payment", "O-1", "9.90", "review_recommended", "low", "0.30"),
        *("review", "✗", "BLOCKED"),
    ]


def test_the_comparison_shows_only_numbers_of_the_run() -> None:
    first = [call(Verdict.REVIEW, "SUCCESS", 0.3, FRAUD)]
    last = [call(Verdict.EXECUTE, "SUCCESS", 0.125)]
    rows = {line[:29].strip(): line[29:].split() for line in printed(comparison(first, last, []))}
    assert rows["a person was asked"] == ["1", "0", "0"]
    assert rows["mean risk of bad ones"] == ["0.30", ".", "."]
    assert rows["risk of pay"] == ["0.30", "0.12", "."]


def test_the_introduction_says_who_plays_the_model_and_who_answers() -> None:
    words = introduction(None, Approve.YES, DomainSettings(), chosen=False, db=None).plain
    assert "a script, no LLM" in words
    assert "all approved (--approve yes), as there is no terminal to ask in" in words
    assert max(len(line) for line in words.splitlines()) <= 80


def test_the_introduction_names_a_real_model_and_the_database() -> None:
    words = introduction("some-model", Approve.ASK, DomainSettings(), chosen=True, db="a.db").plain
    assert "some-model, a real one" in words
    assert "kept in a.db" in words
