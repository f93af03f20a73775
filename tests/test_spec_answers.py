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

SHOWN = {"amount": 40.0}
PAID: list[float] = []


def refund(amount: float) -> str:
    """Pay money back."""
    PAID.append(amount)
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
        server.script(calls(("refund", SHOWN)), says("Done."))
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
SAME = {"action": "refund", "args": SHOWN}
APPROVED: Any = ([40.0], ["approved"])
DENIED: Any = ([], ["denied"])
EDITED: Any = ([5.0], [])
UNCLEAR: Any = ([], [])


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"decisions": [{"type": "approve"}]}, APPROVED),
        ({"type": "approved"}, APPROVED),
        ({"resolution": "approve"}, APPROVED),
        ([{"type": "accept", "args": SAME}], APPROVED),
        ({"type": "edit", "edited_action": {"name": "refund", "args": SHOWN}}, APPROVED),
        ({"resolution": "approved", "arguments": SHOWN}, APPROVED),
        (json.dumps({"decisions": [{"type": "approve"}]}), APPROVED),
        (json.dumps([{"type": "accept", "args": None}]), APPROVED),
        ({"decisions": json.dumps([{"type": "approve"}])}, APPROVED),
        ([json.dumps({"type": "approve"})], APPROVED),
        ({"resolution": "APPROVED"}, APPROVED),
        ({"resolution": "denied"}, DENIED),
        ({"resolution": "rejected"}, DENIED),
        ({"type": "deny"}, DENIED),
        ({"type": "reject", "message": "no"}, DENIED),
        ([{"type": "ignore", "args": None}], DENIED),
        ('{"resolution": "rejected"}', DENIED),
        ({"type": "edit", "edited_action": ACTION}, EDITED),
        ([{"type": "edit", "args": {"action": "refund", "args": {"amount": 5.0}}}], EDITED),
        ({"resolution": "approved", "arguments": {"amount": 5.0}}, EDITED),
        (json.dumps({"type": "edit", "edited_action": ACTION}), EDITED),
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
        ({"type": "edit", "edited_action": ACTION, "arguments": SHOWN}, UNCLEAR),
        ({"type": "edit", "edited_action": {"name": "steal", "args": {}}}, UNCLEAR),
        ({"approved": True}, UNCLEAR),
    ],
)
def test_an_answer_means_the_same_in_every_host(host: str, answer: Any, expected: Any) -> None:
    PAID.clear()
    bighub = ScriptedBighub("review_recommended")
    HOSTS[host](host, bighub, answer)
    assert (PAID, [item["resolution"] for item in bighub.resolutions]) == expected
