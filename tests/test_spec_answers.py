"""One answer means the same in the ready graph, in LangChain's agent and in the OpenAI facade."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bighub_langgraph import BighubGuard, BighubMiddleware, BighubOpenAI, create_guarded_agent
from tests.agents import ScriptedModel, asks_for, call
from tests.engines import ScriptedBighub
from tests.openai_answers import calls, says
from tests.openai_server import ResponsesServer

SHOWN_ARGUMENTS = {"amount": 40.0}
PAYMENTS: list[float] = []


def refund(amount: float) -> str:
    """Pay money back."""
    PAYMENTS.append(amount)
    return f"refunded {amount}"


def ask_in_graph(host: str, bighub: ScriptedBighub, answer: Any) -> None:
    guard = BighubGuard(bighub=bighub)
    model = ScriptedModel(script=[asks_for(call("refund", amount=40.0)), "Done."])
    saver = InMemorySaver()
    graph: Any = (
        create_guarded_agent(model, [refund], guard, checkpointer=saver)
        if host == "ready"
        else create_agent(model, [refund], middleware=[BighubMiddleware(guard)], checkpointer=saver)
    )
    config: Any = {"configurable": {"thread_id": "t"}}
    graph.invoke({"messages": [HumanMessage("please")]}, config)
    graph.invoke(Command(resume=answer), config)
    guard.flush()


def ask_in_facade(_: str, bighub: ScriptedBighub, answer: Any) -> None:
    with ResponsesServer() as server:
        server.script(calls(("refund", SHOWN_ARGUMENTS)), says("Done."))
        model = openai.OpenAI(api_key="key", base_url=server.url)
        with model, BighubOpenAI(openai_client=model, bighub=bighub) as client:
            client.tool("refund", refund)
            client.run_with_approval(
                messages="Go.", model="gpt-5", on_approval_required=lambda _: answer
            )


HOSTS: dict[str, Callable[[str, ScriptedBighub, Any], None]] = {
    "ready": ask_in_graph,
    "middleware": ask_in_graph,
    "facade": ask_in_facade,
}
ACTION = {"name": "refund", "args": {"amount": 5.0}}
SAME = {"action": "refund", "args": SHOWN_ARGUMENTS}
APPROVAL: Any = ([40.0], ["approved"])
DENIAL: Any = ([], ["denied"])
EDIT: Any = ([5.0], [])
UNCLEAR: Any = ([], [])


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"decisions": [{"type": "approve"}]}, APPROVAL),
        ({"type": "approved"}, APPROVAL),
        ({"resolution": "approve"}, APPROVAL),
        ([{"type": "accept", "args": SAME}], APPROVAL),
        ({"type": "edit", "edited_action": {"name": "refund", "args": SHOWN_ARGUMENTS}}, APPROVAL),
        ({"resolution": "approved", "arguments": SHOWN_ARGUMENTS}, APPROVAL),
        (json.dumps({"decisions": [{"type": "approve"}]}), APPROVAL),
        (json.dumps([{"type": "accept", "args": None}]), APPROVAL),
        ({"decisions": json.dumps([{"type": "approve"}])}, APPROVAL),
        ([json.dumps({"type": "approve"})], APPROVAL),
        ({"resolution": "APPROVED"}, APPROVAL),
        ({"resolution": "denied"}, DENIAL),
        ({"resolution": "rejected"}, DENIAL),
        ({"type": "deny"}, DENIAL),
        ({"type": "reject", "message": "no"}, DENIAL),
        ([{"type": "ignore", "args": None}], DENIAL),
        ('{"resolution": "rejected"}', DENIAL),
        ({"type": "edit", "edited_action": ACTION}, EDIT),
        ([{"type": "edit", "args": {"action": "refund", "args": {"amount": 5.0}}}], EDIT),
        ({"resolution": "approved", "arguments": {"amount": 5.0}}, EDIT),
        (json.dumps({"type": "edit", "edited_action": ACTION}), EDIT),
        ({"type": "respond", "message": "no need"}, UNCLEAR),  # nothing runs, no one denied it
        ("approve", UNCLEAR),
        ('"approve"', UNCLEAR),
        ("{", UNCLEAR),
        ({"resolution": "maybe"}, UNCLEAR),
        ({"type": ["approve"]}, UNCLEAR),
        ({"type": "approve", "resolution": "denied"}, UNCLEAR),
        ({"type": "approve", "arguments": "all"}, UNCLEAR),
        ({"type": "approve", "edited_action": ACTION}, UNCLEAR),
        ({"type": "edit"}, UNCLEAR),
        ({"type": "edit", "edited_action": ACTION, "arguments": SHOWN_ARGUMENTS}, UNCLEAR),
        ({"type": "edit", "edited_action": {"name": "steal", "args": {}}}, UNCLEAR),
        ({"approved": True}, UNCLEAR),
    ],
)
def test_an_answer_means_the_same_in_every_host(host: str, answer: Any, expected: Any) -> None:
    PAYMENTS.clear()
    bighub = ScriptedBighub("review_recommended")
    HOSTS[host](host, bighub, answer)
    assert (PAYMENTS, [item["resolution"] for item in bighub.resolutions]) == expected
