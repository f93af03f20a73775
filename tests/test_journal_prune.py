"""What is old, settled and told may be forgotten; nothing else ever is."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import Journal
from bighub_langgraph.core.errors import RecordNotFound
from bighub_langgraph.core.lifecycle import ExecutionFinished, ExecutionStarted, OwnerLost
from bighub_langgraph.core.models import CallRecord, State, ToolSucceeded
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.journal.memory_journal import MemoryJournal
from tests.calls import decided_record
from tests.local_engine import Clock

QUIET = ReportingConfig(outcomes=False, memory=False)
DAY = 86_400.0


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000_000.0, step=0.0)


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryJournal(chosen=True, clock=clock)
        return
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    if request.param == "postgresql":
        from tests import postgres

        with postgres.database(request.getfixturevalue("postgres_server")) as named:
            journal = Journal(named, clock=clock)
            yield journal
            journal.close()
        return
    journal = Journal(url, clock=clock)
    yield journal
    journal.close()


def call(letter: str, thread: str, **fields: Any) -> CallRecord:
    return decided_record()._replace(key=letter * 32, thread=thread, created_at=1.0, **fields)


def run_and_deliver(journal: Any, record: CallRecord, reporting: ReportingConfig = QUIET) -> None:
    journal.insert([record], reporting)
    journal.transition(record.key, ExecutionStarted("a/1", 0.0), reporting)
    journal.transition(record.key, ExecutionFinished("a/1", ToolSucceeded("done")), reporting)


def remaining_letters(journal: Any) -> str:
    return "".join(sorted(key[0] for key in journal.find([letter * 32 for letter in "abcdef"])))


def test_only_old_final_calls_are_deleted(journal: Any, clock: Clock) -> None:
    run_and_deliver(journal, call("a", "old"))
    clock.now += 2 * DAY
    run_and_deliver(journal, call("b", "new"))
    assert (journal.prune(DAY), remaining_letters(journal)) == (1, "b")
    with pytest.raises(RecordNotFound):
        journal.transition("a" * 32, ExecutionStarted("a/2", 0.0), QUIET)


@pytest.mark.parametrize("state", [State.AWAITING, State.ALLOWED])
def test_a_thread_with_an_open_call_keeps_all_of_them(
    journal: Any, clock: Clock, state: State
) -> None:
    run_and_deliver(journal, call("a", "thread"))
    journal.insert([call("b", "thread", state=state)], QUIET)
    clock.now += 2 * DAY
    assert (journal.prune(DAY), remaining_letters(journal)) == (0, "ab")


def test_a_call_of_unknown_outcome_is_never_deleted(journal: Any, clock: Clock) -> None:
    journal.insert([call("a", "thread")], QUIET)
    journal.transition("a" * 32, ExecutionStarted("a/1", 0.0), QUIET)
    journal.transition("a" * 32, OwnerLost("a/1", "gone"), QUIET)
    clock.now += 900 * DAY
    assert (journal.prune(DAY), remaining_letters(journal)) == (0, "a")


def test_a_call_with_pending_reports_is_not_deleted(journal: Any, clock: Clock) -> None:
    run_and_deliver(journal, call("a", "thread"), ReportingConfig())
    clock.now += 2 * DAY
    assert journal.prune(DAY) == 0
    entries = journal.lease_batch(clock.now, 10, early=True)
    journal.nack([entries[0].id], 0.0, "no", refused=True, dead_letter=True)
    journal.ack([entry.id for entry in entries[1:]])
    assert journal.prune(DAY) == 0
    journal.ack([entries[0].id])
    assert journal.prune(DAY) == 1


def test_a_forked_child_sees_the_owner_of_its_parents_calls_as_dead() -> None:
    journal = MemoryJournal(chosen=True)
    journal.insert([call("a", "thread")], QUIET)
    running = journal.transition("a" * 32, ExecutionStarted(f"{journal.owner}/1", 0.0), QUIET)
    assert not journal.is_owner_dead(running)
    child = os.fork()
    if child == 0:
        os._exit(0 if journal.is_owner_dead(running) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_journal_in_memory_keeps_the_newest_final_calls() -> None:
    journal = MemoryJournal(chosen=True, max_final_calls=3)
    for letter in "abcdef":
        run_and_deliver(journal, call(letter, f"thread {letter}"))
    assert remaining_letters(journal) == "def"


def test_a_full_journal_in_memory_keeps_open_and_unreported_calls() -> None:
    journal = MemoryJournal(chosen=True, max_final_calls=1)
    journal.insert([call("a", "open"), call("b", "open")], QUIET)
    journal.transition("b" * 32, ExecutionStarted("a/1", 0.0), QUIET)
    journal.transition("b" * 32, ExecutionFinished("a/1", ToolSucceeded("done")), QUIET)
    run_and_deliver(journal, call("c", "untold"), ReportingConfig())
    for letter in "def":
        run_and_deliver(journal, call(letter, f"thread {letter}"))
    assert remaining_letters(journal) == "abcf"
    journal.ack([entry.id for entry in journal.lease_batch(2e9, 10)])
    journal.transition("a" * 32, ExecutionStarted("a/2", 0.0), QUIET)
    journal.transition("a" * 32, ExecutionFinished("a/2", ToolSucceeded("done")), QUIET)
    run_and_deliver(journal, call("d", "thread d")._replace(key="0" * 32))
    assert len(remaining_letters(journal)) <= 1
