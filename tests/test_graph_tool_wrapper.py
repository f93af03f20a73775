"""`guard.wrap_tool_call` around a bare ToolNode: it blocks where it cannot ask safely."""

import operator
from typing import Annotated, Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from bighub_langgraph import ApprovalPolicy, BighubGuard, ToolPolicy
from tests.agents import LOOK_UP, REFUND, REVIEW, SECOND, YES, Runner, Shop, asks_for, call
from tests.engines import ScriptedBighub


class Desk:
    """A graph of a guarded ToolNode alone, with all calls in one task or each in its own."""

    def __init__(self, says: Any = "proceed", *, sent: str = "", **options: Any) -> None:
        self.shop = Shop()
        self.bighub = ScriptedBighub(says)
        memory, own = options.pop("memory", True), options.pop("tool", None)
        self.guard = BighubGuard(bighub=self.bighub, **options)
        builder = StateGraph(MessagesState)
        node = ToolNode(
            [own] if own else self.shop.tools(),
            wrap_tool_call=self.guard.wrap_tool_call,
            awrap_tool_call=self.guard.awrap_tool_call,
        )
        builder.add_node("tools", node)

        def one_by_one(state: MessagesState) -> list[Send]:
            return [Send("tools", [message]) for message in state["messages"][-1].tool_calls]  # type: ignore[union-attr]

        def together(state: MessagesState) -> list[Send]:
            return [Send("tools", list(state["messages"][-1].tool_calls))]  # type: ignore[union-attr]

        if sent:
            send = one_by_one if sent == "one by one" else together
            builder.add_conditional_edges(START, send, ["tools"])
        else:
            builder.add_edge(START, "tools")
        self.graph: Any = builder.compile(checkpointer=InMemorySaver() if memory else None)


def state_with(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [HumanMessage("please"), asks_for(*calls)]}


def contents(state: dict[str, Any]) -> dict[str, str]:
    return {
        message.tool_call_id: message.text
        for message in state["messages"]
        if isinstance(message, ToolMessage)
    }


def test_calls_are_evaluated_and_run_or_blocked(runner: Runner) -> None:
    desk = Desk({"refund": "do_not_proceed", "look_up": "proceed"})
    state = runner.run(desk.graph, state_with(REFUND, LOOK_UP))
    desk.guard.flush()
    assert desk.shop.ran == [("look_up", "o1")]
    assert "Do not repeat this call" in contents(state)["call-1"]
    assert sorted(desk.bighub.statuses) == ["BLOCKED", "SUCCESS"]


def test_one_call_alone_waits_for_a_person(runner: Runner) -> None:
    desk = Desk(REVIEW)
    [question] = runner.run(desk.graph, state_with(REFUND))["__interrupt__"]
    assert question.value["action_requests"][0]["name"] == "refund"
    runner.run(desk.graph, Command(resume=YES))
    assert desk.shop.ran == [("refund", 40)]
    assert len(desk.bighub.evaluations) == 1


def test_calls_that_are_sent_one_by_one_wait_each_for_its_own_answer(runner: Runner) -> None:
    desk = Desk(REVIEW, sent="one by one", approvals=ApprovalPolicy(interrupt_mode="per_call"))
    questions = runner.run(desk.graph, state_with(REFUND, SECOND))["__interrupt__"]
    ids = {item.value["tool_call_id"]: item.id for item in questions}
    answers = {ids["call-1"]: {"type": "reject"}, ids["call-2"]: YES}
    runner.run(desk.graph, Command(resume=answers))
    assert desk.shop.ran == [("refund", 50)]


def test_several_calls_in_one_task_are_not_asked_about(runner: Runner) -> None:
    desk = Desk(REVIEW)
    state = runner.run(desk.graph, state_with(REFUND, LOOK_UP))
    assert desk.shop.ran == [("look_up", "o1")]
    assert "add_guard(builder, tools, guard)" in contents(state)["call-1"]


def test_of_several_calls_sent_together_one_is_asked_about_and_no_answer_is_mistaken(
    runner: Runner,
) -> None:
    desk = Desk(REVIEW, sent="together")
    [question] = runner.run(desk.graph, state_with(REFUND, SECOND))["__interrupt__"]
    [request] = question.value["action_requests"]
    state = runner.run(desk.graph, Command(resume=YES))
    assert desk.shop.ran == [("refund", request["args"]["amount"])]
    assert len(contents(state)) == 2


