"""SIGKILL of agents, workers, people's own runs and the page: every answered thread finishes."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph.core.models import State
from tests.faults.hosts import GraphHost, open_host, prepare, work
from tests.faults.killing import Killer, call_views
from tests.faults.office import Office
from tests.faults.page import PERSON, PageProcess, Person, answers_of
from tests.faults.test_faults_kills import (
    SEED,
    check_ends,
    check_history,
    check_starts,
    check_threads,
)

HOST_KINDS = [("graph", "sync"), ("middleware", "async")]
MANY_ROUNDS = 30


@pytest.fixture
def killer(request: pytest.FixtureRequest) -> Killer:
    kills = request.config.getoption("--kills") // (2 * len(HOST_KINDS))
    return Killer(kills, random.Random(SEED))


def bring_to_question(office: Office, thread: str) -> None:
    """The agent's own process, which is started again until its thread waits or has ended."""
    with open_host(office) as host:
        assert isinstance(host, GraphHost)
        host.bring_to_question(thread)


def resume_answered(office: Office) -> None:
    """A worker, until no thread can go on."""
    with open_host(office) as host:
        assert isinstance(host, GraphHost)
        host.resume_answered()


@pytest.mark.parametrize(("host", "mode"), HOST_KINDS)
def test_answered_threads_finish_whatever_is_killed(
    tmp_path: Path, database: str, killer: Killer, host: str, mode: str
) -> None:
    office = Office(tmp_path, database, host, mode)
    prepare(office)
    threads: list[str] = []
    killer.kills, page_kills = 2 * killer.kills // 3, killer.kills // 3
    with PageProcess(database, page_kills, killer.chance) as page:
        person = Person(office, page, killer.chance)
        while killer.killed < killer.kills or page.killed < page.kills:
            threads.append(f"thread-{len(threads)}")
            while not killer.run(bring_to_question, office, threads[-1]):
                check_starts(office)
            with killer.running(resume_answered, office):
                person.answer_all()
            by_hand: Callable[..., Any] = work
            if killer.chance.random() < 0.3:
                killer.run(by_hand, office, threads[-1:])
            killer.run(resume_answered, office)
            check_starts(office)
        for _ in range(MANY_ROUNDS):
            person.answer_all()
            assert killer.run(resume_answered, office)
            with open_host(office) as agent:
                assert isinstance(agent, GraphHost)
                if all(map(agent.has_ended, threads)):
                    break
    assert set(killer.finished) == {0}
    check_ends(office)
    check_threads(office, threads)
    check_history(office)
    check_answers(office, person.confirmed)


def check_answers(office: Office, confirmed: list[tuple[str, str]]) -> None:
    """What the page confirmed is recorded, nothing is answered twice, and no rejected call ran."""
    recorded = Counter(answers_of(office, PERSON))
    assert Counter(confirmed) <= recorded
    assert set(recorded.values()) == {1}
    records = {view.record.key: view.record for view in call_views(office)}
    assert [key for key, _ in recorded if records[key].approval is None] == []
    blocked = [key for key, record in records.items() if record.state is State.BLOCKED]
    assert [key for key in blocked if office.count("started", key)] == []
