"""A tool starts only when the message that asked for it is stored."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.sqlite import SqliteSaver

from bighub_langgraph import BighubGuard, BighubMiddleware, Journal, create_guarded_agent
from bighub_langgraph.graph import tool_execution
from tests.agents import ScriptedModel, asks_for, call
from tests.engines import ScriptedBighub


class LateSaver(SqliteSaver):
    """Stores nothing before somebody has looked for it in vain, or a tool has started."""

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self.missed = threading.Event()
        self.stored: list[str] = []

    def put(self, config: Any, checkpoint: Any, *rest: Any) -> Any:
        if "refund" in str(checkpoint["channel_values"]):
            assert self.missed.wait(10)
        done = super().put(config, checkpoint, *rest)
        self.stored.append(checkpoint["id"])
        return done

    def get_tuple(self, config: Any) -> Any:
        checkpoint = super().get_tuple(config)
        if checkpoint is None and "checkpoint_id" in config["configurable"]:
            self.missed.set()
        return checkpoint


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[LateSaver]:
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
        yield LateSaver(saver.conn)


Refund = Callable[[str], str]


Host = Callable[[Any, list[Any], BighubGuard, LateSaver], Any]


def ready(model: Any, tools: list[Any], guard: BighubGuard, saver: LateSaver) -> Any:
    return create_guarded_agent(model, tools, guard, checkpointer=saver)


def middleware(model: Any, tools: list[Any], guard: BighubGuard, saver: LateSaver) -> Any:
    guarding = [BighubMiddleware(guard)]
    return create_agent(model, tools, middleware=guarding, checkpointer=saver)


def agent(saver: LateSaver, tmp_path: Path, refund: Refund, host: Host) -> tuple[Any, BighubGuard]:
    guard = BighubGuard(
        bighub=ScriptedBighub(), journal=Journal(f"sqlite:///{tmp_path / 'calls.db'}")
    )
    model = ScriptedModel(script=[asks_for(call("refund", order="o1")), "done"])
    return host(model, [refund], guard, saver), guard


@pytest.mark.parametrize("host", [ready, middleware])
def test_no_tool_starts_before_its_message_is_stored(
    saver: LateSaver, tmp_path: Path, host: Host
) -> None:
    stored: list[bool] = []

    def refund(order: str) -> str:
        """Pay back."""
        saver.missed.set()
        current = saver.get_tuple({"configurable": {"thread_id": "t", "checkpoint_ns": ""}})
        stored.append("refund" in str(current.checkpoint["channel_values"]))
        return order

    graph, guard = agent(saver, tmp_path, refund, host)
    graph.invoke({"messages": [("user", "please")]}, {"configurable": {"thread_id": "t"}})
    assert stored == [True]
    guard.journal.close()


@pytest.mark.parametrize("host", [ready, middleware])
def test_a_checkpointer_that_hangs_starts_no_tool_and_says_so(
    saver: LateSaver, tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_execution, "CHECKPOINT_TIMEOUT", 0.0)
    monkeypatch.setattr(saver, "get_tuple", lambda config: saver.missed.set())
    ran: list[str] = []

    def refund(order: str) -> str:
        """Pay back."""
        ran.append(order)
        return order

    graph, guard = agent(saver, tmp_path, refund, host)
    with pytest.raises(Exception, match="no tool was started"):
        graph.invoke({"messages": [("user", "please")]}, {"configurable": {"thread_id": "t"}})
    assert ran == []
    guard.journal.close()
