"""A call of a subagent ends when a new message to the graph around it superseded it, and only then.

LangGraph ends the task that asked, so nobody can answer it any more; BIGHUB still gets an outcome.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from bighub_langgraph import BighubGuard, BighubMiddleware, Journal, create_guarded_agent
from tests.agents import Runner, ScriptedModel, Shop, asks_for, call
from tests.engines import ScriptedBighub

YES = {"decisions": [{"type": "approve"}]}
THREAD: Any = {"configurable": {"thread_id": "t"}}
AGENTS = ("one", "two")


class Payer(ScriptedModel):
    """Refunds what the last message of the user says, and says that it is done."""

    def _generate(self, messages: Any, *_: Any, **__: Any) -> Any:
        line: Any = "Done."
        if isinstance(messages[-1], HumanMessage):
            line = asks_for(call("refund", order_id="o1", amount=float(messages[-1].text)))
        self.shown.clear()
        return ScriptedModel(script=[line])._generate(messages)


def ready(tools: Any, guard: BighubGuard, name: str) -> Any:
    return create_guarded_agent(Payer(script=[]), tools, guard, name=name)


def middleware(tools: Any, guard: BighubGuard, name: str) -> Any:
    return create_agent(Payer(script=[]), tools, middleware=[BighubMiddleware(guard)], name=name)


def agent_of_wrapped_tools(tools: Any, guard: BighubGuard, name: str) -> Any:
    return create_agent(Payer(script=[]), guard.wrap_tools(tools), name=name)


def in_function(tools: Any, guard: BighubGuard, name: str) -> Any:
    agent = middleware(tools, guard, name)

    def call_agent(state: MessagesState) -> Any:
        return agent.invoke(state)

    return call_agent


class Office:
    """A supervisor that lets subagents see to a number, and answers other messages itself."""

    def __init__(
        self, agent: Callable[..., Any], mode: str = "blocking", saver: Any = None, **options: Any
    ) -> None:
        self.bighub, self.shop = ScriptedBighub("review_recommended"), Shop()
        self.guard = BighubGuard(bighub=self.bighub, memory_enabled=False, **options)
        builder = StateGraph(MessagesState)
        for name in AGENTS:
            builder.add_node(name, agent(self.shop.tools(), self.guard, name))
            builder.add_edge(name, END)
        builder.add_node("supervisor", lambda _: None)
        builder.add_edge(START, "supervisor")
        builder.add_conditional_edges("supervisor", self.route, [*AGENTS, END])
        self.graph: Any = builder.compile(checkpointer=saver or InMemorySaver())
        self.runner = Runner(mode)

    @staticmethod
    def route(state: MessagesState) -> list[str]:
        amount = state["messages"][-1].text
        agents = AGENTS if amount.endswith("00") else AGENTS[:1]
        return list(agents) if amount.isdigit() else [END]

    def say(self, text: str) -> dict[str, Any]:
        return self.runner.run(self.graph, {"messages": [HumanMessage(text)]})

    def approve(self, state: dict[str, Any]) -> dict[str, Any]:
        questions = {item.id: YES for item in state["__interrupt__"]}
        return self.runner.run(self.graph, Command(resume=questions))

    @property
    def statuses(self) -> list[str]:
        self.guard.flush()
        return self.bighub.statuses


@pytest.mark.parametrize("mode", ["blocking", "async"])
@pytest.mark.parametrize("agent", [ready, middleware, agent_of_wrapped_tools])
@pytest.mark.parametrize("first", ["5", "500"], ids=["one subagent", "two in parallel"])
def test_each_call_that_a_new_message_orphaned_gets_an_outcome(
    agent: Callable[..., Any], mode: str, first: str
) -> None:
    office = Office(agent, mode)
    question_count = len(office.say(first)["__interrupt__"])
    assert office.statuses == []
    office.approve(office.say("6"))
    assert office.statuses.count("BLOCKED") == question_count
    assert office.shop.ran == [("refund", 6.0)]
    office.say(first)
    office.say("never mind")  # no subagent is called
    assert len(office.statuses) == len(office.bighub.evaluations)
    assert office.bighub.statuses.count("SUCCESS") == 1


def test_so_it_is_in_a_subagent_that_a_function_calls() -> None:
    office = Office(in_function)
    office.say("5")
    office.say("never mind")
    assert office.statuses == ["BLOCKED"]


def test_another_process_with_the_journal_ends_the_call(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.db")
    with SqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
        Office(middleware, saver=saver, journal=journal).say("5")
        after_restart = Office(middleware, saver=saver, journal=journal)
        after_restart.say("6")
        assert after_restart.statuses == ["BLOCKED"]


def test_a_checkpointer_of_an_event_loop_is_read_when_a_subagent_is_called(tmp_path: Path) -> None:
    async def run() -> list[str]:
        journal = Journal(tmp_path / "calls.db")
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "threads.db")) as saver:
            office = Office(middleware, saver=saver, journal=journal)
            for text in ("5", "6"):
                await office.graph.ainvoke({"messages": [HumanMessage(text)]}, THREAD)
            await office.guard.aflush()
            return office.bighub.statuses

    assert asyncio.run(run()) == ["BLOCKED"]


def test_a_call_that_waits_while_another_subagent_goes_on_stays_open() -> None:
    office = Office(ready)
    first, second = office.say("500")["__interrupt__"]
    office.graph.invoke(Command(resume={first.id: YES}), THREAD)
    assert office.statuses == ["SUCCESS"]
    office.graph.invoke(Command(resume={second.id: YES}), THREAD)
    assert office.statuses == ["SUCCESS", "SUCCESS"]


def fork_before(office: Office, question_state: Any) -> None:
    """Another message instead of the one before the question."""
    earlier = question_state.parent_config
    while (parent := office.graph.get_state(earlier).parent_config) is not None:
        earlier = parent
    fork = office.graph.update_state(earlier, {"messages": [HumanMessage("7", id="m")]})
    office.graph.invoke(None, fork)


def fork_at(office: Office, question_state: Any) -> None:
    """Somebody changes the state at the question, and goes on from there."""
    state = {"messages": [AIMessage("A note.")]}
    fork = office.graph.update_state(question_state.config, state, as_node="supervisor")
    office.graph.invoke(None, fork)


@pytest.mark.parametrize("fork", [fork_before, fork_at])
@pytest.mark.parametrize("agent", [ready, middleware])
def test_a_fork_leaves_the_call_of_the_original_open(
    agent: Callable[..., Any], fork: Callable[..., None]
) -> None:
    office = Office(agent)
    office.say("5")
    question_state = office.graph.get_state(THREAD)
    fork(office, question_state)
    assert office.statuses == []
    office.graph.invoke(Command(resume=YES), question_state.config)
    assert office.statuses == ["SUCCESS"]
    assert office.shop.ran == [("refund", 5.0)]
