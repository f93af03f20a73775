"""`bighub-langgraph demo`, run as a user runs it, with the scripted model."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from bighub_langgraph.cli.app import app


def demo(*arguments: str | Path, typed: str | None = None) -> Result:
    return CliRunner().invoke(app, ["demo", *map(str, arguments)], input=typed)


def row(result: Result, title: str) -> list[str]:
    """The numbers of one row of the closing table."""
    (line,) = (line for line in result.stdout.splitlines() if line.startswith(title))
    return line.removeprefix(title).split()


@pytest.fixture(scope="module")
def approved() -> Result:
    return demo("--approve", "yes")


def test_the_demo_serves_two_dozen_requests_and_ends_well(approved: Result) -> None:
    assert approved.exit_code == 0
    assert "scripted, no LLM" in approved.stdout
    assert len(re.findall(r"^ ?\d+/24 ", approved.stdout, re.MULTILINE)) == 24


def test_every_line_fits_a_narrow_terminal(approved: Result) -> None:
    assert max(len(line.rstrip()) for line in approved.stdout.splitlines()) <= 80


def test_every_call_shows_recommendation_verdict_and_outcome(approved: Result) -> None:
    (first,) = re.findall(r"^ refund_payment O-1001 .*$", approved.stdout, re.MULTILINE)
    assert re.fullmatch(
        r" refund_payment O-1001 +24\.90 \w+ +(high|medium|low) +\d\.\d\d \w+( ✓)? +SUCCESS", first
    )


def test_frauds_and_mistakes_are_reported_later(approved: Result) -> None:
    reports = re.findall(r"(FRAUD|ROLLBACK) (\w+) of request (\d+)", approved.stdout)
    assert ("FRAUD", "refund_payment", "1") in reports
    assert ("ROLLBACK", "delete_account", "5") in reports
    at = approved.stdout.index
    assert at("refund_payment of request 1:") > at(" 2/24 ")


def test_outcomes_make_the_last_third_differ_from_the_first(approved: Result) -> None:
    first, last, no_outcomes = map(float, row(approved, "mean risk of bad calls"))
    assert last > first
    assert last > no_outcomes
    _, last, no_outcomes = map(float, row(approved, "mean risk of good calls"))
    assert last < no_outcomes


def test_people_review_fewer_calls_because_of_outcomes(approved: Result) -> None:
    _, last, no_outcomes = map(int, row(approved, "reviewed by a person"))
    assert last < no_outcomes


def test_a_rejected_call_does_not_run(approved: Result) -> None:
    rejected = demo("--approve", "no")
    assert rejected.exit_code == 0
    assert "review ✗" in rejected.stdout
    assert "FRAUD" not in rejected.stdout


def test_a_person_answers_in_the_terminal() -> None:
    result = demo("--approve", "ask", typed="n\ny\na\n")
    assert result.exit_code == 0
    assert result.stdout.count("run it?") == 3
    assert result.stdout.count("review ✗") == 1


def test_without_a_terminal_everything_is_approved_and_the_introduction_says_so() -> None:
    result = demo()
    assert "all approved (--approve yes), because there is no terminal" in result.stdout


def test_no_answer_at_the_terminal_is_no_approval() -> None:
    result = demo("--approve", "ask", typed="")
    assert result.exit_code == 2
    assert "no answer on stdin" in result.stderr


def test_a_second_run_over_the_same_database_needs_fewer_reviews(tmp_path: Path) -> None:
    first, second = (demo("--approve", "yes", "--db", tmp_path / "demo.db") for _ in range(2))
    assert (first.exit_code, second.exit_code) == (0, 0)
    reviews = [int(row(result, "reviewed by a person")[0]) for result in (first, second)]
    assert reviews[1] < reviews[0]


def test_people_are_still_asked_after_they_have_refused_everything(tmp_path: Path) -> None:
    for _ in range(2):
        result = demo("--approve", "no", "--db", tmp_path / "demo.db")
        assert result.exit_code == 0
    first, last, _ = map(int, row(result, "reviewed by a person"))
    assert (first, last) == (14, 14)
    assert row(result, "blocked")[:2] == ["0", "0"]


def test_a_real_model_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    result = demo("--model", "some-model")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "OPENAI_API_KEY" in result.stderr


def test_a_real_model_that_cannot_be_reached_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    result = demo("--model", "some-model", "--approve", "yes")
    assert result.exit_code == 1
    assert "the model failed" in result.stderr


def test_the_demo_runs_in_a_terminal_without_unicode() -> None:
    program = "from bighub_langgraph.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, "demo", "--approve", "yes"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"review ?" in result.stdout


def test_a_database_that_cannot_be_opened_is_bad_usage(tmp_path: Path) -> None:
    result = demo("--db", tmp_path / "no" / "such" / "folder.db")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--db" in result.stderr
