"""Calls that nobody answers end: every evaluation gets an outcome, and nothing is said of a no."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from bighub_langgraph import BighubGuard, Journal
from bighub_langgraph.core.lifecycle import AnswerGiven, ExecutionStarted
from bighub_langgraph.core.models import CallRecord, State, Verdict
from bighub_langgraph.core.reporting import ReportingConfig
from tests.calls import approval, decided_record
from tests.engines import ScriptedBighub

REPORTING = ReportingConfig()
LATE = 10.0**12


def waiting(name: str, expires_at: float | None) -> CallRecord:
    return decided_record(Verdict.REVIEW)._replace(key=name, created_at=1.0, expires_at=expires_at)


def fill(journal: Any) -> None:
    """A call in each situation; of two the time is over."""
    records = [
        waiting("unanswered", 1.0),
        waiting("unused", 5.0),
        waiting("in time", LATE),
        waiting("without expiry", None),
        waiting("running", 5.0),
    ]
    journal.insert(records, REPORTING)
    for name in ("unused", "running"):
        journal.transition(name, AnswerGiven(approval(at=2.0, expires_at=5.0)), REPORTING)
    journal.transition("running", ExecutionStarted(f"{journal.owner}/1", 3.0), REPORTING)


def deliver(guard: BighubGuard) -> None:
    guard.runtime.delivery.deliver()
    assert guard.runtime.delivery.wait(10)


WAYS: dict[str, Callable[[BighubGuard], Any]] = {
    "flush": lambda guard: guard.flush(),
    "flush with a timeout": lambda guard: guard.flush(5),
    "aflush": lambda guard: asyncio.run(guard.aflush()),
    "the delivery worker": deliver,
}


@pytest.mark.parametrize("way", WAYS)
def test_overdue_calls_expire_with_an_outcome_and_without_a_denial(way: str) -> None:
    check(Journal.in_memory(), WAYS[way])


def test_a_journal_in_a_database_finds_its_overdue_calls(database: str) -> None:
    with closing(Journal(database)) as journal:
        check(journal, WAYS["flush"])


def check(journal: Any, end_overdue_calls: Callable[[BighubGuard], Any]) -> None:
    bighub = ScriptedBighub()
    fill(journal)
    with BighubGuard(bighub=bighub, journal=journal, memory_enabled=False) as guard:
        end_overdue_calls(guard)
        names = ["unanswered", "unused", "in time", "without expiry", "running"]
        assert [journal.find([name])[name].state for name in names] == [
            State.EXPIRED,
            State.EXPIRED,
            State.AWAITING,
            State.AWAITING,
            State.RUNNING,
        ]
    ended = {outcome["details"]["idempotency_key"] for outcome in bighub.reported_outcomes}
    assert ended == {"unanswered", "unused"}
    assert bighub.statuses == ["BLOCKED", "BLOCKED"]
    resolutions = [resolution["resolution"] for resolution in bighub.resolutions]
    assert resolutions == ["approved", "approved"]  # those that a person gave
