"""`bighub-langgraph replay`, run as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bighub_langgraph.cli.app import app


def replay(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def document(*arguments: str | Path) -> Any:
    return json.loads(replay(*arguments, "--json").stdout)


def run_of(number: int) -> dict[str, Any]:
    """A trajectory: a read, a small refund that was right and a large one that was wrong."""
    refund = {"tool": "refund", "state_changing": True, "error": False}
    return {
        "trajectory_id": f"run-{number}",
        "calls": [
            {"tool": "look", "arguments": {"id": 1}, "state_changing": False, "error": False},
            refund | {"arguments": {"amount": 5 + number}, "as_intended": True},
            refund | {"arguments": {"amount": 900 + number}, "as_intended": False},
        ],
    }


@pytest.fixture
def recording_file(tmp_path: Path) -> Path:
    return write(tmp_path, [json.dumps(run_of(number)) for number in range(8)])


def write(folder: Path, lines: list[str]) -> Path:
    file = folder / "runs.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


def test_every_call_is_evaluated_and_counted_by_tool(recording_file: Path) -> None:
    report = document(recording_file)
    assert (report["calls"], report["trajectories"]) == (24, 8)
    tools = {tool["tool"]: tool for tool in report["tools"]}
    assert (tools["refund"]["bad"], tools["refund"]["good"]) == (8, 8)
    assert (tools["look"]["state_changing"], tools["look"]["bad"]) == (False, 0)
    assert all(t["execute"] + t["review"] + t["block"] == t["calls"] for t in tools.values())


def test_the_engine_is_compared_with_simple_policies(recording_file: Path) -> None:
    policies = document(recording_file)["policies"]["change_state"]
    assert policies["execute_everything"]["caught"] == 0
    assert policies["review_everything"]["held_up"] == policies["review_everything"]["good"]
    assert policies["this_engine"]["calls"] == 16


def test_the_first_calls_are_evaluated_without_any_outcome(recording_file: Path) -> None:
    first, second = (d for d in document(recording_file)["decisions"][:3] if d["tool"] == "refund")
    assert [first["outcome"], second["outcome"]] == ["SUCCESS", "ROLLBACK"]
    assert first["verdict"] == second["verdict"] == "review"


def test_the_engine_separates_good_calls_from_bad_ones_once_it_knows_outcomes(
    recording_file: Path,
) -> None:
    last = [d for d in document(recording_file)["decisions"] if d["trajectory"] == "run-7"]
    small, large = (d["risk_score"] for d in last if d["tool"] == "refund")
    assert small < large


def test_tables_are_printed_by_default(recording_file: Path) -> None:
    result = replay(recording_file)
    assert result.exit_code == 0
    for text in ("24 calls of 8 trajectories", "refund", "execute everything", "all that change"):
        assert text in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


def test_replaying_again_into_the_same_database_changes_nothing(
    recording_file: Path, tmp_path: Path
) -> None:
    first, second = (document(recording_file, "--db", tmp_path / "seen.db") for _ in range(2))
    assert first == second


def test_what_the_engine_learns_from_one_recording_is_kept_for_the_next(
    recording_file: Path, tmp_path: Path
) -> None:
    replay(recording_file, "--db", tmp_path / "seen.db")
    other = run_of(99) | {"trajectory_id": "other"}
    (later := tmp_path / "later.json").write_text(json.dumps(other), encoding="utf-8")
    after_learning, new = document(later, "--db", tmp_path / "seen.db"), document(later)
    assert after_learning["decisions"][2]["risk_score"] > new["decisions"][2]["risk_score"]


def test_a_bad_line_is_reported_on_stderr_and_skipped(tmp_path: Path) -> None:
    file = write(tmp_path, [json.dumps(run_of(1)), "{oops", json.dumps(run_of(2))])
    result = replay(file, "--json")
    assert (result.exit_code, json.loads(result.stdout)["calls"]) == (0, 6)
    assert f"skipped {file}:2: not JSON" in result.stderr
    assert json.loads(result.stdout)["skipped"][0]["line"] == 2


def test_strict_stops_at_the_first_bad_line(tmp_path: Path) -> None:
    file = write(tmp_path, [json.dumps(run_of(1)), "{oops"])
    result = replay(file, "--strict")
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{file}:2: not JSON" in result.stderr


@pytest.mark.parametrize(
    "content", [b"", b"\n \n", b"[]", b'{"calls": []}', b"\xff\xfe", b"<html>"]
)
def test_a_file_without_a_readable_call_is_an_error(tmp_path: Path, content: bytes) -> None:
    (file := tmp_path / "runs.jsonl").write_bytes(content)
    result = replay(file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert str(file) in result.stderr


def test_a_missing_file_is_bad_usage(tmp_path: Path) -> None:
    result = replay(tmp_path / "nowhere.jsonl")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr


def test_a_database_that_cannot_be_opened_is_bad_usage(
    recording_file: Path, tmp_path: Path
) -> None:
    result = replay(recording_file, "--db", tmp_path / "no" / "such" / "folder.db")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--db" in result.stderr


def test_arguments_the_engine_rejects_are_blocked_and_the_replay_continues(tmp_path: Path) -> None:
    deep: Any = "bottom"
    for _ in range(60):
        deep = [deep]
    calls = [{"tool": "a", "arguments": {"deep": deep}}, {"tool": "a", "arguments": {}}]
    report = document(write(tmp_path, [json.dumps({"calls": calls})]))
    assert [decision["verdict"] for decision in report["decisions"]] == ["block", "review"]


def test_secrets_in_arguments_do_not_reach_the_database(tmp_path: Path) -> None:
    call = {"tool": "log_in", "arguments": {"password": "correct horse", "amount": 1}}
    file = write(tmp_path, [json.dumps({"calls": [call]})])
    replay(file, "--db", tmp_path / "seen.db")
    content = b"".join(path.read_bytes() for path in tmp_path.glob("seen.db*"))
    assert b"log_in" in content
    assert b"correct horse" not in content


def test_the_installed_command_answers(recording_file: Path) -> None:
    program = "from bighub_langgraph.cli import main; main()"
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        program,
        "replay",
        str(recording_file),
        "--json",
    ]
    result = subprocess.run(command, capture_output=True, check=True, text=True)
    assert (json.loads(result.stdout)["calls"], result.stderr) == (24, "")


def test_a_tools_name_is_printed_as_it_is(tmp_path: Path) -> None:
    call = {"tool": "[bold]pay[/nothing]", "arguments": {}}
    assert "[bold]pay[/nothing]" in replay(write(tmp_path, [json.dumps({"calls": [call]})])).stdout
