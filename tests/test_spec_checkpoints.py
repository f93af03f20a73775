"""Checkpoints hold plain JSON of ours in every host, which any release can read."""

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from bighub_langgraph import (
    ApprovalPolicy,
    BighubGuard,
    BighubMiddleware,
    add_guard,
    create_guarded_agent,
    model_node,
)
from tests.agents import ScriptedModel, Shop, asks_for, call
from tests.engines import ScriptedBighub

CALLS = [
    call("refund", "a", order_id="o1", amount=40),
    call("refund", "b", order_id="o2", amount=5),
]
CONFIG: Any = {"configurable": {"thread_id": "t"}}
EDIT = {"name": "refund", "args": {"order_id": "o1", "amount": 9}}
FRAMEWORKS = ("langchain_core.", "langgraph.")
PLAIN = {dict, list, tuple, str, int, float, bool, type(None)}


def compile_graph(host: str, guard: BighubGuard, saver: InMemorySaver) -> Any:
    model, tools = ScriptedModel(script=[asks_for(*CALLS), "Done."]), Shop().tools()
    if host == "ready":
        return create_guarded_agent(model, tools, guard, checkpointer=saver)
    if host == "middleware":
        return create_agent(model, tools, middleware=[BighubMiddleware(guard)], checkpointer=saver)
    builder = StateGraph(MessagesState)
    builder.add_node("model", model_node(model, tools))
    builder.add_edge(START, "model")
    add_guard(builder, tools, guard)
    return builder.compile(checkpointer=saver)


def foreign_values(value: Any, path: str = "") -> Iterator[str]:
    """The places of values that are neither JSON nor of a framework's own type."""
    kind = type(value)
    if kind is dict:
        for name, member in value.items():
            yield from foreign_values(member, f"{path}.{name}")
    elif kind in {list, tuple, set}:
        for member in value:
            yield from foreign_values(member, f"{path}[]")
    elif isinstance(value, BaseMessage):
        yield from foreign_values(value.model_dump(), f"{path}.message")
    elif kind.__module__.startswith(FRAMEWORKS):
        for name in getattr(kind, "__slots__", ()) or vars(value):
            yield from foreign_values(getattr(value, name, None), f"{path}.{name}")
    elif kind not in PLAIN:
        yield f"{path}: {kind.__module__}.{kind.__qualname__}"


@pytest.mark.parametrize("mode", ["batched", "per_call"])
@pytest.mark.parametrize("host", ["ready", "own", "middleware"])
def test_a_checkpoint_holds_plain_json_after_every_kind_of_answer(host: str, mode: Any) -> None:
    saver = InMemorySaver()
    guard = BighubGuard(
        bighub=ScriptedBighub("review_recommended"), approvals=ApprovalPolicy(interrupt_mode=mode)
    )
    graph = compile_graph(host, guard, saver)
    state = graph.invoke({"messages": [HumanMessage("please")]}, CONFIG)
    answers: list[Any] = [
        {"type": "edit", "edited_action": EDIT, "comment": "less", "approver": "ada"},
        {"type": "respond", "message": "no need"},
    ]
    unclear = [{"type": "maybe"}]
    # LangGraph itself refuses an unclear answer to a question of a tool's own task.
    is_refused = host == "middleware" and mode == "per_call"
    for response in (answers,) if is_refused else (unclear, answers):
        questions = state["__interrupt__"]
        resume: Any = {"decisions": response}
        if mode == "per_call":
            resume = {
                question.id: answer for question, answer in zip(questions, response, strict=False)
            }
        state = graph.invoke(Command(resume=resume), CONFIG)
    places = [
        place
        for item in saver.list(CONFIG)
        for part in (item.checkpoint["channel_values"], item.metadata, item.pending_writes)
        for place in foreign_values(part)
    ]
    assert places == []
