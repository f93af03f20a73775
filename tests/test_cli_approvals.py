"""The `approvals` commands: what a person sees in a terminal, and what becomes of an answer."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.core.lifecycle import AnswerGiven
from bighub_langgraph.core.models import Answer, ApprovalRequirement, State
from bighub_langgraph.core.ports import ApprovalQuestion
from tests.calls import approval
from tests.cli_journal import (
    FILE,
    REPORTING,
    UNKNOWN,
    create_journal,
    create_record,
    deliver_all,
    invoke,
)

PAY, NOTE = "1" * 64, "2" * 64
SCHEMA = {
    "type": "object",
    "properties": {"amount": {"type": "number"}, "to": {"type": "string"}, "card": {}},
    "required": ["amount", "to"],
}
MAIN = "from bighub_langgraph.cli import main; main()"
HOSTILE = "<script>\x1b[2J\u202e\u200b# *hi*" + "x" * 100_000


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Besides the calls of `create_journal`, two calls of an agent."""
    with closing(create_journal(tmp_path)) as journal:
        ask(journal, PAY, "pay", {"amount": 40, "to": "bob", "card": "[redacted]"}, risk=0.7)
        ask(journal, NOTE, "note", {"text": HOSTILE}, risk=0.1)
        yield journal


@pytest.fixture
def path(tmp_path: Path, journal: Journal) -> Path:
    del journal
    return tmp_path / FILE


def ask(journal: Journal, key: str, tool: str, arguments: Any, **options: Any) -> None:
    record = create_record(key, tool=tool, state=State.AWAITING)
    record = record._replace(thread=options.get("thread", record.thread))
    assert record.decision is not None
    reply = {**record.decision.reply, "risk_score": options.get("risk", 0.5)}
    requirement = ApprovalRequirement(options.get("approvals", 1))
    decision = replace(record.decision, reply=reply)
    record = record._replace(decision=decision, requirement=requirement)
    journal.insert([record], REPORTING)
    question = ApprovalQuestion(
        key=key,
        agent="desk",
        thread="order-17",
        namespace="",
        schema=SCHEMA if tool == "pay" else {},
        tool_description="",
        description=f"{tool}\nBIGHUB says review \x1b[31mred",
        evidence={},
        arguments=arguments,
        locked_pointers=("/card",) if "card" in arguments else (),
        allowed_decisions=("approve", "edit", "reject"),
        allow_tool_change=False,
    )
    journal.store_questions([question])


def record_of(journal: Journal, key: str) -> Any:
    return journal.find([key])[key]


def list_tools(path: Path, *filters: object) -> list[str]:
    result = invoke("approvals", "list", "--journal", path, "--json", *filters)
    return [call["tool"] for call in json.loads(result.stdout)]


def test_what_waits_is_listed_the_riskiest_first(path: Path) -> None:
    result = invoke("approvals", "list", "--journal", path)
    assert result.exit_code == 0
    for text in ("4 calls wait", "pay", "desk", "high risk (0.70)", "low risk (0.10)"):
        assert text in result.stdout
    assert list_tools(path)[0] == "pay"


@pytest.mark.parametrize(
    ("filters", "tools"),
    [
        (["--agent", "desk"], ["pay", "note"]),
        (["--tool", "note"], ["note"]),
        (["--thread", "order-17"], ["pay", "note"]),
        (["--min-risk", "0.6"], ["pay"]),
        (["--waiting-longer-than", "1h"], []),
        (["--limit", "1"], ["pay"]),
    ],
)
def test_what_waits_is_filtered(path: Path, filters: list[str], tools: list[str]) -> None:
    assert list_tools(path, *filters) == tools


@pytest.mark.parametrize("command", [("show", NOTE[:8]), ("list",)])
def test_nothing_in_a_call_controls_the_terminal(path: Path, command: tuple[str, ...]) -> None:
    result = invoke("approvals", *command, "--journal", path)
    assert result.exit_code == 0
    for character in "\x1b\u202e\u200b":
        assert character not in result.stdout


def test_a_call_is_shown_with_its_arguments_as_data(path: Path) -> None:
    output = invoke("approvals", "show", NOTE[:8], "--journal", path).stdout
    text = "".join(output.split())
    assert r"<script>\u001b[2J\u202e\u200b#*hi*xxx" in text
    assert "charactersinall" in text
    assert r"BIGHUB says review \x1b[31mred" in output
    for line in ("desk", "order-17", "low risk (0.10)", "approve, edit, reject"):
        assert line in output
    complete = json.loads(invoke("approvals", "show", NOTE, "--journal", path, "--json").stdout)
    assert complete["arguments"] == {"text": HOSTILE}


