"""A PostgreSQL that goes away and comes back, as in a power cut."""

import threading
from collections.abc import Iterator

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.core.errors import JournalError
from bighub_langgraph.core.lifecycle import ExecutionFinished, ExecutionStarted
from bighub_langgraph.core.models import State, ToolSucceeded
from bighub_langgraph.core.reporting import ReportingConfig
from tests import postgres
from tests.postgres import Postgres
from tests.test_journal_sql import call, let_pass, run_elsewhere

REPORTING = ReportingConfig()


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres.server() as started:
        yield started


def test_no_call_starts_while_the_database_is_away_and_runs_continue_when_it_returns(
    server: Postgres,
) -> None:
    journal = Journal(server.url)
    own, other = call("a" * 32), call("b" * 32)
    journal.insert([own, other], REPORTING)
    owner = f"{journal.owner}/1"
    journal.transition(own.key, ExecutionStarted(owner, 0.0), REPORTING)
    server.stop()
    with pytest.raises(JournalError, match="cannot be used"):
        journal.transition(other.key, ExecutionStarted(owner, 0.0), REPORTING)
    with pytest.raises(JournalError):  # the tool has run, and only this process knows
        journal.transition(own.key, ExecutionFinished(owner, ToolSucceeded("done")), REPORTING)
    server.start()
    # What was owed is written by itself; no connection of before gets in the way.
    patience = threading.Event()
    while journal.find([own.key])[own.key].state is State.RUNNING:
        patience.wait(0.05)
    records = journal.find([own.key, other.key])
    assert records[own.key].state is State.EXECUTED
    assert records[other.key].state is State.ALLOWED
    assert journal.pending_count() == 2
    assert (
        journal.transition(other.key, ExecutionStarted(owner, 0.0), REPORTING).state
        is State.RUNNING
    )
    journal.close()


def test_no_process_counts_as_dead_because_the_database_was_away(
    server: Postgres,
) -> None:
    here, there = Journal(server.url), Journal(server.url)
    there._heartbeat.stop()
    running = run_elsewhere(there, here)
    server.stop()
    with pytest.raises(JournalError):
        here.pending_count()
    server.start()
    let_pass(here, 60.0)
    assert not here.is_owner_dead(running)
    here._db.failed_at -= 31.0  # half a minute later
    assert here.is_owner_dead(running)
    for journal in (here, there):
        journal.close()
