"""`bighub-langgraph demo`, run as a user runs it, with the scripted model."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner, Result

from bighub_langgraph.cli.app import app

MAIN = "from bighub_langgraph.cli import main; main()"
FOUR_RECOMMENDATIONS = ["proceed", "proceed_with_caution", "review_recommended", "do_not_proceed"]
FOUR_STATUSES = ["executed", "blocked", "approval_required", "tool_error"]


def demo(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["demo", *map(str, arguments)], input=stdin)


def demo_json(*arguments: str | Path) -> dict[str, Any]:
    result = demo("--json", *arguments)
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def row(output: str, title: str) -> list[float]:
    """The numbers of one row of the closing table."""
    (line,) = (line for line in output.splitlines() if line.startswith(title))
    return [float(number) for number in line.removeprefix(title).split()]


def start(*arguments: str, **options: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "error", "-c", MAIN, "demo", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **{**pipes, **options})


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the default run prints, and the picture of it."""
    chart = tmp_path_factory.mktemp("demo") / "month.svg"
    result = demo("--chart", chart)
    assert result.exit_code == 0, result.output
    return result.stdout, chart


# -- the whole month ---------------------------------------------------------------------------


def test_the_default_run_asks_nothing_and_names_the_limit_and_the_simulated_person(
    month: tuple[str, Path],
) -> None:
    output, _ = month
    assert "a script, no LLM" in output
    assert "a simulated person, right about 90% of the calls" in output
    assert "95% confident that at most 10% of them go wrong" in output


def test_every_line_fits_a_narrow_terminal(month: tuple[str, Path]) -> None:
    assert max(len(line.rstrip()) for line in month[0].splitlines()) <= 80


def test_fewer_approvals_are_asked_in_the_last_week_than_in_the_first(
    month: tuple[str, Path],
) -> None:
    first, *_, last, _ = row(month[0], "approvals per 100 calls")
    assert last < first / 2


def test_bad_calls_without_approval_stay_below_the_default_limit(month: tuple[str, Path]) -> None:
    *_, automatic = row(month[0], "executed without approval")
    *_, bad = row(month[0], "bad ones among these")
    assert automatic > 50
    assert bad / automatic < 0.1
    assert f"{bad:.0f} of {automatic:.0f} " in month[0]
    assert "the limit is 10% at 95%" in month[0]


def test_the_guard_costs_less_than_asking_always_and_than_asking_never(
    month: tuple[str, Path],
) -> None:
    costs = re.findall(r"asking (always|never) +\d+\.\d\d +(saved|more) ", month[0])
    assert costs == [("always", "saved"), ("never", "saved")]


@pytest.mark.parametrize("name", [*FOUR_RECOMMENDATIONS, *FOUR_STATUSES])
def test_all_recommendations_and_all_statuses_occur(month: tuple[str, Path], name: str) -> None:
    [count] = re.findall(rf"^  (?:.* )?{name} (\d+)", month[0], re.MULTILINE)
    assert int(count) > 0


def test_frauds_are_discovered_days_after_the_call(month: tuple[str, Path]) -> None:
    days = re.findall(r"^day +\d+:.* at risk +\S+ lost +(\S+)$", month[0], re.MULTILINE)
    losses = [float(loss) for loss in days]
    assert len(losses) == 28
    assert losses == sorted(losses)
    assert losses[0] == 0 < losses[-1]


def test_the_picture_shows_what_is_printed(month: tuple[str, Path]) -> None:
    output, chart = month
    texts = [text.text for text in ET.fromstring(chart.read_text()).iter() if text.text]
    for rate in row(output, "approvals per 100 calls")[:-1]:
        assert f"{rate:.0f}" in texts
    [cost] = re.findall(r"Cost of people's time and bad calls: (\S+)\.$", output, re.MULTILINE)
    assert f"with the guard {float(cost):.0f}" in texts


# -- options -----------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    first, second = (demo_json("--days", "2", "--seed", "3") for _ in range(2))
    assert first == second
    assert demo_json("--days", "2", "--seed", "4") != first


