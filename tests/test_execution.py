"""Several want the same call: one runs it, and the others are handed what came of it."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import BighubGuard, Journal, ToolPolicy
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core import execution as doubt
from bighub_langgraph.core.errors import CallStillRunning
from bighub_langgraph.core.execution import (
    ExecutionResult,
    ToolFinished,
    execute_or_recover,
    wait_for_owner,
)
from bighub_langgraph.core.lifecycle import (
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    OwnerLost,
    RerunAllowed,
)
from bighub_langgraph.core.models import CallRecord, State, ToolSucceeded
from bighub_langgraph.core.reporting import ReportingConfig
from tests.calls import decided
from tests.engines import ScriptedBighub

REPORTING = ReportingConfig()
CALL = replace(decided(), key="a" * 32, created_at=1.0)


@pytest.fixture(params=["memory", "sqlite"])
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BighubGuard]:
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    journal: Any = Journal.in_memory() if request.param == "memory" else Journal(url)
    journal.insert([CALL], REPORTING)
    yield BighubGuard(bighub=ScriptedBighub(), journal=journal)
    journal.close()


def all_at_once(guard: BighubGuard, policy: ToolPolicy, starts: list[str]) -> list[ExecutionResult]:
    """Eight threads want the same call."""
    ready = threading.Barrier(8)
    ran: list[ExecutionResult] = []

    async def tool(record: CallRecord) -> ToolFinished:
        starts.append(record.owner or "")
        threading.Event().wait(0.05)  # long enough for the others to come too late
        return ToolFinished(ToolSucceeded("done"))

    def want() -> None:
        ready.wait()
        ran.append(run_sync(execute_or_recover(CALL.key, policy, {}, guard.runtime.ports, tool)))

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ran


def test_one_of_eight_runs_it_and_all_get_its_result(guard: BighubGuard) -> None:
    starts: list[str] = []
    ran = all_at_once(guard, ToolPolicy(), starts)
    assert len(starts) == 1
    assert [one.record.result for one in ran] == [ToolSucceeded("done")] * 8
    assert sorted(one.replayed for one in ran) == [False] + [True] * 7


@pytest.mark.parametrize(
    "policy", [ToolPolicy(idempotent=True), ToolPolicy(probe=lambda arguments, key: None)]
)
def test_one_of_eight_runs_a_lost_call_again(guard: BighubGuard, policy: ToolPolicy) -> None:
    guard.journal.transition(CALL.key, ExecutionStarted("gone/1", 0.0), REPORTING)
    guard.journal.transition(CALL.key, OwnerLost("gone/1", "gone"), REPORTING)
    starts: list[str] = []
    ran = all_at_once(guard, policy, starts)
    assert len(starts) == 1
    assert [one.record.result for one in ran] == [ToolSucceeded("done")] * 8


def test_a_call_that_paused_meanwhile_is_entered_again(guard: BighubGuard) -> None:
    owner = f"{guard.journal.owner}/1"
    running = guard.journal.transition(CALL.key, ExecutionStarted(owner, 0.0), REPORTING)
    guard.journal.transition(CALL.key, ExecutionPaused(owner), REPORTING)
    assert run_sync(wait_for_owner(running, guard.runtime.ports)).state is State.PAUSED
    starts: list[str] = []
    ran = all_at_once(guard, ToolPolicy(), starts)
    assert (len(starts), len(ran)) == (1, 8)


def test_a_lost_call_that_somebody_faster_runs_again_is_waited_for(guard: BighubGuard) -> None:
    lost = guard.journal.transition(CALL.key, ExecutionStarted("gone/1", 0.0), REPORTING)
    guard.journal.transition(CALL.key, OwnerLost("gone/1", "gone"), REPORTING)
    guard.journal.transition(CALL.key, RerunAllowed("idempotent"), REPORTING)
    owner = f"{guard.journal.owner}/2"
    guard.journal.transition(CALL.key, ExecutionStarted(owner, 0.0), REPORTING)
    slept: list[float] = []

    async def finish(seconds: float) -> None:
        slept.append(seconds)
        guard.journal.transition(
            CALL.key, ExecutionFinished(owner, ToolSucceeded("done")), REPORTING
        )

    gone = type("Gone", (), {"abandoned": lambda self, record: record.owner == "gone/1"})
    journal = type(
        "Journal", (gone,), {"__getattr__": lambda _, name: getattr(guard.journal, name)}
    )
    ports = replace(guard.runtime.ports, sleep=finish, journal=journal())
    assert run_sync(wait_for_owner(lost, ports)).result == ToolSucceeded("done")
    assert len(slept) == 1


def test_who_has_waited_long_enough_is_told_to_come_later(
    guard: BighubGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait_for_owner, "__defaults__", (0.0,))
    guard.journal.transition(CALL.key, ExecutionStarted(f"{guard.journal.owner}/1", 0.0), REPORTING)

    async def tool(record: CallRecord) -> ToolFinished:
        raise AssertionError(doubt)

    with pytest.raises(CallStillRunning, match="resume this thread later"):
        run_sync(execute_or_recover(CALL.key, ToolPolicy(), {}, guard.runtime.ports, tool))
