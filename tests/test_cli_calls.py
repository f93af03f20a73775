"""`calls`, `outbox` and `doctor` on the command line: what a person sees of a journal, and says."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bighub_langgraph import Journal
from bighub_langgraph.cli.app import app
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    ExecutionFinished,
    ExecutionStarted,
    OwnerLost,
)
from bighub_langgraph.core.models import CallRecord, State, ToolFailed, ToolSucceeded, Verdict
from bighub_langgraph.core.reporting import ReportingConfig
from tests.calls import approval, decided

REPORTING = ReportingConfig()
DONE, DOUBT, WAITING = "d" * 32, "e" * 32, "f" * 32


def ask(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIGHUB_API_KEY", "BIGHUB_BASE_URL", "BIGHUB_JOURNAL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A journal with one call that ran, one in doubt, and one that waits for a person."""
    opened = Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    asked = replace(decided(Verdict.REVIEW), key=DONE, created_at=1.0)
    opened.insert(
        [asked, _call(DOUBT, tool="pay"), _call(WAITING, state=State.AWAITING)], REPORTING
    )
    yes = approval(at=2.0, approver="alice", verified=True, comment="checked")
    opened.transition(DONE, AnswerGiven(yes), REPORTING)
    opened.transition(DONE, ExecutionStarted("a/1", 0.0), REPORTING)
    opened.transition(DONE, ExecutionFinished("a/1", ToolSucceeded("done")), REPORTING)
    opened.transition(DOUBT, ExecutionStarted("a/2", 0.0), REPORTING)
    opened.transition(DOUBT, OwnerLost("a/2", "its process is gone"), REPORTING)
    yield opened
    opened.close()


@pytest.fixture
def path(tmp_path: Path, journal: Journal) -> Path:
    return tmp_path / "calls.db"


def _call(key: str, **fields: Any) -> CallRecord:
    return replace(decided(), key=key, created_at=2.0, **fields)


def test_calls_are_listed(path: Path) -> None:
    result = ask("calls", "list", "--journal", path)
    assert result.exit_code == 0
    for said in ("3 calls", DONE[:12], "executed", "in_doubt", "awaiting_approval", "thread-1"):
        assert said in result.stdout


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (["--tool", "pay"], [DOUBT]),
        (["--status", "in_doubt"], [DOUBT]),
        (["--status", "executed"], [DONE]),
        (["--thread", "nowhere"], []),
        (["--thread", "thread-1", "--status", "awaiting_approval"], [WAITING]),
    ],
)
def test_calls_are_filtered(path: Path, filters: list[str], keys: list[str]) -> None:
    result = ask("calls", "list", "--db", path, "--json", *filters)
    assert [one["key"] for one in json.loads(result.stdout)] == keys


def test_one_call_is_shown_with_who_approved_it_when_and_on_which_evidence(path: Path) -> None:
    told = json.loads(ask("calls", "show", "dddd", "--journal", path, "--json").stdout)
    events = [(one["event"], one["state"]) for one in told["history"]]
    assert events == [
        ("Decided", "awaiting_approval"),
        ("Answered", "allowed"),
        ("Started", "running"),
        ("Finished", "executed"),
    ]
    first, second = told["history"][:2]
    assert first["decision"]["recommendation"] == "proceed"
    assert (second["approval"]["approver"], second["approval"]["verified"]) == ("alice", True)
    shown = ask("calls", "show", "dddd", "--journal", path).stdout
    assert "approve by alice (verified)" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("said", "state", "result"),
    [
        (["--executed", "--text", "receipt 88"], State.EXECUTED, ToolSucceeded("receipt 88")),
        (["--failed", "--text", "never arrived"], State.TOOL_ERROR, ToolFailed("never arrived")),
        (["--run-again"], State.ALLOWED, None),
    ],
)
def test_a_call_in_doubt_is_settled_by_a_person(
    path: Path, journal: Journal, said: list[str], state: State, result: Any
) -> None:
    told = ask("calls", "resolve", "eeee", "--journal", path, "--by", "bob", *said)
    assert told.exit_code == 0
    record = journal.find([DOUBT])[DOUBT]
    assert (record.state, record.result) == (state, result)
    note = journal.books.history(DOUBT)[-1]
    assert note.said["approval"]["approver"] == "bob"
    assert note.said["approval"]["verified"] is False


def test_a_call_whose_process_is_gone_is_settled_before_anybody_has_noted_it(
    path: Path, journal: Journal
) -> None:
    where, number, started, chance = journal.owner.split(":")
    gone = f"{where}:{number}:{int(started) - 1}:{chance}/1"
    key = "c" * 32
    journal.insert([_call(key)], REPORTING)
    journal.transition(key, ExecutionStarted(gone, 0.0), REPORTING)
    assert ask("calls", "resolve", key, "--executed", "--journal", path).exit_code == 0
    assert [note.event for note in journal.books.history(key)][-2:] == ["Lost", "Resolved"]


