"""Builders that drop a guard around tools keep the one that the tools carry.

Each test needs a package of the extra `integrations` and is skipped without it.
"""

import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bighub_langgraph import BighubGuard, BighubMiddleware, ToolPolicy
from tests.agents import PLEASE, REFUND, YES, Runner, ScriptedModel, Shop, answers, asks_for, call
from tests.documents import ROOT, run_page
from tests.engines import ScriptedBighub

# What BIGHUB says, and what the agent has refunded before and after a person's yes.
CASES = pytest.mark.parametrize(
    ("says", "before", "after"),
    [
        ("proceed", [("refund", 40)], [("refund", 40)]),
        ("review_recommended", [], [("refund", 40)]),
        ("do_not_proceed", [], []),
    ],
)


def approve(runner: Runner, graph: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Answer every question of a state."""
    questions = {item.id: YES for item in state.get("__interrupt__", ())}
    return runner.run(graph, Command(resume=questions)) if questions else state


def run_and_approve(
    runner: Runner, graph: Any, shop: Shop, before: list[Any], after: list[Any]
) -> dict[str, Any]:
    """The state of an agent after every question; what its shop ran before and after these."""
    state = runner.run(graph, PLEASE)
    assert shop.ran == before
    state = approve(runner, graph, state)
    assert shop.ran == after
    return state


class Delegates(ScriptedModel):
    """Delegates the refund to the general-purpose subagent, which makes it."""

    def _generate(self, messages: Any, *_: Any, **__: Any) -> Any:
        if any(isinstance(message, ToolMessage) for message in messages):
            line: Any = AIMessage("Done.")
        elif any("delegated" in message.text for message in messages):
            line = asks_for(REFUND)
        else:
            task = {"description": "delegated: refund o1", "subagent_type": "general-purpose"}
            line = asks_for(call("task", "call-9", **task))
        self.shown.clear()
        return ScriptedModel(script=[line])._generate(messages)


@CASES
def test_deepagents(runner: Runner, says: str, before: list[Any], after: list[Any]) -> None:
    deepagents = pytest.importorskip("deepagents")
    shop, bighub = Shop(), ScriptedBighub(says)
    guard = BighubGuard(bighub=bighub, tools={"task": ToolPolicy(read_only=True)})
    agent = deepagents.create_deep_agent(
        model=Delegates(script=[]),
        tools=guard.wrap_tools(shop.tools()),
        middleware=[BighubMiddleware(guard)],
        checkpointer=InMemorySaver(),
    )
    run_and_approve(runner, agent, shop, before, after)
    assert [item["action"] for item in bighub.evaluations] == ["refund"]


@CASES
@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_langgraph_supervisor(
    runner: Runner, says: str, before: list[Any], after: list[Any]
) -> None:
    supervisor = pytest.importorskip("langgraph_supervisor")
    shop, bighub = Shop(), ScriptedBighub(says)
    guard = BighubGuard(bighub=bighub)
    clerk = create_agent(ScriptedModel(script=[AIMessage("Looked."), "Looked."]), [], name="clerk")
    model = ScriptedModel(script=[asks_for(REFUND), "Done."])
    tools = guard.wrap_tools(shop.tools())
    graph = supervisor.create_supervisor([clerk], model=model, tools=tools).compile(
        checkpointer=InMemorySaver()
    )
    state = run_and_approve(runner, graph, shop, before, after)
    assert state["messages"][-1].content == "Done."
    assert len(bighub.evaluations) == 1


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_a_call_that_a_message_to_langgraph_supervisor_orphaned_gets_an_outcome(
    runner: Runner,
) -> None:
    supervisor = pytest.importorskip("langgraph_supervisor")
    shop, bighub = Shop(), ScriptedBighub("review_recommended")
    guard = BighubGuard(bighub=bighub)
    payer = create_agent(
        ScriptedModel(script=[asks_for(REFUND), asks_for(REFUND), "Done."]),
        shop.tools(),
        middleware=[BighubMiddleware(guard)],
        name="payer",
    )
    hand_over = [asks_for(call("transfer_to_payer", f"h{turn}")) for turn in range(2)]
    model = ScriptedModel(script=[*hand_over, "Done."])
    graph = supervisor.create_supervisor([payer], model=model).compile(checkpointer=InMemorySaver())
    runner.run(graph, PLEASE)
    approve(runner, graph, runner.run(graph, PLEASE))
    guard.flush()
    assert shop.ran == [("refund", 40)]
    assert sorted(bighub.statuses) == ["BLOCKED", "SUCCESS"]


@CASES
def test_langgraph_swarm(runner: Runner, says: str, before: list[Any], after: list[Any]) -> None:
    swarm = pytest.importorskip("langgraph_swarm")
    shop, bighub = Shop(), ScriptedBighub(says)
    guard = BighubGuard(bighub=bighub)
    handoff = swarm.create_handoff_tool(agent_name="payments")
    desk = create_agent(
        ScriptedModel(script=[asks_for(call(handoff.name, "call-1"))]), [handoff], name="desk"
    )
    payments = create_agent(
        # The server restarts its call ids with each turn.
        ScriptedModel(script=[asks_for(REFUND), "Done."]),
        guard.wrap_tools(shop.tools()),
        name="payments",
    )
    graph = swarm.create_swarm([desk, payments], default_active_agent="desk").compile(
        checkpointer=InMemorySaver()
    )
    state = run_and_approve(runner, graph, shop, before, after)
    assert state["messages"][-1].content == "Done."
    assert len(bighub.evaluations) == 1


@CASES
async def test_tools_of_an_mcp_server(
    tmp_path: Path, says: str, before: list[Any], after: list[Any]
) -> None:
    client = pytest.importorskip("langchain_mcp_adapters.client")
    refunds = tmp_path / "refunds"
    refunds.touch()
    shop = {
        "transport": "stdio",
        "command": sys.executable,
        "args": [str(Path(__file__).with_name("mcp_shop.py"))],
        "env": {"REFUNDS": str(refunds)},
    }
    tools = await client.MultiServerMCPClient({"shop": shop}).get_tools()
    guard = BighubGuard(bighub=ScriptedBighub(says))
    model = ScriptedModel(script=[asks_for(REFUND), "Done."])
    graph: Any = create_agent(model, guard.wrap_tools(tools), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    state = await graph.ainvoke(PLEASE, config)
    assert refunds.read_text().splitlines() == ["o1 40"] * len(before)
    if says == "review_recommended":
        [question] = state["__interrupt__"]
        state = await graph.ainvoke(Command(resume={question.id: YES}), config)
    assert refunds.read_text().splitlines() == ["o1 40"] * len(after)
    if after:
        assert "refunded 40 for o1" in answers(state)["call-1"]
        assert state["messages"][-2].artifact is not None


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
def test_the_page_about_them_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("deepagents", "langchain_mcp_adapters", "langgraph_supervisor"):
        pytest.importorskip(package)
    pytest.importorskip("langgraph_swarm")
    monkeypatch.chdir(tmp_path)
    run_page(ROOT / "docs" / "integrations.md")
