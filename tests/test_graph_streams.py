"""What streams show of decisions, approvals and outcomes, in every host."""

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bighub_langgraph import BighubGuard, BighubMiddleware, create_guarded_agent
from tests.agents import PLEASE, Runner, ScriptedModel, Shop, asks_for, call
from tests.engines import ScriptedBighub

YES: Command[Any] = Command(resume={"decisions": [{"type": "approve", "approver": "ada"}]})
ALWAYS = {
    *("type", "event", "tool", "call_id", "key", "status", "state"),
    *("verdict", "recommendation", "confidence", "risk_score", "enforcement_mode"),
    *("reason", "request_id"),
}


@pytest.fixture(params=["ready", "middleware"])
def graph(request: pytest.FixtureRequest) -> Any:
    """An agent whose one call waits for a person."""
    model = ScriptedModel(script=[asks_for(call("refund", order_id="o1", amount=40)), "Done."])
    guard = BighubGuard(bighub=ScriptedBighub("review_recommended"))
    tools, saver = Shop().tools(), InMemorySaver()
    if request.param == "ready":
        return create_guarded_agent(model, tools, guard, checkpointer=saver)
    return create_agent(model, tools, middleware=[BighubMiddleware(guard)], checkpointer=saver)


def both_halves(runner: Runner, graph: Any, mode: Any) -> list[Any]:
    parts = list(runner.stream(graph, PLEASE, stream_mode=mode))
    return parts + list(runner.stream(graph, YES, stream_mode=mode))


def test_custom_tells_each_event_in_the_documented_shape(runner: Runner, graph: Any) -> None:
    events = both_halves(runner, graph, "custom")
    assert [event["event"] for event in events] == ["decision", "approval", "outcome"]
    assert all(event.keys() >= ALWAYS and event["type"] == "bighub" for event in events)
    decision, approval, outcome = events
    assert (decision["status"], decision["verdict"]) == ("approval_required", "review")
    assert approval["approval"] == {
        "answer": "approve",
        "approver": "ada",
        "verified": False,
        "comment": "",
    }
    assert (outcome["status"], outcome["output"]) == ("executed", "refunded 40.0 for o1")


def test_updates_show_the_question_and_the_tools_message(runner: Runner, graph: Any) -> None:
    parts = both_halves(runner, graph, "updates")
    [question] = next(part["__interrupt__"] for part in parts if "__interrupt__" in part)
    [request] = question.value["action_requests"]
    assert request["bighub"]["recommendation"] == "review_recommended"
    messages = [part["tools"]["messages"][-1] for part in parts if "tools" in part]
    assert [message.text for message in messages] == ["refunded 40.0 for o1"]


def test_messages_show_what_the_model_and_the_tools_say(runner: Runner, graph: Any) -> None:
    contents = [message.text for message, _ in both_halves(runner, graph, "messages")]
    assert contents[-2:] == ["refunded 40.0 for o1", "Done."]


def test_values_show_the_users_keys_the_plan_and_the_question(runner: Runner, graph: Any) -> None:
    states = both_halves(runner, graph, "values")
    assert set().union(*states) == {"messages", "bighub", "__interrupt__"}
    assert states[-1]["messages"][-1].text == "Done."
    [call_] = states[-1]["bighub"]["calls"]
    assert (call_["id"], call_["name"]) == ("call-1", "refund")


def test_several_modes_at_once_tell_which_is_which(runner: Runner, graph: Any) -> None:
    parts = both_halves(runner, graph, ["custom", "values"])
    assert {mode for mode, _ in parts} == {"custom", "values"}


def test_events_show_the_same_as_custom(graph: Any) -> None:
    config: Any = {"configurable": {"thread_id": "t"}}

    async def event_names(value: Any) -> list[str]:
        names = []
        async for event in graph.astream_events(
            value, config, version="v2", stream_mode=["custom", "values"]
        ):
            chunk = event["data"].get("chunk")
            if event["event"] == "on_chain_stream" and isinstance(chunk, tuple):
                mode, part = chunk[-2:]
                if mode == "custom":
                    names.append(part["event"])
        return names

    async def both() -> list[str]:
        return [*await event_names(PLEASE), *await event_names(YES)]

    assert asyncio.run(both()) == ["decision", "approval", "outcome"]
