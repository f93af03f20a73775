"""A PostgreSQL that goes away and comes back, as in a power cut."""

import os
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
from tests.test_journal_sql import call

TELLING = ReportingConfig()


@pytest.fixture
def server() -> Iterator[Postgres]:
    with postgres.server() as started:
        yield started


def test_nothing_starts_while_it_is_away_and_everything_goes_on_when_it_is_back(
    server: Postgres,
) -> None:
    journal = Journal(server.url)
    mine, other = call("a" * 32), call("b" * 32)
    journal.open([mine, other], TELLING)
    owner = f"{journal.owner}/1"
    journal.move(mine.key, ExecutionStarted(owner, 0.0), TELLING)
    server.stop()
    with pytest.raises(JournalError, match="cannot be used"):
        journal.move(other.key, ExecutionStarted(owner, 0.0), TELLING)
    with pytest.raises(JournalError):  # the tool has run, and only this process knows
        journal.move(mine.key, ExecutionFinished(owner, ToolSucceeded("done")), TELLING)
    server.start()
    # What was owed is written by itself; no connection of before gets in the way.
    patience = threading.Event()
    while journal.find([mine.key])[mine.key].state is State.RUNNING:
        patience.wait(0.05)
    found = journal.find([mine.key, other.key])
    assert found[mine.key].state is State.EXECUTED
    assert found[other.key].state is State.ALLOWED
    assert journal.waiting() == 2
    assert journal.move(other.key, ExecutionStarted(owner, 0.0), TELLING).state is State.RUNNING
    journal.close()


def test_nobody_counts_as_gone_for_what_happened_while_the_database_was_away(
    server: Postgres,
) -> None:
    now = 1_000_000.0
    here = Journal(server.url, lease=30.0, clock=lambda: now)
    there = Journal(server.url, lease=30.0, clock=lambda: now)
    there._process._known = ("elsewhere:7:7:x", os.getpid())  # as on another machine
    here.open([call()], TELLING)
    running = there.move(call().key, ExecutionStarted("elsewhere:7:7:x/1", 0.0), TELLING)
    server.stop()
    with pytest.raises(JournalError):
        here.waiting()
    now += 60.0
    with pytest.raises(JournalError):
        here.waiting()
    server.start()
    assert not here.abandoned(running)
    now += 31.0
    assert here.abandoned(running)
    for journal in (here, there):
        journal.close()
