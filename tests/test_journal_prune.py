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

QUIET = ReportingConfig(outcomes=False, memory=False)
DAY = 86_400.0


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Any]:
    if request.param == "memory":
        yield MemoryJournal(chosen=True, clock=clock)
        return
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    if request.param == "postgresql":
        from tests import postgres

        with postgres.database(request.getfixturevalue("postgres_server")) as named:
            opened = Journal(named, clock=clock)
            yield opened
            opened.close()
        return
    opened = Journal(url, clock=clock)
    yield opened
    opened.close()


def call(letter: str, thread: str, **fields: Any) -> CallRecord:
    return decided_record()._replace(key=letter * 32, thread=thread, created_at=1.0, **fields)


def settle(journal: Any, record: CallRecord, reporting: ReportingConfig = QUIET) -> None:
    journal.insert([record], reporting)
    journal.transition(record.key, ExecutionStarted("a/1", 0.0), reporting)
    journal.transition(record.key, ExecutionFinished("a/1", ToolSucceeded("done")), reporting)


def kept(journal: Any) -> str:
    return "".join(sorted(key[0] for key in journal.find([letter * 32 for letter in "abcdef"])))


def test_only_what_is_old_and_settled_is_forgotten(journal: Any, clock: Clock) -> None:
    settle(journal, call("a", "old"))
    clock.now += 2 * DAY
    settle(journal, call("b", "new"))
    assert (journal.prune(DAY), kept(journal)) == (1, "b")
    with pytest.raises(RecordNotFound):
        journal.transition("a" * 32, ExecutionStarted("a/2", 0.0), QUIET)


@pytest.mark.parametrize("state", [State.AWAITING, State.ALLOWED])
def test_a_thread_with_an_open_call_keeps_all_of_them(
    journal: Any, clock: Clock, state: State
) -> None:
    settle(journal, call("a", "thread"))
    journal.insert([call("b", "thread", state=state)], QUIET)
    clock.now += 2 * DAY
    assert (journal.prune(DAY), kept(journal)) == (0, "ab")


def test_a_call_of_unknown_outcome_is_never_deleted(journal: Any, clock: Clock) -> None:
    journal.insert([call("a", "thread")], QUIET)
    journal.transition("a" * 32, ExecutionStarted("a/1", 0.0), QUIET)
    journal.transition("a" * 32, OwnerLost("a/1", "gone"), QUIET)
    clock.now += 900 * DAY
    assert (journal.prune(DAY), kept(journal)) == (0, "a")


def test_what_bighub_has_not_been_told_is_not_forgotten(journal: Any, clock: Clock) -> None:
    settle(journal, call("a", "thread"), ReportingConfig())
    clock.now += 2 * DAY
    assert journal.prune(DAY) == 0
    entries = journal.lease_batch(clock.now, 10, early=True)
    journal.nack([entries[0].id], 0.0, "no", refused=True, dead_letter=True)
    journal.ack([one.id for one in entries[1:]])
    assert journal.prune(DAY) == 0
    journal.ack([entries[0].id])
    assert journal.prune(DAY) == 1


def test_a_forked_child_takes_calls_of_its_parent_for_abandoned() -> None:
    journal = MemoryJournal(chosen=True)
    journal.insert([call("a", "thread")], QUIET)
    running = journal.transition("a" * 32, ExecutionStarted(f"{journal.owner}/1", 0.0), QUIET)
    assert not journal.is_owner_dead(running)
    child = os.fork()
    if child == 0:
        os._exit(0 if journal.is_owner_dead(running) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_journal_in_memory_remembers_the_newest_settled_calls() -> None:
    journal = MemoryJournal(chosen=True, max_final_calls=3)
    for letter in "abcdef":
        settle(journal, call(letter, f"thread {letter}"))
    assert kept(journal) == "def"


def test_a_full_journal_in_memory_keeps_what_is_open_or_not_told() -> None:
    journal = MemoryJournal(chosen=True, max_final_calls=1)
    journal.insert([call("a", "open"), call("b", "open")], QUIET)
    journal.transition("b" * 32, ExecutionStarted("a/1", 0.0), QUIET)
    journal.transition("b" * 32, ExecutionFinished("a/1", ToolSucceeded("done")), QUIET)
    settle(journal, call("c", "untold"), ReportingConfig())
    for letter in "def":
        settle(journal, call(letter, f"thread {letter}"))
    assert kept(journal) == "abcf"
    journal.ack([one.id for one in journal.lease_batch(2e9, 10)])
    journal.transition("a" * 32, ExecutionStarted("a/2", 0.0), QUIET)
    journal.transition("a" * 32, ExecutionFinished("a/2", ToolSucceeded("done")), QUIET)
    settle(journal, call("d", "thread d")._replace(key="0" * 32))
    assert len(kept(journal)) <= 1
