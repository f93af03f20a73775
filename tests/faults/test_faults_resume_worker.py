"""SIGKILL of agents, of workers and of people's own runs: every answered thread finishes."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph.approvals.cards import Approver
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.core.models import State
from tests.faults.hosts import GraphHost, open_host, prepare, work
from tests.faults.killing import Killer, call_views, journal_of
from tests.faults.office import Office
from tests.faults.test_faults_kills import (
    SEED,
    check_ends,
    check_history,
    check_starts,
    check_threads,
)

HOST_KINDS = [("graph", "sync"), ("middleware", "async")]
ADA = Approver("ada", verified=True, roles=frozenset({"approver"}))
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


def answer_all(office: Office) -> None:
    """A person says yes to what waits, and the truth about unknown outcomes."""
    with journal_of(office) as journal:
        inbox = ApprovalInbox(journal)
        for card in inbox.list(states=tuple(State)):
            if card.state is State.AWAITING:
                inbox.answer(card.key, "approve", approver=ADA)
            elif card.outcome_unknown:
                took_effect = office.count("effect", card.key)
                answer = "respond" if took_effect else "reject"
                inbox.answer(card.key, answer, approver=ADA, text="see the records")


@pytest.mark.parametrize(("host", "mode"), HOST_KINDS)
def test_answered_threads_finish_whatever_is_killed(
    tmp_path: Path, database: str, killer: Killer, host: str, mode: str
) -> None:
    office = Office(tmp_path, database, host, mode)
    prepare(office)
    threads: list[str] = []
    while killer.killed < killer.kills:
        threads.append(f"thread-{len(threads)}")
        while not killer.run(bring_to_question, office, threads[-1]):
            check_starts(office)
        answer_all(office)
        by_hand: Callable[..., Any] = work
        if killer.chance.random() < 0.3:
            killer.run(by_hand, office, threads[-1:])
        killer.run(resume_answered, office)
        check_starts(office)
    for _ in range(MANY_ROUNDS):
        answer_all(office)
        assert killer.run(resume_answered, office)
        with open_host(office) as agent:
            assert isinstance(agent, GraphHost)
            if all(map(agent.has_ended, threads)):
                break
    assert set(killer.finished) == {0}
    check_ends(office)
    check_threads(office, threads)
    check_history(office)
    answered = [view.record for view in call_views(office) if view.record.votes]
    assert {record.approval is None for record in answered} == {False}
