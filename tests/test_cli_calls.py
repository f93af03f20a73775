"""The `calls` commands: what a person sees of a journal, and how a call is resolved."""

import json
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.core.lifecycle import ExecutionStarted, OwnerLost
from bighub_langgraph.core.models import ApprovalRequirement, State, ToolFailed, ToolSucceeded
from bighub_langgraph.core.reporting import ReportingConfig
from tests.cli_journal import (
    AWAITING,
    EXECUTED,
    REPORTING,
    UNKNOWN,
    create_record,
    deliver_all,
    invoke,
)

pytestmark = pytest.mark.usefixtures("no_environment")


def test_calls_are_listed(journal_path: Path) -> None:
    result = invoke("calls", "list", "--journal", journal_path)
    assert result.exit_code == 0
    for text in ("3 calls", EXECUTED[:12], "executed", "unknown", "awaiting_approval"):
        assert text in result.stdout
    assert "thread-1" in result.stdout


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        (["--tool", "pay"], [UNKNOWN]),
        (["--status", "unknown"], [UNKNOWN]),
        (["--status", "executed"], [EXECUTED]),
        (["--thread", "nowhere"], []),
        (["--thread", "thread-1", "--status", "awaiting_approval"], [AWAITING]),
    ],
)
def test_calls_are_filtered(journal_path: Path, filters: list[str], keys: list[str]) -> None:
    result = invoke("calls", "list", "--db", journal_path, "--json", *filters)
    assert [call["key"] for call in json.loads(result.stdout)] == keys


def test_calls_that_wait_for_long_are_listed(journal_path: Path, cli_journal: Journal) -> None:
    def keys(*filters: str) -> list[str]:
        result = invoke("calls", "list", "--journal", journal_path, "--json", *filters)
        return [call["key"] for call in json.loads(result.stdout)]

    assert keys("--waiting-longer-than", "0s") == [AWAITING]
    assert keys("--waiting-longer-than", "1m") == []
    assert keys("--waiting-longer-than", "0d", "--status", "executed") == [EXECUTED]


@pytest.mark.parametrize("age", ["7", "d", "-1d", "1.5h", "7w", ""])
def test_an_age_without_a_known_unit_is_refused(journal_path: Path, age: str) -> None:
    result = invoke("calls", "list", "--journal", journal_path, "--waiting-longer-than", age)
    assert (result.exit_code, "is not an age" in result.stderr) == (2, True)


def test_a_call_that_waits_is_cancelled_with_a_reason(
    journal_path: Path, cli_journal: Journal
) -> None:
    deliver_all(cli_journal)
    reason = ("--reason", "the order was [withdrawn] by a@b.example", "--by", "ada")
    result = invoke("calls", "cancel", "ffff", *reason, "--journal", journal_path)
    assert (result.exit_code, "is cancelled" in result.stdout) == (0, True)
    [record] = cli_journal.find([AWAITING]).values()
    assert record.state is State.CANCELLED
    assert record.reason == "cancelled by ada: the order was [withdrawn] by [redacted]"
    outcome = cli_journal.admin.outbox()[0].report
    assert (outcome.kind, outcome.body["status"]) == ("outcome", "BLOCKED")
    assert "withdrawn" in outcome.body["description"]


@pytest.mark.parametrize("key", [EXECUTED, UNKNOWN])
def test_a_call_that_does_not_wait_is_not_cancelled(journal_path: Path, key: str) -> None:
    result = invoke("calls", "cancel", key, "--reason", "x", "--journal", journal_path)
    assert (result.exit_code, "only a call that waits" in " ".join(result.stderr.split())) == (
        1,
        True,
    )


def test_a_call_is_not_cancelled_without_a_reason(journal_path: Path, cli_journal: Journal) -> None:
    result = invoke("calls", "cancel", "ffff", "--reason", " ", "--journal", journal_path)
    assert (result.exit_code, "write why" in " ".join(result.stderr.split())) == (1, True)
    [record] = cli_journal.find([AWAITING]).values()
    assert record.state is State.AWAITING


def test_a_call_is_shown_with_who_approved_it_when_and_on_which_evidence(
    journal_path: Path,
) -> None:
    document = json.loads(
        invoke("calls", "show", "dddd", "--journal", journal_path, "--json").stdout
    )
    events = [(entry["event"], entry["state"]) for entry in document["history"]]
    assert events == [
        ("DecisionMade", "awaiting_approval"),
        ("AnswerGiven", "allowed"),
        ("ExecutionStarted", "running"),
        ("ExecutionFinished", "executed"),
    ]
    first, second = document["history"][:2]
    assert first["decision"]["recommendation"] == "proceed"
    assert (second["approval"]["approver"], second["approval"]["verified"]) == ("alice", True)
    text = invoke("calls", "show", "dddd", "--journal", journal_path).stdout
    assert "approve by alice (verified)" in " ".join(text.split())


