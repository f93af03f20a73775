"""SIGKILL at random moments: no call starts twice, no outcome is lost, every thread goes on."""

import random
from pathlib import Path

import pytest

from bighub_langgraph.core.models import State
from tests.faults.clerk import LAST_WORD, Office, agent_of, begin, work
from tests.faults.killing import (
    Killer,
    journal_of,
    lines,
    outcomes_told,
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
    told = lines(office)
    # A message that was never stored leaves calls that no thread knows of, and none of them ran.
    left = [line.record for line in told if not line.record.is_final]
    assert {record.state for record in left} <= {State.ALLOWED, State.AWAITING}
    assert [record.key for record in left if office.wrote("started", record.key)] == []
    ended = [line.record.key for line in told if line.record.is_final]
    assert outcomes_told(office) == dict.fromkeys(ended, 1)


def check_threads(office: Office, threads: list[str]) -> None:
    """Every call of every thread is answered once, and every thread takes a new message."""
    with agent_of(office) as agent:
        for thread in threads:
            state = agent.get_state({"configurable": {"thread_id": thread}})
            messages = state.values["messages"]
            asked = [call["id"] for one in messages if one.type == "ai" for call in one.tool_calls]
            answered = [one.tool_call_id for one in messages if one.type == "tool"]
            assert sorted(asked) == sorted(answered)
            assert len(asked) == sum(map(len, office.rounds))
            assert messages[-1].content == LAST_WORD
        again = {"configurable": {"thread_id": threads[-1]}}
        state = agent.invoke({"messages": [("user", "and again")]}, again)
        assert "__interrupt__" in state or state["messages"][-1].content == LAST_WORD


def check_history(office: Office) -> None:
    """Every move of every call is in its history."""
    with journal_of(office) as journal:
        for line in lines(office):
            notes = journal.admin.history(line.record.key)
            assert [note.version for note in notes] == list(range(1, line.record.version + 1))
            assert notes[-1].state is line.record.state
            assert sum(note.event == "ExecutionStarted" for note in notes) == line.record.starts