def test_without_a_checkpointer_nobody_is_asked(runner: Runner) -> None:
    desk = Desk(REVIEW, memory=False)
    state = runner.run(desk.graph, state_with(REFUND), thread=None)
    assert desk.shop.ran == []
    assert "compile(checkpointer=...)" in contents(state)["call-1"]


def test_a_read_only_tool_is_not_asked_about(runner: Runner) -> None:
    desk = Desk("do_not_proceed", tools={"look_up": ToolPolicy(read_only=True)})
    runner.run(desk.graph, state_with(LOOK_UP))
    assert desk.shop.ran == [("look_up", "o1")]
    assert desk.bighub.evaluations == []


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity"])
def test_text_that_stands_for_no_finite_number_is_refused(runner: Runner, amount: str) -> None:
    desk = Desk()
    state = runner.run(
        desk.graph, state_with({**REFUND, "args": {"order_id": "o", "amount": amount}})
    )
    assert desk.shop.ran == []
    assert "amount: a finite number is expected" in contents(state)["call-1"]
    assert desk.bighub.evaluations == []


def test_calls_with_the_same_id_are_refused(runner: Runner) -> None:
    desk = Desk()
    state = runner.run(desk.graph, state_with(REFUND, {**SECOND, "id": "call-1"}))
    assert desk.shop.ran == []
    assert "2 calls have the id call-1" in contents(state)["call-1"]


def test_an_edit_in_the_task_is_evaluated_and_runs(runner: Runner) -> None:
    desk = Desk(REVIEW)
    runner.run(desk.graph, state_with(REFUND))
    args = {"order_id": "o1", "amount": 5}
    edit = {"type": "edit", "edited_action": {"name": "refund", "args": args}}
    state = runner.run(desk.graph, Command(resume={"decisions": [edit]}))
    assert desk.shop.ran == [("refund", 5)]
    assert [request["value"] for request in desk.bighub.evaluations] == [40, 5]
    assert "What ran: refund(order_id='o1', amount=5)" in contents(state)["call-1"]


@pytest.mark.parametrize("nonsense", ["yes", {"type": "go"}, [YES, YES]])
def test_an_unclear_answer_raises_and_leaves_the_question_open(
    runner: Runner, nonsense: Any
) -> None:
    desk = Desk(REVIEW)
    runner.run(desk.graph, state_with(REFUND))
    with pytest.raises(ValueError, match="Value error"):
        runner.run(desk.graph, Command(resume=nonsense))
    assert desk.shop.ran == []
    runner.run(desk.graph, Command(resume=YES))
    assert desk.shop.ran == [("refund", 40)]


def test_a_question_of_the_tool_does_not_get_the_approvers_answer(runner: Runner) -> None:
    @tool
    def pay(amount: float) -> str:
        """Pay from an account."""
        return f"paid {amount} from {interrupt('which account?')}"

    desk = Desk("review_recommended", tool=pay)
    runner.run(desk.graph, state_with(call("pay", amount=3)))
    [question] = runner.run(desk.graph, Command(resume=YES))["__interrupt__"]
    assert question.value == "which account?"
    state = runner.run(desk.graph, Command(resume="savings"))
    assert contents(state)["call-1"] == "paid 3.0 from savings"


class Elsewhere(TypedDict):
    conversation: Annotated[list[AnyMessage], add_messages]


class Nameless(TypedDict):
    conversation: Annotated[list[AnyMessage], operator.add]


def other(schema: Any, desk: Desk) -> Any:
    node = ToolNode(
        desk.shop.tools(),
        messages_key="conversation",
        wrap_tool_call=desk.guard.wrap_tool_call,
        awrap_tool_call=desk.guard.awrap_tool_call,
    )
    builder = StateGraph(schema)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    return builder.compile(checkpointer=InMemorySaver())


def test_the_messages_may_stand_under_any_key(runner: Runner) -> None:
    desk = Desk(REVIEW)
    graph = other(Elsewhere, desk)
    assert "__interrupt__" in runner.run(graph, {"conversation": [asks_for(REFUND)]})
    runner.run(graph, Command(resume=YES))
    assert desk.shop.ran == [("refund", 40)]


def test_a_message_without_an_id_cannot_wait_for_an_answer(runner: Runner) -> None:
    desk = Desk(REVIEW)
    state = runner.run(other(Nameless, desk), {"conversation": [asks_for(REFUND)]})
    assert desk.shop.ran == []
    assert "add_guard(builder, tools, guard)" in state["conversation"][-1].text
