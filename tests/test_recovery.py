"""Several workers execute the same call: one runs it, and the others get its result."""

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bighub_langgraph import BighubGuard, Journal, ToolPolicy
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.core.claims import ExecutionResult, ToolFinished, claim_and_execute
from bighub_langgraph.core.context import current_call, enter_call
from bighub_langgraph.core.errors import CallStillRunning
from bighub_langgraph.core.lifecycle import (
    ExecutionFinished,
    ExecutionPaused,
    ExecutionStarted,
    OwnerLost,
    RerunAllowed,
)
from bighub_langgraph.core.models import Answer, CallRecord, State, ToolSucceeded
from bighub_langgraph.core.recovery import (
    OWNER_TIMEOUT,
    event_for_answer,
    execute_or_recover,
    wait_for_owner,
)
from bighub_langgraph.core.reporting import ReportingConfig
from tests.calls import approval, decided_record
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


@pytest.mark.parametrize("answer", [Answer.REJECT, Answer.RESPOND, Answer.APPROVE])
def test_a_worker_that_was_frozen_after_its_claim_does_not_start_a_resolved_call(
    guard: BighubGuard, answer: Answer
) -> None:
    ports, journal = guard.runtime.ports, guard.journal
    thaw, starts = ports.call, list[str]()

    async def frozen(function: Any, *args: Any, **options: Any) -> Any:
        result = await thaw(function, *args, **options)
        if isinstance(args[1:] and args[1], ExecutionStarted) and not starts:
            starts.append("frozen")  # it counts as gone, and a person resolves the call
            journal.transition(CALL.key, OwnerLost(args[1].owner, "gone"), REPORTING)
            journal.transition(CALL.key, event_for_answer(approval(answer)), REPORTING)
            if answer is Answer.APPROVE:  # and another worker starts it
                journal.transition(CALL.key, ExecutionStarted("other/1", 0.0), REPORTING)
        return result

    async def tool(record: CallRecord) -> ToolFinished:
        starts.append("tool")
        return ToolFinished(ToolSucceeded("late"))

    result = run_sync(claim_and_execute(CALL.key, replace(ports, call=frozen), tool))
    assert starts == ["frozen"]
    assert result.replayed
    expected = {
        Answer.REJECT: State.TOOL_ERROR,
        Answer.RESPOND: State.EXECUTED,
        Answer.APPROVE: State.RUNNING,
    }
    assert result.record.state is journal.find([CALL.key])[CALL.key].state is expected[answer]


def test_the_fencing_token_of_a_call_grows_with_every_start(guard: BighubGuard) -> None:
    tokens = []

    async def tool(record: CallRecord) -> ToolFinished:
        with enter_call(record):
            tokens.append(current_call().fencing_token)
        if len(tokens) < 3:
            raise KeyboardInterrupt
        return ToolFinished(ToolSucceeded("done"))

    for _ in range(3):
        with suppress(KeyboardInterrupt):
            policy = ToolPolicy(idempotent=True)
            run_sync(execute_or_recover(CALL.key, policy, {}, guard.runtime.ports, tool))
    assert len(set(tokens)) == 3
    assert sorted(tokens) == tokens
    assert tokens[0] > 0


@pytest.mark.parametrize("step", [-3600.0, 0.0])
def test_a_second_worker_waits_for_a_bounded_time_while_the_clock_is_set(
    guard: BighubGuard, step: float
) -> None:
    now, slept = [1e6], list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += step

    started = ExecutionStarted(f"{guard.journal.owner}/1", 0.0)
    running = guard.journal.transition(CALL.key, started, REPORTING)
    ports = replace(guard.runtime.ports, sleep=sleep, clock=lambda: now[0])
    assert run_sync(wait_for_owner(running, ports)).state is State.RUNNING
    assert OWNER_TIMEOUT <= sum(slept) < OWNER_TIMEOUT + 1
