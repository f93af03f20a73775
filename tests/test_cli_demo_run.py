"""What the demo prints: an format_introduction, a line for each call, and a comparison."""

import io
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from bighub_langgraph import BighubGuard
from bighub_langgraph.cli.demo.demo_run import (
    compare_thirds,
    format_call,
    format_introduction,
    format_late_outcome,
    format_request,
    print_line,
)
from bighub_langgraph.cli.demo.scenario import REQUESTS, LateOutcome
from bighub_langgraph.cli.demo.support_desk import DemoCall
from bighub_langgraph.core.models import Verdict

FRAUD = LateOutcome("pay", "FRAUD", "a stolen card")


def create_call(verdict: Verdict | None, outcome: str, **fields: Any) -> DemoCall:
    fields = {"request": 1, "tool": "pay", "arguments": {}, **fields}
    return DemoCall(verdict=verdict, outcome=outcome, **fields)


def reviewed(tool: str, arguments: dict[str, Any], **fields: Any) -> DemoCall:
    return DemoCall(24, tool, arguments, verdict=Verdict.REVIEW, **fields)


def lines_of(content: Any) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=80).print(content)
    return output.getvalue().splitlines()


@pytest.mark.parametrize(
    "line",
    [
        format_call(
            reviewed(
                "a_tool_with_a_very_long_name",
                {"order_id": "O-123456789", "amount": 123456789.0},
                recommendation="proceed_with_caution",
                confidence="medium",
                risk=0.5,
                approved=True,
                outcome="SUCCESS",
            )
        ),
        format_call(create_call(None, "FAILURE")),
        format_late_outcome(
            create_call(
                Verdict.REVIEW, "SUCCESS", late_outcome=LateOutcome("pay", "FRAUD", "because " * 20)
            )
        ),
        *(format_request(24, request) for request in REQUESTS),
    ],
)
def test_every_line_fits_eighty_columns(line: Text) -> None:
    output = io.StringIO()
    print_line(Console(file=output, width=80), line)
    assert len(output.getvalue().splitlines()) == 1


def test_a_calls_line_shows_recommendation_risk_verdict_and_outcome() -> None:
    call = reviewed(
        "refund_payment",
        {"order_id": "O-1", "amount": 9.9},
        recommendation="review_recommended",
        confidence="low",
        risk=0.3,
        approved=False,
        outcome="BLOCKED",
    )
    (line,) = lines_of(format_call(call))
    assert line.split() == [
        *("refund_payment", "O-1", "9.90", "review_recommended", "low", "0.30"),
        *("review", "✗", "BLOCKED"),
    ]


def rows_of(calls: list[DemoCall]) -> dict[str, list[str]]:
    """The rows of the comparison of three requests, by their titles."""
    with BighubGuard(bighub="local") as new_guard:
        lines = lines_of(compare_thirds(calls, 3, new_guard))
    return {line[:35].strip(): line[35:].split() for line in lines}


def test_the_comparison_counts_the_evaluated_calls() -> None:
    rows = rows_of(
        [
            create_call(None, "SUCCESS"),
            create_call(Verdict.EXECUTE, "SUCCESS", risk=0.125),
            create_call(Verdict.EXECUTE, "FAILURE", risk=0.25),
            create_call(Verdict.REVIEW, "SUCCESS", risk=0.375),
            create_call(Verdict.REVIEW, "SUCCESS", risk=0.5, late_outcome=FRAUD),
            create_call(Verdict.BLOCK, "BLOCKED", risk=0.75, late_outcome=FRAUD),
        ]
    )
    expected = {
        "calls evaluated": "5",
        "executed without approval": "2",
        "reviewed by a person": "2",
        "blocked": "1",
        "bad calls executed without approval": "1",
        "mean risk of good calls": "0.25",
        "mean risk of bad calls": "0.50",
    }
    assert {title: rows[title][0] for title in expected} == expected
    assert rows["bad calls executed without approval"][:3] == ["1", "of", "3"]


def test_the_comparison_separates_first_last_and_no_outcomes() -> None:
    first = create_call(Verdict.REVIEW, "SUCCESS", risk=0.3, late_outcome=FRAUD)
    middle = create_call(Verdict.BLOCK, "BLOCKED", request=2)
    last = create_call(Verdict.EXECUTE, "SUCCESS", request=3, risk=0.125)
    rows = rows_of([first, middle, last])
    assert rows["reviewed by a person"] == ["1", "0", "1"]
    assert rows["mean risk of bad calls"] == ["0.30", ".", "."]


def test_the_introduction_names_the_scripted_model_and_who_approves() -> None:
    text = format_introduction(None, "yes", is_default=True, db=None).plain
    assert "scripted, no LLM" in text
    assert "all approved (--approve yes), because there is no terminal" in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_introduction_names_a_real_model_and_the_database() -> None:
    text = format_introduction("some-model", "ask", is_default=False, db="a.db").plain
    assert "some-model, a real one" in text
    assert "kept in a.db" in text
