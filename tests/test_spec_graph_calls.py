"""One call in any host: what runs, what the model reads, and what BIGHUB is told."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from bighub_langgraph import BighubGuard, ToolPolicy
from tests.agents import (
    INVALID_CALLS,
    LOOK_UP,
    PLEASE,
    REFUND,
    Runner,
    ScriptedModel,
    Shop,
    answers,
    asks_for,
    call,
    resume,
)
from tests.engines import ScriptedBighub
from tests.test_spec_graph_turns import HOSTS, build


@pytest.fixture(params=HOSTS)
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Desk:
    """A guarded agent with everything a test looks at."""

    def __init__(self, host: str, *script: Any, says: str = "proceed", **guard: Any) -> None:
        self.bighub = ScriptedBighub(says)
        self.shop = Shop()
        self.guard = BighubGuard(bighub=self.bighub, **guard)
        self.graph = build(host, ScriptedModel(script=script), self.shop.tools(), self.guard)


def test_a_call_that_bighub_lets_proceed_runs_and_is_reported(runner: Runner, host: str) -> None:
    desk = Desk(host, asks_for(REFUND), "Done.")
    state = runner.run(desk.graph, PLEASE)
    desk.guard.flush()
    assert state["messages"][-1].content == "Done."
    assert desk.shop.ran == [("refund", 40)]
    [outcome] = desk.bighub.reported_outcomes
    assert (outcome["status"], outcome["request_id"]) == ("SUCCESS", "req-1")
    assert (outcome["production_action"], outcome["recommendation_followed"]) == ("refund", True)
    [memory_round] = desk.bighub.rounds
    assert memory_round["source"] == "langgraph"
    assert memory_round["events"][0]["output"] == "refunded 40.0 for o1"


def test_a_call_that_bighub_stops_never_reaches_the_tool(runner: Runner, host: str) -> None:
    desk = Desk(host, asks_for(REFUND), "Sorry.", says="do_not_proceed")
    state = runner.run(desk.graph, PLEASE)
    desk.guard.flush()
    assert desk.shop.ran == []
    assert "Do not repeat this call" in answers(state)["call-1"]
    assert desk.bighub.statuses == ["BLOCKED"]


def test_a_read_only_tool_runs_without_an_evaluation(runner: Runner, host: str) -> None:
    tools = {"look_up": ToolPolicy(read_only=True)}
    desk = Desk(host, asks_for(LOOK_UP), "Done.", says="do_not_proceed", tools=tools)
    runner.run(desk.graph, PLEASE)
    assert desk.shop.ran == [("look_up", "o1")]
    assert desk.bighub.evaluations == []


UNKNOWN_TOOL = [call("transfer", order_id="o1")]
BAD_CALLS = [
    (UNKNOWN_TOOL, "there is no such tool"),
    ([call("refund", order_id="o1", amount="much")], "its arguments do not fit"),
    *INVALID_CALLS,
]


@pytest.mark.parametrize(("calls", "wrong"), BAD_CALLS, ids=lambda value: str(value)[:40])
def test_a_call_that_cannot_be_run_is_answered_and_nobody_is_asked(
    runner: Runner, host: str, calls: list[dict[str, Any]], wrong: str
) -> None:
    if host == "middleware" and calls is UNKNOWN_TOOL:
        wrong = "not a valid tool"  # LangChain's words: a wrapper might have known it
    desk = Desk(host, asks_for(*calls), "Sorry.")
    state = runner.run(desk.graph, PLEASE)
    assert desk.shop.ran == []
    assert desk.bighub.evaluations == []
    assert all(wrong in content for content in answers(state).values())
    assert state["messages"][-1].content == "Sorry."


def test_a_rejection_runs_nothing_and_tells_the_model_why(runner: Runner, host: str) -> None:
    desk = Desk(host, asks_for(REFUND), "Sorry.", says="review_recommended")
    runner.run(desk.graph, PLEASE)
    state = runner.run(desk.graph, resume({"type": "reject", "message": "too much"}))
    desk.guard.flush()
    assert desk.shop.ran == []
    assert answers(state)["call-1"].startswith("A person rejected this call: too much.")
    assert desk.bighub.statuses == ["BLOCKED"]
    assert desk.bighub.resolutions[0]["resolution"] == "denied"


def test_a_response_stands_in_for_the_tool(runner: Runner, host: str) -> None:
    desk = Desk(host, asks_for(REFUND), "Done.", says="review_recommended")
    runner.run(desk.graph, PLEASE)
    state = runner.run(desk.graph, resume({"type": "respond", "message": "I paid it myself"}))
    desk.guard.flush()
    assert desk.shop.ran == []
    assert answers(state) == {"call-1": "I paid it myself"}
    [outcome] = desk.bighub.reported_outcomes
    assert (outcome["status"], outcome["human_final_action"]) == ("BLOCKED", "I paid it myself")


def test_an_edit_that_bighub_stops_does_not_run(runner: Runner, host: str) -> None:
    desk = Desk(host, asks_for(REFUND), "Sorry.", says="review_recommended")
    runner.run(desk.graph, PLEASE)
    desk.bighub.response = "do_not_proceed"
    edit = {"name": "refund", "args": {"order_id": "o1", "amount": 4000}}
    runner.run(desk.graph, resume({"type": "edit", "edited_action": edit}))
    assert desk.shop.ran == []


def test_a_new_message_closes_what_was_waiting_and_keeps_the_history_whole(
    runner: Runner, host: str
) -> None:
    desk = Desk(host, asks_for(REFUND), "Fine.", says="review_recommended")
    runner.run(desk.graph, PLEASE)
    state = runner.run(desk.graph, {"messages": [HumanMessage("never mind")]})
    kinds = [type(message) for message in state["messages"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, HumanMessage, AIMessage]
    assert desk.shop.ran == []
    desk.guard.flush()
    assert desk.bighub.statuses == ["BLOCKED"]
    assert "a new message came" in desk.bighub.reported_outcomes[0]["description"]


def test_the_state_the_guard_adds_is_not_shown(runner: Runner, host: str) -> None:
    desk = Desk(host, asks_for(REFUND), "Done.")
    assert set(runner.run(desk.graph, PLEASE)) == {"messages"}
    own = {"structured_response"} if host == "middleware" else set()  # LangChain's
    assert set(desk.graph.get_output_jsonschema()["properties"]) == {"messages", *own}
