"""The test kit: a guarded agent is tested with the names of `bighub_langgraph.testing` alone."""

import asyncio
import threading
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bighub_langgraph import BighubGuard, BighubMiddleware, create_guarded_agent
from bighub_langgraph.testing import ScriptedBighub, recommends, record_calls
from tests.agents import ScriptedModel, asks_for, call
from tests.openai_answers import calls
from tests.openai_runtime import CLIENT_KINDS, runtime
from tests.openai_server import ResponsesServer

CONFIG: Any = {"configurable": {"thread_id": "t"}}
PLEASE: Any = {"messages": [("user", "please")]}


def make_refund(*, is_async: bool = False) -> Any:
    def refund(amount: float) -> str:
        """Pay money back."""
        return f"refunded {amount:g}"

    async def refund_async(amount: float) -> str:
        """Pay money back."""
        return refund(amount)

    return record_calls(refund_async if is_async else refund)


def make_agent(host: str, refund: Any, guard: BighubGuard) -> Any:
    model = ScriptedModel(script=[asks_for(call("refund", amount=40)), "Done."])
    tools, saver = [tool("refund")(refund)], InMemorySaver()
    if host == "graph":
        return create_guarded_agent(model, tools, guard, checkpointer=saver)
    return create_agent(model, tools, middleware=[BighubMiddleware(guard)], checkpointer=saver)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("host", ["graph", "middleware"])
def test_a_reviewed_call_waits_for_a_person_runs_and_is_reported(host: str, is_async: bool) -> None:
    bighub, refund = ScriptedBighub(refund="review_recommended"), make_refund(is_async=is_async)
    guard = BighubGuard(bighub=bighub)
    agent = make_agent(host, refund, guard)

    def run(value: Any) -> Any:
        return (
            asyncio.run(agent.ainvoke(value, CONFIG)) if is_async else agent.invoke(value, CONFIG)
        )

    [question] = run(PLEASE)["__interrupt__"]
    bighub.assert_evaluated("refund", {"amount": 40})
    assert refund.calls == []
    run(Command(resume={question.id: {"decisions": [{"type": "approve"}]}}))
    guard.flush()
    assert refund.calls == [{"amount": 40}]
    bighub.assert_reported("refund", "SUCCESS")
    assert [item["resolution"] for item in bighub.resolutions] == ["approved"]


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
def test_the_facade_follows_the_script(client_kind: str) -> None:
    refused, allowed = recommends("do_not_proceed", reason="too much"), recommends("proceed")
    bighub = ScriptedBighub(refund=[refused, allowed])
    refund = make_refund(is_async=client_kind == "async")
    turns = calls(("refund", {"amount": 40})), calls(("refund", {"amount": 4}))
    with (
        ResponsesServer().script(*turns) as server,
        runtime(client_kind, server, bighub=bighub) as client,
    ):
        client.tool("refund", refund)
        result = client.run()
    events = result["execution"]["events"]
    assert [event["status"] for event in events] == ["blocked", "executed"]
    assert "too much" in str(events[0])
    assert refund.calls == [{"amount": 4}]
    bighub.assert_reported("refund", "BLOCKED")
    bighub.assert_reported("refund", "SUCCESS")


def test_an_outage_is_scripted_by_an_exception() -> None:
    bighub, refund = ScriptedBighub(ConnectionError("away")), make_refund()
    state = make_agent("graph", refund, BighubGuard(bighub=bighub)).invoke(PLEASE, CONFIG)
    assert refund.calls == []
    assert "away" in state["messages"][-2].text


def test_the_assertions_name_what_was_seen_instead() -> None:
    bighub = ScriptedBighub("do_not_proceed")
    guard = BighubGuard(bighub=bighub)
    make_agent("graph", make_refund(), guard).invoke(PLEASE, CONFIG)
    guard.flush()
    with pytest.raises(AssertionError, match=r"with \{'amount': 41\}; .*\{'amount': 40\}"):
        bighub.assert_evaluated("refund", {"amount": 41})
    with pytest.raises(AssertionError, match="delete was not evaluated"):
        bighub.assert_evaluated("delete")
    with pytest.raises(AssertionError, match="refund was evaluated"):
        bighub.assert_not_evaluated("refund")
    with pytest.raises(AssertionError, match=r"no SUCCESS of refund .*\['BLOCKED'\]"):
        bighub.assert_reported("refund", "SUCCESS")
    bighub.assert_not_evaluated("delete")


def test_a_tool_without_arguments_was_evaluated_with_none() -> None:
    bighub = ScriptedBighub()
    bighub.submit(action="ping", context={"arguments": {}})
    bighub.assert_evaluated("ping", {})
    with pytest.raises(AssertionError, match="ping was not evaluated with"):
        bighub.assert_evaluated("ping", {"host": "a"})


def test_a_recorded_start_keeps_its_arguments_whatever_the_tool_does_with_them() -> None:
    @record_calls
    def pay(amounts: list[int], lock: Any) -> None:
        amounts.clear()
        del lock

    lock = threading.Lock()
    pay([1, 2], lock)
    assert pay.calls == [{"amounts": [1, 2], "lock": lock}]


@pytest.mark.parametrize("script", ["approve", ["proceed", "yes"], []])
def test_a_script_that_is_misspelt_is_refused(script: Any) -> None:
    with pytest.raises(ValueError, match=r"is not one of|at least one reply"):
        ScriptedBighub(script)
