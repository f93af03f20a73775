"""Flows of a turn run in parallel, in the calling thread and in threads of the pool."""

import asyncio
import os
import subprocess
import sys
import threading
from contextvars import ContextVar
from pathlib import Path

import pytest

from bighub_langgraph.concurrency import gather_in_tasks, run_sync
from bighub_langgraph.thread_pool import gather_in_threads


def test_flows_that_wait_for_each_other_run_in_parallel() -> None:
    barrier = threading.Barrier(10)

    async def flow(number: int) -> int:
        barrier.wait(10)
        return number

    assert run_sync(gather_in_threads([flow(number) for number in range(10)])) == list(range(10))


def test_nested_turns_do_not_wait_for_a_thread() -> None:
    barrier = threading.Barrier(64)

    async def flow(depth: int) -> int:
        if not depth:
            barrier.wait(10)
            return 1
        return sum(await gather_in_threads([flow(depth - 1) for _ in range(4)]))

    assert run_sync(flow(3)) == 64


def test_all_flows_end_before_the_first_error_is_raised() -> None:
    ended = []

    async def flow(number: int) -> None:
        ended.append(number)
        if number in {1, 3}:
            raise ValueError(number)

    with pytest.raises(ValueError, match="1"):
        run_sync(gather_in_threads([flow(number) for number in range(5)]))
    assert sorted(ended) == list(range(5))


def test_each_flow_has_a_copy_of_the_context() -> None:
    name: ContextVar[str] = ContextVar("name", default="none")
    name.set("outside")

    async def flow(number: int) -> str:
        before = name.get()
        name.set(f"flow {number}")
        return before

    assert run_sync(gather_in_threads([flow(number) for number in range(3)])) == ["outside"] * 3
    assert name.get() == "outside"


def test_a_forked_child_has_its_own_pool() -> None:
    async def flow(number: int) -> int:
        return number

    run_sync(gather_in_threads([flow(number) for number in range(4)]))
    child = os.fork()
    if child == 0:
        barrier = threading.Barrier(2)

        async def wait_at_barrier() -> int:
            return barrier.wait(10)

        positions = run_sync(gather_in_threads([wait_at_barrier(), wait_at_barrier()]))
        os._exit(0 if sorted(positions) == [0, 1] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


PROGRAM = """
import os, threading, time
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.thread_pool import gather_in_threads

barrier = threading.Barrier(3)

async def flow():
    barrier.wait(10)
    time.sleep(0.3)
    os.write(1, b"done")  # a daemon thread that the end of a program meets in `print` aborts it

threading.Thread(target=lambda: run_sync(gather_in_threads([flow(), flow()])), daemon=True).start()
barrier.wait(10)
"""


def test_flows_in_threads_of_the_pool_end_before_the_program_ends() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent.parent,
    )
    assert "done" in ran.stdout


async def test_cancelled_tasks_end_before_the_cancellation_is_raised() -> None:
    ended = []

    async def flow(number: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append(number)

    turn = asyncio.create_task(gather_in_tasks([flow(number) for number in range(3)]))
    await asyncio.sleep(0.01)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert sorted(ended) == [0, 1, 2]


async def test_an_error_of_one_task_is_raised_after_the_others_ended() -> None:
    ended = []

    async def flow(number: int) -> None:
        await asyncio.sleep(0.01 * number)
        ended.append(number)
        if not number:
            raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        await gather_in_tasks([flow(number) for number in range(3)])
    assert ended == [0, 1, 2]
