"""Silence is no answer: nothing is learned from it, and the model reads that nobody refused."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bighub_langgraph import (
    ApprovalPolicy,
    BighubGuard,
    BighubMiddleware,
    BighubOpenAI,
    LocalBighub,
    create_guarded_agent,
)
from tests.agents import ScriptedModel, Shop, asks_for, call
from tests.engines import ScriptedBighub
from tests.openai_answers import calls, says
from tests.openai_server import ResponsesServer

AT_ONCE = ApprovalPolicy(expires_after=1e-9)
CONFIG: Any = {"configurable": {"thread_id": "t"}}


class Desk:
    """An agent whose refunds wait for a person."""

    def __init__(self, host: str, bighub: Any, *, memory: bool = True, **options: Any) -> None:
        self.guard = BighubGuard(bighub=bighub, domain="shop", **options)
        self.shop = Shop()
        refund = call("refund", order_id="o1", amount=40)
        model = ScriptedModel(script=[asks_for(refund), "Fine.", "Fine."])
        tools, saver = self.shop.tools(), InMemorySaver() if memory else False
        self.graph: Any = (
            create_guarded_agent(model, tools, self.guard, checkpointer=saver)
            if host == "ready"
            else create_agent(
                model, tools, middleware=[BighubMiddleware(self.guard)], checkpointer=saver
            )
        )
        self.state = self.run({"messages": [HumanMessage("please")]})

    def run(self, value: Any) -> dict[str, Any]:
        self.state = self.graph.invoke(value, CONFIG)
        return self.state

    def answer(self, **decision: Any) -> None:
        self.run(Command(resume={"decisions": [decision]}))


def becomes_stale(host: str, bighub: Any) -> Desk:
    desk = Desk(host, bighub)
    desk.run({"messages": [HumanMessage("never mind")]})
    return desk


def is_answered_too_late(host: str, bighub: Any) -> Desk:
    desk = Desk(host, bighub, approvals=AT_ONCE)
    desk.answer(type="reject", message="no")
    return desk


def has_no_one_to_ask(host: str, bighub: Any) -> Desk:
    return Desk(host, bighub, memory=False)


SILENT: dict[str, Callable[[str, Any], Desk]] = {
    "cancelled": becomes_stale,
    "expired": is_answered_too_late,
    "blocked": has_no_one_to_ask,
}


@pytest.mark.parametrize("state", SILENT)
@pytest.mark.parametrize("host", ["ready", "middleware"])
def test_a_call_that_nobody_answers_is_blocked_and_not_denied(host: str, state: str) -> None:
    desk = SILENT[state](host, bighub := ScriptedBighub("review_recommended"))
    desk.guard.flush()
    assert desk.shop.ran == []
    assert bighub.resolutions == []
    assert bighub.statuses == ["BLOCKED"]
    [memory] = [event for round_ in bighub.rounds for event in round_["events"]]
    assert memory["status"] == "blocked"
    [message] = [item for item in desk.state["messages"] if item.type == "tool"]
    assert message.additional_kwargs["bighub"]["status"] == state
    assert "rejected" not in message.content
    assert ("nobody refused it" in message.content) == (state != "blocked")


def no_denial(host: str, bighub: Any) -> Desk:
    """Return a desk whose call a person changes or answers."""
    desk = Desk(host, bighub)
    desk.answer(type="respond", message="no need")
    desk = Desk(host, bighub)
    desk.answer(type="edit", edited_action={"name": "refund", "args": {"order_id": "o1"}})
    return desk


@pytest.mark.parametrize("host", ["ready", "middleware"])
@pytest.mark.parametrize("end", [*SILENT.values(), no_denial])
def test_the_embedded_engine_learns_nothing_from_what_is_no_denial(
    host: str, end: Callable[[str, Any], Desk]
) -> None:
    with LocalBighub() as engine:
        arguments = {"order_id": "o2", "amount": 40.0}
        before = BighubGuard(bighub=engine, domain="shop").evaluate("refund", arguments)
        for _ in range(8):
            desk = end(host, engine)
            desk.guard.flush()
        after = desk.guard.evaluate("refund", arguments)
    assert abs((after.risk_score or 0) - (before.risk_score or 0)) < 0.01
    assert after.recommendation == before.recommendation


def refund(amount: float) -> str:
    """Pay money back."""
    raise AssertionError(f"{amount} was refunded")


def test_a_late_answer_in_the_facade_is_no_denial() -> None:
    guard = BighubGuard(bighub=ScriptedBighub("review_recommended"), approvals=AT_ONCE)
    with ResponsesServer() as server:
        server.script(calls(("refund", {"amount": 40})), says("Fine."))
        model = openai.OpenAI(api_key="key", base_url=server.url)
        with guard, model, BighubOpenAI(openai_client=model, guard=guard) as client:
            client.tool("refund", refund)
            result = client.run_with_approval(
                messages="Go.",
                model="gpt-5",
                on_approval_required=lambda _: {"resolution": "denied"},
            )
            guard.flush()
    assert result["execution"]["last"]["status"] == "blocked"
    assert guard.client.resolutions == []
    assert guard.client.statuses == ["BLOCKED"]
    [output] = [item for item in server.requests[-1]["input"] if item.get("output")]
    assert "nobody refused it" in output["output"]
