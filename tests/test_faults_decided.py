"""A process that dies between BIGHUB's decision and its record loses neither call nor decision."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command

from bighub_langgraph import BighubGuard, Journal, LocalBighub, ToolPolicy, create_guarded_agent
from tests.agents import ScriptedModel, asks_for, call
from tests.openai_answers import calls, says
from tests.openai_runtime import runtime
from tests.openai_server import ResponsesServer

Json = dict[str, Any]
# The middleware evaluates before its message is stored: after a death the model is asked again.
HOSTS = ("graph", "blocking", "async")
numbers = itertools.count(1)


class Death(BaseException):
    """The end of a process, as far as its calls can see."""


class Process:
    """A process with its own client of an engine and a journal that it shares with others."""

    def __init__(self, home: Path, policy: ToolPolicy, *, dies: bool, **settings: Any) -> None:
        self.home, self._dies = home, dies
        self.engine = LocalBighub(f"sqlite:///{home / 'engine.db'}")
        self.ran: list[str] = []
        bighub = SimpleNamespace(
            decisions=SimpleNamespace(evaluate=self._evaluate),
            outcomes=self.engine.outcomes,
            approvals=self.engine.approvals,
            actions=SimpleNamespace(ingest_memory=self.engine.actions.ingest_memory),
        )
        policies = {"refund": policy, "ask": ToolPolicy(always_review=True)}
        self.guard = BighubGuard(
            bighub=bighub,
            journal=Journal(f"sqlite:///{home / 'calls.db'}"),
            tools=policies,
            **settings,
        )

    def _evaluate(self, **fields: Any) -> Any:
        decision = self.engine.decisions.evaluate(**fields)
        if self._dies and fields["action"] == "refund":
            raise Death
        return decision

    def refund(self, order: str) -> str:
        """Pay back."""
        self.ran.append(order)
        return f"refunded {order}"

    def ask(self) -> str:
        """Ask."""
        return "asked"

    def close(self) -> None:
        self.guard.close()
        self.engine.close()


@contextmanager
def process(home: Path, policy: ToolPolicy, *, dies: bool, **settings: Any) -> Iterator[Process]:
    started = Process(home, policy, dies=dies, **settings)
    try:
        yield started
    finally:
        started.close()


def work(process: Process, host: str, server: ResponsesServer) -> None:
    """Bring the one thread to its end, from wherever it is."""
    if host == "graph":
        _work_in_graph(process)
    else:
        _work_in_facade(process, host, server)


def _work_in_graph(process: Process) -> None:
    with SqliteSaver.from_conn_string(str(process.home / "threads.db")) as saver:
        thread: Any = {"configurable": {"thread_id": "t"}}
        is_new = saver.get_tuple(thread) is None
        script = [asks_for(call("refund", order="1")), "done"] if is_new else ["done"]
        model, guard = ScriptedModel(script=script), process.guard
        agent: Any = create_guarded_agent(model, [process.refund], guard, checkpointer=saver)
        agent.invoke({"messages": [("user", "please")]} if is_new else None, thread)
        agent.invoke(Command(resume={"decisions": [{"type": "approve"}]}), thread)


def _work_in_facade(process: Process, host: str, server: ResponsesServer) -> None:
    stored = process.home / "run.json"
    with runtime(host, server, bighub=None, guard=process.guard) as client:
        client.tool("ask", process.ask)
        client.tool("refund", process.refund)
        if not stored.exists():
            server.script(calls(("ask", {})), calls(("refund", {"order": "1"})), says("done"))
            state = client.run().to_state()
            state.approve(state.interruptions[0])
            stored.write_text(state.to_json())
        result = client.resume(client.client.state_from_json(stored.read_text()))
        state = result.to_state()
        state.approve(state.interruptions[0])
        client.resume(state)


def policy_of(source: str) -> ToolPolicy:
    """A policy whose function returns something else each time; None: no such function."""
    different: dict[str, Callable[[Any], Any]] = {
        "time": lambda _: {"at": next(numbers)},
        "an object": lambda _: {"order": object()},
        "a set": lambda _: {"tags": {uuid4().hex for _ in range(9)}},
    }
    if source == "a rate":
        return ToolPolicy(value_from_args=lambda _: float(next(numbers)))
    return ToolPolicy(metadata_from_args=different.get(source))


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("source", ["nothing", "time", "an object", "a set"])
def test_the_decision_that_was_made_is_used_and_gets_its_outcome(
    tmp_path: Path, host: str, source: str
) -> None:
    with ResponsesServer() as server:
        with process(tmp_path, policy_of(source), dies=True) as first, pytest.raises(Death):
            work(first, host, server)
        with process(tmp_path, policy_of(source), dies=False) as second:
            work(second, host, server)
            assert second.guard.flush(10) == 0
            assert second.engine.outcomes.pending()["pending"] == []
    assert (first.ran, second.ran) == ([], ["1"])


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("source", "settings"), [("a rate", {}), ("", {"domain": "eu"}), ("", {"actor": "b"})]
)
def test_a_call_is_decided_anew_where_the_guard_now_sends_something_else(
    tmp_path: Path, host: str, source: str, settings: Json
) -> None:
    with ResponsesServer() as server:
        with process(tmp_path, policy_of(source), dies=True) as first, pytest.raises(Death):
            work(first, host, server)
        with process(tmp_path, policy_of(source), dies=False, **settings) as second:
            work(second, host, server)
            assert second.guard.flush(10) == 0
            [unused] = second.engine.outcomes.pending()["pending"]
            assert unused["domain"] != "eu"
    assert (first.ran, second.ran) == ([], ["1"])