def test_the_document_counts_each_call_once() -> None:
    document = demo_json("--days", "3")
    total = document["total"]
    assert document["interrupted"] is False
    assert total["calls"] == sum(week["calls"] for week in document["weeks"])
    assert total["calls"] == total["approvals"] + total["automatic"] + total["blocked"]
    assert total["calls"] == sum(document["recommendations"].values())
    assert document["statuses"]["approval_required"] == total["approvals"]


def test_a_person_who_is_always_right_lets_no_fraud_through() -> None:
    result = demo("--days", "2", "--accuracy", "1")
    assert "right about 100% of the calls" in result.stdout
    assert "approved, executed" in result.stdout


def test_three_calls_of_different_tools_are_asked_about_with_ask() -> None:
    result = demo("--days", "1", "--ask", stdin="y\nn\nmaybe\ny\n")
    assert result.exit_code == 0
    assert result.stdout.count("run it?") == 4  # once again, after what is no answer
    assert "question 3 of 3" in result.stdout


def test_the_question_says_how_to_stop_and_s_stops_it() -> None:
    result = demo("--days", "1", "--ask", stdin="s\n")
    assert result.exit_code == 0
    assert result.stdout.count("[s]top asking") == 1


def test_no_answer_at_the_terminal_is_no_approval() -> None:
    result = demo("--days", "1", "--ask", stdin="")
    assert result.exit_code == 2
    assert "no answer on stdin" in result.stderr


def test_a_second_run_over_the_same_database_starts_with_what_the_first_learned(
    tmp_path: Path,
) -> None:
    options = ("--approve", "yes", "--days", "6", "--db", tmp_path / "demo.db")
    first, second = demo_json(*options), demo_json(*options)
    assert second["total"]["approvals"] < first["total"]["approvals"]


def test_people_are_still_asked_after_they_have_refused_everything(tmp_path: Path) -> None:
    options = ("--approve", "no", "--days", "1", "--db", tmp_path / "demo.db")
    totals = [demo_json(*options)["total"] for _ in range(5)]
    assert [total["approvals"] for total in totals] == [totals[0]["calls"]] * 5
    assert [total["blocked"] for total in totals] == [0] * 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ask", "--approve", "yes"), "only one of"),
        (("--ask", "--inbox"), "only one of"),
        (("--json", "--ask"), "--json asks nothing"),
        (("--chart", "no/such/folder/month.svg"), "no such folder"),
        (("--db", "no/such/folder.db"), "--db"),
        (("--days", "0"), "--days"),
        (("--accuracy", "2"), "--accuracy"),
    ],
)
def test_what_cannot_work_is_bad_usage(arguments: tuple[str, ...], message: str) -> None:
    result = demo(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_a_real_model_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    result = demo("--model", "some-model")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "OPENAI_API_KEY" in result.stderr


def test_a_real_model_that_cannot_be_reached_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    result = demo("--model", "some-model")
    assert result.exit_code == 1
    assert "the model failed" in result.stderr


# -- terminals, pipes and Ctrl-C ---------------------------------------------------------------


def test_the_demo_runs_in_a_terminal_without_unicode() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    with start("--days", "1", env=environment) as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert "Week by week" in output


def test_a_terminal_shows_a_live_view_that_ends_with_the_summary() -> None:
    environment = {**os.environ, "FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}
    with start("--days", "1", env=environment) as process:
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert "money at risk" in output
    assert output.index("money at risk") < output.index("Week by week")


def test_a_reader_that_leaves_ends_the_demo_without_a_traceback() -> None:
    with start("--days", "2") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("A support desk")
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_control_c_ends_the_run_with_the_summary_so_far() -> None:
    with start("--days", "28") as process:
        assert process.stdout is not None
        assert next(line for line in process.stdout if line.startswith("day  1"))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")
    [calls, *_] = row(output, "calls evaluated")
    assert 0 < calls < 28 * 20


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_control_c_at_a_question_ends_the_run_with_the_summary_so_far() -> None:
    with start("--ask", stdin=subprocess.PIPE) as process:
        assert process.stdout is not None
        text = ""
        while not text.endswith("asking: "):
            text += process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate()
    assert (process.returncode, errors) == (130, "")
    assert "Week by week" in output
