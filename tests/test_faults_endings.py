"""However a tool's run ends, its record is left in a state that the promise table names."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from bighub_langgraph import BighubGuard, Journal, ToolPolicy, create_guarded_agent
from bighub_langgraph.core.models import State
from tests.agents import ScriptedModel, answers, asks_for, call
from tests.engines import ScriptedBighub

PLEASE = {"messages": [("user", "please")]}
THREAD: Any = {"configurable": {"thread_id": "t"}}


GUARDS: list[BighubGuard] = []


@pytest.fixture
def journal(database: str) -> Iterator[Journal]:
    journal = Journal(database)
    yield journal
    while GUARDS:
        GUARDS.pop().close()
    journal.close()


def agent(journal: Journal, tool: Any, **policies: ToolPolicy) -> Any:
    guard = BighubGuard(bighub=ScriptedBighub(), journal=journal, tools=policies)
    GUARDS.append(guard)
    model = ScriptedModel(script=[asks_for(call("refund", order="o1")), "done", "done"])
    return create_guarded_agent(model, [tool], guard, checkpointer=InMemorySaver())


def state(journal: Journal) -> State:
    [line] = journal.admin.calls()
    return line.record.state


def test_a_tool_that_asks_a_person_itself_is_paused_and_entered_again(journal: Journal) -> None:
    starts: list[str] = []

    def refund(order: str) -> str:
        """Pay back."""
        starts.append(order)
        return f"{order}: {interrupt('sure?')}"

    graph = agent(journal, refund)
    graph.invoke(PLEASE, THREAD)
    assert state(journal) is State.PAUSED
    state_values = graph.invoke(Command(resume="yes"), THREAD)
    assert (state(journal), answers(state_values)) == (State.EXECUTED, {"call-1": "o1: yes"})
    assert len(starts) == 2


async def test_a_coroutine_tool_that_is_cancelled_has_an_unknown_outcome(journal: Journal) -> None:
    begun = asyncio.Event()

    async def refund(order: str) -> str:
        """Pay back."""
        begun.set()
        await asyncio.Event().wait()
        return order

    graph = agent(journal, refund)
    running = asyncio.create_task(graph.ainvoke(PLEASE, THREAD))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert state(journal) is State.UNKNOWN
    question = await graph.ainvoke(None, THREAD)
    assert "not known" in str(question["__interrupt__"])
    response = {"type": "respond", "message": "it was refunded"}
    state_values = await graph.ainvoke(Command(resume={"decisions": [response]}), THREAD)
    assert (state(journal), answers(state_values)) == (
        State.EXECUTED,
        {"call-1": "it was refunded"},
    )


async def test_a_coroutine_tool_that_runs_out_of_time_has_an_unknown_outcome(
    journal: Journal,
) -> None:
    async def refund(order: str) -> str:
        """Pay back."""
        await asyncio.Event().wait()
        return order

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await agent(journal, refund).ainvoke(PLEASE, THREAD)
    assert state(journal) is State.UNKNOWN


async def test_a_blocking_tool_finishes_although_its_run_is_cancelled(
    journal: Journal, tmp_path: Path
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def refund(order: str) -> str:
        """Pay back."""
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(20)
        return order

    running = asyncio.create_task(agent(journal, refund).ainvoke(PLEASE, THREAD))
    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert state(journal) is State.RUNNING
    go.set()
    while state(journal) is State.RUNNING:  # noqa: ASYNC110 - it is in another process's tables
        await asyncio.sleep(0.01)
    assert state(journal) is State.EXECUTED
    assert journal.pending_count() == 2


def test_a_tool_that_exits_the_program_has_an_unknown_outcome(journal: Journal) -> None:
    def refund(order: str) -> str:
        """Pay back."""
        sys.exit(order)

    with pytest.raises(SystemExit):
        agent(journal, refund).invoke(PLEASE, THREAD)
    assert state(journal) is State.UNKNOWN


@pytest.mark.parametrize(
    ("policy", "ended", "result"),
    [
        (ToolPolicy(probe=lambda arguments, key: "it had arrived"), 1, "it had arrived"),
        (ToolPolicy(probe=lambda arguments, key: None), 2, "o1"),
        (ToolPolicy(idempotent=True), 2, "o1"),
    ],
    ids=["the probe says it ran", "the probe says it did not", "idempotent"],
)
def test_a_probe_or_an_idempotent_rerun_resolves_an_unknown_outcome(
    journal: Journal, policy: ToolPolicy, ended: int, result: str
) -> None:
    starts: list[str] = []

    def refund(order: str) -> str:
        """Pay back."""
        starts.append(order)
        if len(starts) == 1:
            raise KeyboardInterrupt
        return order

    graph = agent(journal, refund, refund=policy)
    with pytest.raises(KeyboardInterrupt):
        graph.invoke(PLEASE, THREAD)
    assert state(journal) is State.UNKNOWN
    state_values = graph.invoke(None, THREAD)
    assert (len(starts), answers(state_values)) == (ended, {"call-1": result})


PROGRAM = """
import os, signal, sys, threading
from tests.test_faults_endings import PLEASE, THREAD, agent
from bighub_langgraph import Journal

def refund(order: str) -> str:
    "Pay back."
    print("running", flush=True)
    if sys.argv[2] == "exit":
        return order
    threading.Event().wait()

agent(Journal(sys.argv[1]), refund).invoke(PLEASE, THREAD)
"""


@pytest.mark.parametrize(
    "how",
    [signal.SIGTERM, signal.SIGKILL],  # Python ends without a word on both
)
def test_a_signal_in_a_tool_leaves_the_outcome_unknown(
    journal: Journal, database: str, how: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, database, "hang"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.getcwd()},  # noqa: PTH109 - as pytest found the tests
    ) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == b"running\n"
        program.send_signal(how)
    [line] = journal.admin.calls()
    assert (line.record.state, line.outcome_unknown) == (State.RUNNING, True)


def test_a_program_that_ends_has_delivered_every_report(journal: Journal, database: str) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, database, "exit"], check=True)
    assert (state(journal), journal.pending_count()) == (State.EXECUTED, 0)
