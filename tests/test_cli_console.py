"""What comes from calls, people and files is printed as data, in every command."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    ExecutionFinished,
    ExecutionStarted,
    OwnerLost,
)
from bighub_langgraph.core.models import ToolFailed, Verdict
from bighub_langgraph.local import Engine
from bighub_langgraph.local.api_keys import create_key
from tests.calls import approval, decided_record
from tests.cli_journal import REPORTING, invoke

# Console markup, also broken; an escape code, a line of its own, a text that is shown backwards.
TEXTS = ("a[/b]", "[bold]a", "[tenant-a] 17", "\\[x", "[link=e]a[/]", ":warning: a")
HIDDEN = {
    "a\x1b[2Jb": "a\\x1b[2Jb",
    "a\nb": "a\\nb",
    "a\u202eb": "a\\u202eb",
    "é\u3000a": "é\u3000a",
}
SHOWN = {**dict(zip(TEXTS, TEXTS, strict=True)), **HIDDEN}


def create_databases(folder: Path, text: str) -> None:
    """A journal, an engine with a key, and a recording, in which every name and text is `text`."""
    journal = Journal(f"sqlite:///{folder / 'calls.db'}")
    names: Any = {"tool": text, "thread": text, "call_id": text}
    reviewed_record = decided_record(Verdict.REVIEW)._replace(key="d" * 32, **names)
    unknown = decided_record()._replace(key="e" * 32, **names)
    waiting_record = reviewed_record._replace(key="f" * 32)
    journal.insert([reviewed_record, unknown, waiting_record], REPORTING)
    answer = approval(at=2.0, approver=text, comment=text)
    journal.transition(reviewed_record.key, AnswerGiven(answer), REPORTING)
    journal.transition(reviewed_record.key, ExecutionStarted("a/1", 0.0), REPORTING)
    journal.transition(reviewed_record.key, ExecutionFinished("a/1", ToolFailed(text)), REPORTING)
    journal.transition(unknown.key, ExecutionStarted("a/2", 0.0), REPORTING)
    journal.transition(unknown.key, OwnerLost("a/2", text), REPORTING)
    item = journal.lease_batch(0.0, 1)[0]
    journal.nack([item.id], 0.0, text, refused=True, dead_letter=True)
    journal.close()
    with Engine(f"sqlite:///{folder / 'bighub.db'}") as engine:
        create_key(engine, label=text)
    run = {"trajectory_id": text, "calls": [{"tool": text, "arguments": {}}, {"tool": 1}]}
    (folder / "run.json").write_text(json.dumps(run))


COMMANDS: dict[str, tuple[Sequence[str], int]] = {
    "calls list": (("calls", "list"), 0),
    "calls show a failure": (("calls", "show", "dddd"), 0),
    "calls show an unknown outcome": (("calls", "show", "eeee"), 0),
    "calls waiting": (("calls", "list", "--status", "awaiting_approval"), 0),
    "calls cancel": (("calls", "cancel", "ffff", "--reason", "why"), 0),
    "calls cancel what ended": (("calls", "cancel", "dddd", "--reason", "why"), 1),
    "calls resolve": (("calls", "resolve", "eeee", "--failed"), 0),
    "calls resolve what is known": (("calls", "resolve", "dddd", "--failed"), 1),
    "outbox list": (("outbox", "list"), 0),
    "doctor": (("doctor",), 1),
    "keys list": (("keys", "list"), 0),
    "replay": (("replay", "run.json"), 0),
}


@pytest.mark.parametrize("text", SHOWN, ids=ascii)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_prints_data_as_data(
    command: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("BIGHUB_API_KEY", "BIGHUB_BASE_URL", "BIGHUB_JOURNAL"):
        monkeypatch.delenv(name, raising=False)
    create_databases(tmp_path, text)
    arguments, code = COMMANDS[command]
    result = invoke(*arguments)
    assert result.exit_code == code
    assert _without_folds(SHOWN[text]) in _without_folds(result.output)


@pytest.mark.parametrize("text", SHOWN, ids=ascii)
def test_an_error_repeats_what_was_typed_as_data(text: str) -> None:
    result = invoke("calls", "list", "--journal", f"none/{text}")
    assert result.exit_code == 2
    assert SHOWN[text] in result.output


def _without_folds(text: str) -> str:
    """A text without the spaces and line breaks by which a table folds it into a column."""
    return "".join(text.split())