def test_an_approval_is_recorded_with_who_gave_it(path: Path, journal: Journal) -> None:
    options = ("--by", "alice", "--comment", "receipt checked", "--journal", path)
    result = invoke("approvals", "approve", PAY[:6], *options)
    assert (result.exit_code, result.stdout) == (0, f"pay {PAY[:12]} is now allowed\n")
    answer = record_of(journal, PAY).approval
    assert (answer.approver, answer.verified, answer.comment) == ("alice", False, "receipt checked")


def test_a_rejection_carries_its_reason(path: Path, journal: Journal) -> None:
    result = invoke("approvals", "reject", PAY, "--reason", "never paid", "--journal", path)
    assert result.exit_code == 0
    assert (record_of(journal, PAY).state, record_of(journal, PAY).reason) == (
        State.BLOCKED,
        "never paid",
    )


def test_an_edit_changes_what_it_names_and_nothing_else(path: Path, journal: Journal) -> None:
    options = ("--set", "amount=20", "--set", "/to=carl", "--journal", path)
    result = invoke("approvals", "edit", PAY, *options)
    assert (result.exit_code, result.stdout) == (0, f"pay {PAY[:12]} is now edited\n")
    answer = record_of(journal, PAY).approval
    assert answer.answer is Answer.EDIT
    assert answer.edit.values == {"/amount": 20, "/to": "carl"}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (["--set", "amount=a lot"], "does not fit pay: amount: 'a lot' is not of type 'number'"),
        (["--remove", "to"], "'to' is a required property"),
        (["--set", "amount=40"], "changes nothing"),
        ([], "changes nothing"),
    ],
)
def test_an_edit_that_does_not_fit_is_refused_and_the_call_waits_on(
    path: Path, journal: Journal, changes: list[str], problem: str
) -> None:
    result = invoke("approvals", "edit", PAY, *changes, "--journal", path)
    assert result.exit_code == 1
    assert problem in " ".join(result.stderr.split())
    assert record_of(journal, PAY).state is State.AWAITING


def test_the_second_of_two_people_is_told_who_answered(path: Path, journal: Journal) -> None:
    first = approval(Answer.REJECT, at=2.0, approver="alice", text="no")
    journal.transition(PAY, AnswerGiven(first), REPORTING)
    result = invoke("approvals", "approve", PAY, "--journal", path)
    assert result.exit_code == 1
    assert "alice has answered already, at 1970-01-01 00:00:02 UTC: reject" in result.stderr
    assert record_of(journal, PAY).state is State.BLOCKED


def test_a_name_in_the_terminal_is_not_one_of_two_approvals(path: Path, journal: Journal) -> None:
    ask(journal, "3" * 64, "wire", {}, approvals=2)
    result = invoke("approvals", "approve", "333", "--by", "alice", "--journal", path)
    assert result.exit_code == 1
    assert "only people who are signed in may approve it" in result.stderr
    assert record_of(journal, "3" * 64).state is State.AWAITING


def test_a_call_of_unknown_outcome_is_not_approved_here(path: Path, journal: Journal) -> None:
    result = invoke("approvals", "approve", UNKNOWN, "--journal", path)
    assert result.exit_code == 1
    assert "its outcome is unknown; see `calls resolve`" in " ".join(result.stderr.split())
    assert record_of(journal, UNKNOWN).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["show", "9"], "no call has a key that begins with '9'; see `approvals list`"),
        (["edit", PAY, "--set", "amount"], "--set amount: write NAME=VALUE"),
        (["reject", PAY], "Missing option"),
    ],
)
def test_a_mistake_is_explained(path: Path, arguments: list[str], problem: str) -> None:
    result = invoke("approvals", *arguments, "--journal", path)
    assert result.exit_code == 2
    assert problem in " ".join(result.stderr.split())


def test_watching_prints_each_change_as_a_line(path: Path, journal: Journal) -> None:
    command = [sys.executable, "-c", MAIN, "approvals", "list", "--watch", "--json"]
    options = ["--agent", "desk", "--journal", str(path)]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        lines = (json.loads(line) for line in watcher.stdout)
        assert [next(lines)["tool"], next(lines)["tool"]] == ["pay", "note"]
        journal.transition(NOTE, AnswerGiven(approval(at=2.0)), REPORTING)
        last_line = next(lines)
        assert (last_line["tool"], last_line["state"]) == ("note", "allowed")
        ask(journal, "3" * 64, "wire", {})
        assert next(lines)["tool"] == "wire"
        # A call that is answered and pruned, mostly between two looks, does not end the list.
        ask(journal, "5" * 64, "mail", {}, thread="order-18")
        assert next(lines)["tool"] == "mail"
        journal.transition("5" * 64, AnswerGiven(approval(Answer.REJECT, at=2.0)), REPORTING)
        deliver_all(journal)
        assert journal.admin.prune(-1.0) == 1
        for key, tool in (("6" * 64, "send"), ("4" * 64, "ship")):
            ask(journal, key, tool, {})
        assert "ship" in (line["tool"] for line in lines)
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(20) == 0
