"""A journal with a call in each situation that the commands on a journal distinguish."""

from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from bighub_langgraph import Journal
from bighub_langgraph.cli.app import app
from bighub_langgraph.core.lifecycle import (
    AnswerGiven,
    ExecutionFinished,
    ExecutionStarted,
    OwnerLost,
)
from bighub_langgraph.core.models import CallRecord, State, ToolSucceeded, Verdict
from bighub_langgraph.core.reporting import ReportingConfig
from tests.calls import approval, decided_record

REPORTING = ReportingConfig()
EXECUTED, UNKNOWN, AWAITING = "d" * 32, "e" * 32, "f" * 32
FILE = "calls.db"


def invoke(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def create_record(key: str, **fields: Any) -> CallRecord:
    return decided_record()._replace(key=key, created_at=2.0, **fields)


def create_journal(folder: Path) -> Journal:
    """A journal with one executed call, one with an unknown outcome, and one awaiting approval."""
    journal = Journal(f"sqlite:///{folder / FILE}")
    reviewed = decided_record(Verdict.REVIEW)._replace(key=EXECUTED, created_at=1.0)
    waiting = create_record(AWAITING, state=State.AWAITING)
    journal.insert([reviewed, create_record(UNKNOWN, tool="pay"), waiting], REPORTING)
    yes = approval(at=2.0, approver="alice", verified=True, comment="checked")
    journal.transition(EXECUTED, AnswerGiven(yes), REPORTING)
    journal.transition(EXECUTED, ExecutionStarted("a/1", 0.0), REPORTING)
    journal.transition(EXECUTED, ExecutionFinished("a/1", ToolSucceeded("done")), REPORTING)
    journal.transition(UNKNOWN, ExecutionStarted("a/2", 0.0), REPORTING)
    journal.transition(UNKNOWN, OwnerLost("a/2", "its process is gone"), REPORTING)
    return journal


def deliver_all(journal: Journal) -> None:
    """Empty the outbox, as if BIGHUB had accepted every entry."""
    journal.ack([entry.id for entry in journal.lease_batch(1e12, 100, early=True)])
