"""The embedded engine under coroutines: asked and told in place, where nothing can block there."""

import gc
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph.state import CompiledStateGraph

from bighub_langgraph import BighubGuard, BighubMiddleware, create_guarded_agent
from bighub_langgraph.local import AsyncLocalBighub, DomainSettings, LocalBighub, Settings
from bighub_langgraph.local.engine import Engine
from tests.agents import ScriptedModel, Shop, asks_for, call

TURN = (
    asks_for(
        call("refund", order_id="o1", amount=40), call("refund", "call-2", order_id="o2", amount=1)
    ),
    "done",
)
SURE = Settings(default=DomainSettings(max_bad_rate=None))


class Clock:
    """The engine's clock, which remembers the threads that asked for the time."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def __call__(self) -> float:
        self.threads.add(threading.get_ident())
        return time.time()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(clock: Clock) -> Iterator[Engine]:
    """An engine in memory, opened and closed where no event loop runs."""
    engine_ = Engine("sqlite://", settings=SURE, clock=clock)
    yield engine_
    engine_.close()


@pytest.fixture
def detected_blocking() -> Iterator[None]:
    """An event loop on which what blocks raises, as under `langgraph dev`."""
    from blockbuster import blockbuster_ctx

    gc.collect()
    gc.disable()  # it would close what other tests left, which blocks
    with blockbuster_ctx():
        yield
    gc.enable()
    del sys.modules["blockbuster"]


@pytest.fixture(params=["graph", "middleware"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def agent(guard: BighubGuard, host: str) -> CompiledStateGraph[Any, Any, Any, Any]:
    from langchain.agents import create_agent

    model, tools = ScriptedModel(script=TURN), Shop().tools()
    if host == "graph":
        return create_guarded_agent(model, tools, guard, checkpointer=False)
    return create_agent(model, tools, middleware=[BighubMiddleware(guard)])


def count_answers(state: dict[str, Any]) -> int:
    return sum(message.type == "tool" for message in state["messages"])


async def test_in_memory_it_is_asked_and_told_on_the_event_loop(
    host: str, clock: Clock, engine: Engine
) -> None:
    with BighubGuard(bighub=LocalBighub(engine=engine)) as guard:
        app = agent(guard, host)
        clock.threads.clear()
        assert count_answers(await app.ainvoke({"messages": ["please"]})) == 2
        assert clock.threads == {threading.get_ident()}
        assert guard.journal.pending_count() == 0


async def test_on_a_file_it_is_asked_and_told_in_threads(
    host: str, clock: Clock, tmp_path: Path
) -> None:
    bighub = LocalBighub(f"sqlite:///{tmp_path}/bighub.db", settings=SURE, clock=clock)
    with bighub, BighubGuard(bighub=bighub) as guard:
        app = agent(guard, host)
        clock.threads.clear()
        assert count_answers(await app.ainvoke({"messages": ["please"]})) == 2
        assert await guard.aflush(5) == 0
        assert threading.get_ident() not in clock.threads


@pytest.mark.usefixtures("detected_blocking")
@pytest.mark.parametrize("kind", [LocalBighub, AsyncLocalBighub])
async def test_whoever_watches_the_event_loop_finds_nothing_that_blocks(
    host: str, kind: type[LocalBighub | AsyncLocalBighub], clock: Clock, engine: Engine
) -> None:
    guard = BighubGuard(bighub=kind(engine=engine))
    app = agent(guard, host)
    clock.threads.clear()
    assert count_answers(await app.ainvoke({"messages": ["please"]})) == 2
    assert await guard.aflush(5) == 0
    assert threading.get_ident() not in clock.threads