def test_a_call_that_is_not_in_doubt_is_left_alone(path: Path, journal: Journal) -> None:
    result = ask("calls", "resolve", "dddd", "--failed", "--journal", path)
    assert (result.exit_code, "not in doubt" in result.stderr) == (1, True)
    assert journal.find([DONE])[DONE].state is State.EXECUTED


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["calls", "resolve", "eeee"], "exactly one of"),
        (["calls", "resolve", "eeee", "--failed", "--run-again"], "exactly one of"),
        (["calls", "show", "0000"], "no call whose key begins"),
        (["calls", "list", "--status", "odd"], "--status is one of"),
    ],
)
def test_bad_usage_says_what_to_change(path: Path, arguments: list[str], said: str) -> None:
    result = ask(*arguments, "--journal", path)
    assert (result.exit_code, said in " ".join(result.stderr.split())) == (2, True)


def test_a_mistyped_path_makes_no_journal(tmp_path: Path) -> None:
    result = ask("calls", "list", "--journal", tmp_path / "typo.db")
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_old_settled_calls_are_forgotten(path: Path, journal: Journal) -> None:
    journal.ack([one.id for one in journal.lease_batch(1e12, 100, early=True)])
    assert "0 calls" in ask("calls", "prune", "--older-than", "0", "--journal", path).stdout
    over = replace(_call("a" * 32), thread="over", state=State.BLOCKED)
    journal.insert([over], ReportingConfig(outcomes=False, memory=False))
    assert "1 calls" in ask("calls", "prune", "--older-than", "0", "--journal", path).stdout
    assert set(journal.find([DONE, DOUBT, WAITING, "a" * 32])) == {DONE, DOUBT, WAITING}


def test_the_outbox_is_shown_flushed_and_tried_again(
    path: Path, journal: Journal, tmp_path: Path
) -> None:
    state = json.loads(ask("outbox", "state", "--journal", path, "--json").stdout)
    assert (state["waiting"], state["aside"]) == (3, 0)
    assert [one["kind"] for one in state["entries"]] == ["approval", "outcome", "memory"]
    poison = journal.lease_batch(0.0, 1)[0]
    journal.nack([poison.id], 0.0, "never heard of it", refused=True, dead_letter=True)
    shown = ask("outbox", "state", "--journal", path).stdout
    assert "2 wait, 1 are set aside" in shown
    assert ask("outbox", "retry", "--journal", path).stdout == "1 entries wait for delivery again\n"
    journal.ack([one.id for one in journal.lease_batch(1e12, 100, early=True)])
    told = ask("outbox", "flush", "--journal", path, "--bighub", tmp_path / "engine.db")
    assert (told.exit_code, told.stdout) == (0, "everything is delivered\n")


def test_an_outbox_that_cannot_be_delivered_ends_with_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = "http://127.0.0.1:9"
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    told = ask("outbox", "flush", "--journal", path, "--bighub", away, "--timeout", "0")
    assert (told.exit_code, "3 entries wait" in told.stdout) == (1, True)


def test_the_doctor_names_what_needs_a_person(path: Path) -> None:
    result = ask("doctor", "--journal", path, "--json")
    told = {one["what"]: one for one in json.loads(result.stdout)}
    assert result.exit_code == 1
    assert told["pay is in doubt"]["health"] == "needs a person"
    assert "langgraph 1." in told["versions"]["said"]
    assert "schema version 2" in told["journal"]["said"]
    assert "1 awaiting_approval" in told["calls"]["said"]


def test_the_doctor_is_content_when_all_is_well(path: Path, journal: Journal) -> None:
    ask("calls", "resolve", "eeee", "--executed", "--journal", path)
    journal.ack([one.id for one in journal.lease_batch(1e12, 100, early=True)])
    result = ask("doctor", "--journal", path)
    assert (result.exit_code, "needs a person" in result.stdout) == (0, False)


def test_the_doctor_says_that_bighub_is_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIGHUB_API_KEY", "k")
    result = ask("doctor", "--journal", path, "--bighub", "http://127.0.0.1:9", "--json")
    told = {one["what"]: one for one in json.loads(result.stdout)}
    assert (result.exit_code, told["BIGHUB"]["health"]) == (1, "needs a person")


@pytest.mark.parametrize(
    "command",
    [
        *("calls list", "calls show", "calls resolve", "calls prune"),
        *("outbox state", "outbox flush", "outbox retry", "doctor"),
    ],
)
def test_every_help_shows_an_example_and_exit_codes(command: str) -> None:
    result = ask(*command.split(), "--help")
    assert result.exit_code == 0
    assert f"bighub-langgraph {command}" in result.stdout
    assert "Exit codes" in result.stdout