@pytest.mark.parametrize(
    ("options", "state", "output"),
    [
        (["--executed", "--text", "receipt 88"], State.EXECUTED, ToolSucceeded("receipt 88")),
        (["--failed", "--text", "never arrived"], State.TOOL_ERROR, ToolFailed("never arrived")),
        (["--run-again"], State.ALLOWED, None),
    ],
)
def test_a_person_resolves_a_call_with_an_unknown_outcome(
    journal_path: Path, cli_journal: Journal, options: list[str], state: State, output: Any
) -> None:
    result = invoke("calls", "resolve", "eeee", "--journal", journal_path, "--by", "bob", *options)
    assert (result.exit_code, state.value in result.stdout) == (0, True)
    record = cli_journal.find([UNKNOWN])[UNKNOWN]
    assert (record.state, record.result) == (state, output)
    entry = cli_journal.admin.history(UNKNOWN)[-1]
    assert entry.details["approval"]["approver"] == "bob"
    assert entry.details["approval"]["verified"] is False


def test_a_running_call_whose_process_is_gone_can_be_resolved(
    journal_path: Path, cli_journal: Journal
) -> None:
    host, number, start_time, random = cli_journal.owner.split(":")
    dead_owner = f"{host}:{number}:{int(start_time) - 1}:{random}/1"
    key = "c" * 32
    cli_journal.insert([create_record(key)], REPORTING)
    cli_journal.transition(key, ExecutionStarted(dead_owner, 0.0), REPORTING)
    assert invoke("calls", "resolve", key, "--executed", "--journal", journal_path).exit_code == 0
    events = [entry.event for entry in cli_journal.admin.history(key)]
    assert events[-2:] == ["OwnerLost", "OutcomeResolved"]


@pytest.mark.parametrize(
    "requirement", [ApprovalRequirement(2), ApprovalRequirement(approvers=("finance",))]
)
@pytest.mark.parametrize(
    ("option", "state"),
    [
        ("--run-again", State.UNKNOWN),
        ("--executed", State.UNKNOWN),
        ("--failed", State.TOOL_ERROR),
    ],
)
def test_a_name_in_the_terminal_starts_no_call_again_that_needs_certain_people(
    journal_path: Path,
    cli_journal: Journal,
    requirement: ApprovalRequirement,
    option: str,
    state: State,
) -> None:
    key = "c" * 32
    cli_journal.insert([create_record(key, requirement=requirement)], REPORTING)
    for event in (ExecutionStarted("a/3", 0.0), OwnerLost("a/3", "its process is gone")):
        cli_journal.transition(key, event, REPORTING)
    result = invoke("calls", "resolve", key, option, "--by", "mallory", "--journal", journal_path)
    assert cli_journal.find([key])[key].state is state
    if state is State.UNKNOWN:
        assert result.exit_code == 1
        assert "answer on the approval page" in result.stderr


def test_a_call_with_a_known_outcome_is_not_resolved(
    journal_path: Path, cli_journal: Journal
) -> None:
    result = invoke("calls", "resolve", "dddd", "--failed", "--journal", journal_path)
    assert (result.exit_code, "is executed" in result.stderr) == (1, True)
    assert cli_journal.find([EXECUTED])[EXECUTED].state is State.EXECUTED


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["calls", "resolve", "eeee"], "exactly one of"),
        (["calls", "resolve", "eeee", "--failed", "--run-again"], "exactly one of"),
        (["calls", "show", "0000"], "no call has a key that begins with"),
        (["calls", "list", "--status", "odd"], "'odd' is not one of"),
    ],
)
def test_bad_usage_says_what_to_change(
    journal_path: Path, arguments: list[str], message: str
) -> None:
    result = invoke(*arguments, "--journal", journal_path)
    assert (result.exit_code, message in " ".join(result.stderr.split())) == (2, True)


def test_a_mistyped_path_creates_no_journal(tmp_path: Path) -> None:
    result = invoke("calls", "list", "--journal", tmp_path / "typo.db")
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_only_calls_of_threads_without_open_calls_are_pruned(
    journal_path: Path, cli_journal: Journal
) -> None:
    deliver_all(cli_journal)
    assert (
        "0 calls" in invoke("calls", "prune", "--older-than", "0", "--journal", journal_path).stdout
    )
    completed_record = create_record("a" * 32)._replace(thread="over", state=State.BLOCKED)
    cli_journal.insert([completed_record], ReportingConfig(outcomes=False, memory=False))
    assert (
        "1 calls" in invoke("calls", "prune", "--older-than", "0", "--journal", journal_path).stdout
    )
    records = cli_journal.find([EXECUTED, UNKNOWN, AWAITING, "a" * 32])
    assert set(records) == {EXECUTED, UNKNOWN, AWAITING}
