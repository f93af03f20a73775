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
from bighub_langgraph.core.execution import Ended, Ran, await_other, perform
from bighub_langgraph.core.lifecycle import Finished, Interrupted, Lost, Rerun, Started
from bighub_langgraph.core.models import Executed, Record, State
from bighub_langgraph.core.reporting import Telling
from tests.calls import decided
from tests.engines import ScriptedBighub

TELLING = Telling()
CALL = replace(decided(), key="a" * 32, created_at=1.0)


@pytest.fixture(params=["memory", "sqlite"])
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BighubGuard]:
    url = f"sqlite:///{tmp_path / 'calls.db'}"
    journal: Any = Journal.in_memory() if request.param == "memory" else Journal(url)
    journal.open([CALL], TELLING)
    yield BighubGuard(bighub=ScriptedBighub(), journal=journal)
    journal.close()


def all_at_once(guard: BighubGuard, policy: ToolPolicy, starts: list[str]) -> list[Ran]:
    """Eight threads want the same call."""
    ready = threading.Barrier(8)
    ran: list[Ran] = []

    async def tool(record: Record) -> Ended:
        starts.append(record.owner or "")
        threading.Event().wait(0.05)  # long enough for the others to come too late
        return Ended(Executed("done"))

    def want() -> None:
        ready.wait()
        ran.append(run_sync(perform(CALL.key, policy, {}, guard.ports, tool)))

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
    assert [one.record.result for one in ran] == [Executed("done")] * 8
    assert sorted(one.replayed for one in ran) == [False] + [True] * 7


@pytest.mark.parametrize(
    "policy", [ToolPolicy(idempotent=True), ToolPolicy(probe=lambda arguments, key: None)]
)
def test_one_of_eight_runs_a_lost_call_again(guard: BighubGuard, policy: ToolPolicy) -> None:
    guard.journal.move(CALL.key, Started("gone/1", 0.0), TELLING)
    guard.journal.move(CALL.key, Lost("gone/1", "gone"), TELLING)
    starts: list[str] = []
    ran = all_at_once(guard, policy, starts)
    assert len(starts) == 1
    assert [one.record.result for one in ran] == [Executed("done")] * 8


def test_a_call_that_paused_meanwhile_is_entered_again(guard: BighubGuard) -> None:
    owner = f"{guard.journal.owner}/1"
    running = guard.journal.move(CALL.key, Started(owner, 0.0), TELLING)
    guard.journal.move(CALL.key, Interrupted(owner), TELLING)
    assert run_sync(await_other(running, guard.ports)).state is State.PAUSED
    starts: list[str] = []
    ran = all_at_once(guard, ToolPolicy(), starts)
    assert (len(starts), len(ran)) == (1, 8)


def test_a_lost_call_that_somebody_faster_runs_again_is_waited_for(guard: BighubGuard) -> None:
    lost = guard.journal.move(CALL.key, Started("gone/1", 0.0), TELLING)
    guard.journal.move(CALL.key, Lost("gone/1", "gone"), TELLING)
    guard.journal.move(CALL.key, Rerun("idempotent"), TELLING)
    owner = f"{guard.journal.owner}/2"
    guard.journal.move(CALL.key, Started(owner, 0.0), TELLING)
    slept: list[float] = []

    async def finish(seconds: float) -> None:
        slept.append(seconds)
        guard.journal.move(CALL.key, Finished(owner, Executed("done")), TELLING)

    gone = type("Gone", (), {"abandoned": lambda self, record: record.owner == "gone/1"})
    journal = type(
        "Journal", (gone,), {"__getattr__": lambda _, name: getattr(guard.journal, name)}
    )
    ports = replace(guard.ports, sleep=finish, journal=journal())
    assert run_sync(await_other(lost, ports)).result == Executed("done")
    assert len(slept) == 1


def test_who_has_waited_long_enough_is_told_to_come_later(
    guard: BighubGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(await_other, "__defaults__", (0.0,))
    guard.journal.move(CALL.key, Started(f"{guard.journal.owner}/1", 0.0), TELLING)

    async def tool(record: Record) -> Ended:
        raise AssertionError(doubt)

    with pytest.raises(CallStillRunning, match="go on with this thread later"):
        run_sync(perform(CALL.key, ToolPolicy(), {}, guard.ports, tool))
