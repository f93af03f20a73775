"""SIGKILL at random moments: no call starts twice, no outcome is lost, every thread goes on."""

import itertools
import random
from pathlib import Path

import pytest

from bighub_langgraph.core.models import CallRecord, State
from tests.faults.hosts import begin, open_host, prepare, work
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
from tests.faults.office import HOSTS, Office

SEED = 20261122
MANY_WORKERS = (2, 4, 8)
WRONG_CLOCK = 120.0
HOST_KINDS = list(itertools.product(HOSTS, ("sync", "async")))
every_host = pytest.mark.parametrize(("host", "mode"), HOST_KINDS)


@pytest.fixture
def killer(request: pytest.FixtureRequest) -> Killer:
    kills = request.config.getoption("--kills") // len(HOST_KINDS)
    return Killer(kills, random.Random(SEED))


@every_host
def test_killed_at_random_moments(
    tmp_path: Path, database: str, killer: Killer, host: str, mode: str
) -> None:
    office = Office(tmp_path, database, host, mode, clock_error=WRONG_CLOCK)
    prepare(office)
    threads: list[str] = []
    while killer.killed < killer.kills:
        threads.append(f"thread-{len(threads)}")
        if host == "facade":  # a run that dies before it is stored is a new run
            begin(office, threads[-1])
        while not killer.run(work, office, threads[-1:]):
            assert set(killer.finished) <= {0}
            check_starts(office)
    check_ends(office)
    check_threads(office, threads)
    check_history(office)


@every_host
def test_killed_and_paused_while_several_work_on_one_thread(
    tmp_path: Path, database: str, killer: Killer, host: str, mode: str
) -> None:
    rounds = (("pay", "book", "pay", "write"),)
    office = Office(tmp_path, database, host, mode, rounds, clock_error=WRONG_CLOCK)
    prepare(office)
    killer.kills, killer.pauses = killer.kills // 2, 0.2
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
    assert [record.key for record in unfinished if office.count("started", record.key)] == []
    ended = [line.record for line in calls if line.record.is_final]
    # A call that was blocked while the engine's database was away has no decision, so no outcome.
    decided = [record.key for record in ended if not is_undecided(record)]
    assert outcomes_by_call(office) == dict.fromkeys(decided, 1)


def is_undecided(record: CallRecord) -> bool:
    """Whether a call was blocked because BIGHUB could not be reached."""
    return record.decision is not None and record.decision.fault == "unavailable"


def check_threads(office: Office, threads: list[str]) -> None:
    """Every call of every thread is answered once, and every thread takes a new message."""
    with open_host(office) as host:
        for thread in threads:
            host.check(thread, sum(map(len, office.rounds)))


def check_history(office: Office) -> None:
    """Every transition of every call is in its history."""
    with journal_of(office) as journal:
        for line in call_views(office):
            notes = [
                note
                for note in journal.admin.history(line.record.key)
                if note.event != "PersonAsked"  # which is no transition
            ]
            assert [note.version for note in notes] == list(range(1, line.record.version + 1))
            assert notes[-1].state is line.record.state
            assert sum(note.event == "ExecutionStarted" for note in notes) == line.record.starts
