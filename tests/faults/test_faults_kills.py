"""SIGKILL at random moments: no call starts twice, no outcome is lost, every thread goes on."""

import random
from pathlib import Path

import pytest

from bighub_langgraph.core.models import State
from tests.faults.clerk import LAST_MESSAGE, Office, agent_of, begin, work
from tests.faults.killing import (
    Killer,
    call_views,
    journal_of,
    outcomes_by_call,
    paid_twice,
    started_twice,
    took_effect_twice,
    unknown_but_not_listed,
)

SEED = 20261122
MANY_WORKERS = (2, 4, 8)


@pytest.fixture
def killer(request: pytest.FixtureRequest) -> Killer:
    return Killer(request.config.getoption("--kills"), random.Random(SEED))


def test_killed_at_random_moments(tmp_path: Path, database: str, killer: Killer) -> None:
    office = Office(tmp_path, database)
    office.prepare()
    threads: list[str] = []
    while killer.killed < killer.kills:
        threads.append(f"thread-{len(threads)}")
        while not killer.run(work, office, threads[-1:]):
            assert set(killer.finished) <= {0}
            check_starts(office)
    check_ends(office)
    check_threads(office, threads)
    check_history(office)


def test_killed_while_several_work_on_one_thread(
    tmp_path: Path, database: str, killer: Killer
) -> None:
    office = Office(tmp_path, database, rounds=(("pay", "book", "pay", "write"),))
    office.prepare()
    killer.kills //= 2
    threads: list[str] = []
    while killer.killed < killer.kills:
        threads.append(f"thread-{len(threads)}")
        begin(office, threads[-1])
        killer.run_several(MANY_WORKERS[len(threads) % 3], work, office, threads[-1:])
        assert set(killer.finished) <= {0}
        check_starts(office)
    work(office, threads)
    check_ends(office)
    check_threads(office, threads)
    check_history(office)


def check_starts(office: Office) -> None:
    """What holds at any time."""
    assert started_twice(office) == []
    assert took_effect_twice(office) == []
    assert paid_twice(office) == {}
    assert unknown_but_not_listed(office) == []


def check_ends(office: Office) -> None:
    """What holds once every thread came to its end."""
    with office.guard() as guard:
        assert guard.flush(10) == 0
    check_starts(office)
    calls = call_views(office)
    # A message that was never stored leaves calls that belong to no thread; none of them ran.
    unfinished = [line.record for line in calls if not line.record.is_final]
    assert {record.state for record in unfinished} <= {State.ALLOWED, State.AWAITING}
    assert [record.key for record in unfinished if office.wrote("started", record.key)] == []
    ended = [line.record.key for line in calls if line.record.is_final]
    assert outcomes_by_call(office) == dict.fromkeys(ended, 1)


def check_threads(office: Office, threads: list[str]) -> None:
    """Every call of every thread is answered once, and every thread takes a new message."""
    with agent_of(office) as agent:
        for thread in threads:
            state = agent.get_state({"configurable": {"thread_id": thread}})
            messages = state.values["messages"]
            call_ids = [
                call["id"]
                for message in messages
                if message.type == "ai"
                for call in message.tool_calls
            ]
            answered_ids = [message.tool_call_id for message in messages if message.type == "tool"]
            assert sorted(call_ids) == sorted(answered_ids)
            assert len(call_ids) == sum(map(len, office.rounds))
            assert messages[-1].content == LAST_MESSAGE
        again = {"configurable": {"thread_id": threads[-1]}}
        state = agent.invoke({"messages": [("user", "and again")]}, again)
        assert "__interrupt__" in state or state["messages"][-1].content == LAST_MESSAGE


def check_history(office: Office) -> None:
    """Every transition of every call is in its history."""
    with journal_of(office) as journal:
        for line in call_views(office):
            notes = journal.admin.history(line.record.key)
            assert [note.version for note in notes] == list(range(1, line.record.version + 1))
            assert notes[-1].state is line.record.state
            assert sum(note.event == "ExecutionStarted" for note in notes) == line.record.starts
