"""Several workers execute the same call: one runs it, and the others get its result."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import BighubGuard, Journal, ToolPolicy
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.claims import ExecutionResult, ToolFinished
from bighub_langgraph.core.errors import CallStillRunning
from bighub_langgraph.core.lifecycle import (
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    OwnerLost,
    RerunAllowed,
)
from bighub_langgraph.core.models import CallRecord, State, ToolSucceeded
from bighub_langgraph.core.recovery import execute_or_recover, wait_for_owner
from bighub_langgraph.core.reporting import ReportingConfig
from tests.calls import decided_record
from tests.engines import ScriptedBighub

REPORTING = ReportingConfig()
CALL = decided_record()._replace(key="a" * 32, created_at=1.0)


@pytest.fixture(params=["memory", "sqlite"])
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BighubGuard]:
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    journal: Any = Journal.in_memory() if request.param == "memory" else Journal(url)
    journal.insert([CALL], REPORTING)
    yield BighubGuard(bighub=ScriptedBighub(), journal=journal)
    journal.close()


def execute_in_threads(
    guard: BighubGuard, policy: ToolPolicy, starts: list[str]
) -> list[ExecutionResult]:
    """Execute the same call in eight threads at once."""
    ready = threading.Barrier(8)
    results: list[ExecutionResult] = []

    async def tool(record: CallRecord) -> ToolFinished:
        starts.append(record.owner or "")
        threading.Event().wait(0.05)  # long enough for the others to be second
        return ToolFinished(ToolSucceeded("done"))

    def execute() -> None:
        ready.wait()
        results.append(
            run_sync(execute_or_recover(CALL.key, policy, {}, guard.runtime.ports, tool))
        )

    threads = [threading.Thread(target=execute) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_one_of_eight_runs_the_call_and_all_get_its_result(guard: BighubGuard) -> None:
    starts: list[str] = []
    results = execute_in_threads(guard, ToolPolicy(), starts)
    assert len(starts) == 1
    assert [result.record.result for result in results] == [ToolSucceeded("done")] * 8
    assert sorted(result.replayed for result in results) == [False] + [True] * 7


@pytest.mark.parametrize(
    "policy", [ToolPolicy(idempotent=True), ToolPolicy(probe=lambda arguments, key: None)]
)
def test_one_of_eight_runs_a_call_again_whose_owner_is_gone(
    guard: BighubGuard, policy: ToolPolicy
) -> None:
    guard.journal.transition(CALL.key, ExecutionStarted("gone/1", 0.0), REPORTING)
    guard.journal.transition(CALL.key, OwnerLost("gone/1", "gone"), REPORTING)
    starts: list[str] = []
    results = execute_in_threads(guard, policy, starts)
    assert len(starts) == 1
    assert [result.record.result for result in results] == [ToolSucceeded("done")] * 8


def test_a_call_that_paused_while_others_waited_is_entered_again(guard: BighubGuard) -> None:
    owner = f"{guard.journal.owner}/1"
    running = guard.journal.transition(CALL.key, ExecutionStarted(owner, 0.0), REPORTING)
    guard.journal.transition(CALL.key, ExecutionPaused(owner), REPORTING)
    assert run_sync(wait_for_owner(running, guard.runtime.ports)).state is State.PAUSED
    starts: list[str] = []
    results = execute_in_threads(guard, ToolPolicy(), starts)
    assert (len(starts), len(results)) == (1, 8)


def test_a_worker_waits_for_a_call_that_another_worker_runs_again(guard: BighubGuard) -> None:
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


def test_a_worker_that_waited_long_enough_raises_an_error_that_names_the_next_step(
    guard: BighubGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wait_for_owner, "__defaults__", (0.0,))
    guard.journal.transition(CALL.key, ExecutionStarted(f"{guard.journal.owner}/1", 0.0), REPORTING)

    async def tool(record: CallRecord) -> ToolFinished:
        raise AssertionError(f"{record.tool} was started twice")

    with pytest.raises(CallStillRunning, match="resume this thread later"):
        run_sync(execute_or_recover(CALL.key, ToolPolicy(), {}, guard.runtime.ports, tool))
