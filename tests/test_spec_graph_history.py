"""What runs is what the history holds now, and a call id counts within its turn only."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode
from langgraph.types import Command

from bighub_langgraph import (
    BighubGuard,
    BighubMiddleware,
    add_guard,
    create_guarded_agent,
    model_node,
)
from bighub_langgraph.core.models import State
from tests.agents import (
    PLEASE,
    YES,
    Runner,
    ScriptedModel,
    Shop,
    asks_for,
    call,
    history_faults,
    resume,
)
from tests.engines import ScriptedBighub

THREAD: Any = {"configurable": {"thread_id": "t"}}


class Desk:
    """One shop behind one host."""

    def __init__(self, host: str, says: Any, *script: Any, stop: Sequence[str] = ()) -> None:
        self.shop = Shop()
        self.bighub = ScriptedBighub(says)
        self.guard = BighubGuard(bighub=self.bighub)
        self.model = ScriptedModel(script=script)
        tools, saver = self.shop.tools(), InMemorySaver()
        if host == "middleware":
            self.graph: Any = create_agent(
                self.model,
                tools,
                middleware=[BighubMiddleware(self.guard)],
                checkpointer=saver,
                interrupt_before=list(stop),
            )
            return
        if host == "ready" and not stop:
            self.graph = create_guarded_agent(self.model, tools, self.guard, checkpointer=saver)
            return
        builder = StateGraph(MessagesState)
        builder.add_node("model", model_node(self.model, tools))
        builder.add_edge(START, "model")
        add_guard(builder, tools, self.guard)
        self.graph = builder.compile(checkpointer=saver, interrupt_before=list(stop))

    @property
    def message(self) -> AIMessage:
        """The AI message whose calls wait."""
        messages = self.graph.get_state(THREAD).values["messages"]
        return next(item for item in reversed(messages) if isinstance(item, AIMessage))

    def update(self, *messages: Any) -> None:
        """Change the history by hand."""
        self.graph.update_state(THREAD, {"messages": list(messages)})

    @property
    def amounts(self) -> list[Any]:
        """The values that BIGHUB has evaluated."""
        return [item.get("value") for item in self.bighub.evaluations]

    @property
    def is_first_cancelled(self) -> bool:
        """Whether the call that was evaluated first can no longer run."""
        [record] = self.guard.journal.find_by_request_id("req-1")
        return record.state is State.CANCELLED


def with_calls(desk: Desk, *calls: dict[str, Any]) -> AIMessage:
    return desk.message.model_copy(update={"tool_calls": list(calls)})


REFUND = call("refund", "r", order_id="o", amount=500)
LESS = call("refund", "r", order_id="o", amount=50)
OTHER = call("refund", "s", order_id="o", amount=60)
LOOK_UP = call("look_up", "l", order_id="o")

# How somebody changes the history: what is written, and the calls that run then.
CHANGES: dict[str, tuple[Callable[[Desk], list[Any]], list[Any]]] = {
    "arguments": (lambda desk: [with_calls(desk, LESS)], [("refund", 50)]),
    "another call": (lambda desk: [with_calls(desk, OTHER)], [("refund", 60)]),
    "another tool": (
        lambda desk: [with_calls(desk, {**LOOK_UP, "id": "r"})],
        [("look_up", "o")],
    ),
    "one more": (
        lambda desk: [with_calls(desk, REFUND, OTHER)],
        [("refund", 500), ("refund", 60)],
    ),
    "removed": (lambda desk: [with_calls(desk)], []),
    "message removed": (lambda desk: [RemoveMessage(str(desk.message.id))], []),
    "message replaced": (
        lambda desk: [RemoveMessage(str(desk.message.id)), asks_for(LESS)],
        [("refund", 50)],
    ),
    "answered": (lambda _: [ToolMessage("by hand", tool_call_id="r")], []),
    "nothing": (lambda desk: [desk.message], [("refund", 500)]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_at_a_breakpoint_what_the_history_holds_runs(runner: Runner, change: str) -> None:
    desk = Desk("own", "proceed", asks_for(REFUND), "Done.", stop=["tools"])
    runner.run(desk.graph, PLEASE)
    write, expected = CHANGES[change]
    desk.update(*write(desk))
    for _ in range(4):
        if desk.graph.get_state(THREAD).next:
            runner.run(desk.graph, None)
    assert sorted(desk.shop.ran) == sorted(expected)
    assert {amount for name, amount in desk.shop.ran if name == "refund"} <= set(desk.amounts)
    assert history_faults(desk.graph.get_state(THREAD).values["messages"]) == []
    if ("refund", 500) not in expected:
        assert desk.is_first_cancelled


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("host", ["ready", "own"])
def test_while_a_person_is_asked_what_the_history_holds_is_asked_about(
    runner: Runner, host: str, change: str
) -> None:
    desk = Desk(host, "review_recommended", asks_for(REFUND), "Done.")
    runner.run(desk.graph, PLEASE)
    write, expected = CHANGES[change]
    desk.update(*write(desk))
    state = runner.run(desk.graph, None)
    if expected:
        [question] = state["__interrupt__"]
        shown_calls = [(item["name"], item["args"]) for item in question.value["action_requests"]]
        held_calls = [(item["name"], item["args"]) for item in desk.message.tool_calls]
        assert shown_calls == held_calls
        assert desk.shop.ran == []
        state = runner.run(desk.graph, resume(*[YES] * len(shown_calls)))
    assert "__interrupt__" not in state
    assert sorted(desk.shop.ran) == sorted(expected)
    assert history_faults(state["messages"]) == []
    if ("refund", 500) not in expected:
        assert desk.is_first_cancelled


def test_of_several_calls_only_the_changed_one_is_another_call(runner: Runner) -> None:
    desk = Desk("own", "review_recommended", asks_for(REFUND, OTHER), "Done.")
    runner.run(desk.graph, PLEASE)
    desk.update(with_calls(desk, LESS, OTHER))
    runner.run(desk.graph, None)
    assert desk.amounts == [500, 60, 50]
    state = runner.run(desk.graph, resume(YES, YES))
    assert sorted(desk.shop.ran) == [("refund", 50), ("refund", 60)]
    assert history_faults(state["messages"]) == []


def test_a_persons_edit_runs_though_the_history_holds_the_original(runner: Runner) -> None:
    desk = Desk("own", "review_recommended", asks_for(REFUND), "Done.", stop=["tools"])
    runner.run(desk.graph, PLEASE)
    edit = {"name": "refund", "args": {"order_id": "o", "amount": 50}}
    runner.run(desk.graph, resume({"type": "edit", "edited_action": edit}))
    runner.run(desk.graph, None)
    assert desk.shop.ran == [("refund", 50)]


def test_a_call_of_a_message_that_was_removed_is_cancelled_with_the_next_message(
    runner: Runner,
) -> None:
    desk = Desk("ready", "review_recommended", asks_for(REFUND), "Fine.")
    runner.run(desk.graph, PLEASE)
    removal = RemoveMessage(str(desk.message.id))
    runner.run(desk.graph, {"messages": [removal, HumanMessage("never mind")]})
    assert desk.is_first_cancelled


@pytest.mark.parametrize("host", ["ready", "own", "middleware"])
def test_a_waiting_call_that_the_next_input_answers_is_cancelled(runner: Runner, host: str) -> None:
    desk = Desk(host, "review_recommended", asks_for(REFUND, OTHER), "Fine.")
    runner.run(desk.graph, PLEASE)
    answers = [ToolMessage("by hand", tool_call_id=item) for item in ("r", "s")]
    state = runner.run(desk.graph, {"messages": answers})
    assert "__interrupt__" not in state
    assert desk.shop.ran == []
    desk.guard.flush()
    assert desk.bighub.statuses == ["BLOCKED", "BLOCKED"]
    assert desk.is_first_cancelled


@pytest.mark.parametrize("host", ["ready", "own", "middleware"])
def test_a_call_that_is_answered_in_the_tools_place_is_cancelled_with_the_next_turn(
    runner: Runner, host: str
) -> None:
    desk = Desk(host, "review_recommended", asks_for(REFUND), asks_for(OTHER), "Fine.")
    runner.run(desk.graph, PLEASE)
    answer = ToolMessage("by hand", tool_call_id="r")
    desk.graph.update_state(THREAD, {"messages": [answer]}, as_node="tools")
    runner.run(desk.graph, None)
    assert desk.is_first_cancelled
    runner.run(desk.graph, resume(YES))
    assert desk.shop.ran == [("refund", 60)]


@pytest.mark.parametrize("says", ["proceed", "do_not_proceed"])
@pytest.mark.parametrize("host", ["ready", "own", "middleware"])
def test_a_fork_behind_a_turn_goes_on_at_the_model(runner: Runner, host: str, says: str) -> None:
    desk = Desk(host, says, asks_for(REFUND, OTHER), "Done.", "Done again.")
    runner.run(desk.graph, PLEASE)
    history = desk.graph.get_state_history(THREAD)
    behind = next(item for item in history if "model" in item.next)
    changed = behind.values["messages"][-1].model_copy(update={"content": "changed by hand"})
    desk.graph.update_state(behind.config, {"messages": [changed]})
    state = runner.run(desk.graph, None)
    assert state["messages"][-1].text == "Done again."
    assert desk.model.shown[-1][-1].text == "changed by hand"
    assert len(desk.shop.ran) == (2 if says == "proceed" else 0)


# -- call ids --------------------------------------------------------------------------------------

HOSTS = ["ready", "own", "middleware"]


def first(name: str, **arguments: Any) -> dict[str, Any]:
    """A call of a server that starts its ids again each turn."""
    return call(name, "call_0", **arguments)


def second(name: str, **arguments: Any) -> dict[str, Any]:
    return call(name, "call_1", **arguments)


@pytest.mark.parametrize("host", HOSTS)
def test_a_new_message_closes_a_call_whose_id_was_answered_in_an_earlier_turn(
    runner: Runner, host: str
) -> None:
    desk = Desk(
        host,
        {"refund": "review_recommended", "look_up": "proceed"},
        asks_for(first("look_up", order_id="o"), second("look_up", order_id="p")),
        "Found.",
        asks_for(first("refund", order_id="o", amount=5), second("refund", order_id="p", amount=7)),
        asks_for(first("refund", order_id="o", amount=6)),
        "Done.",
    )
    runner.run(desk.graph, PLEASE)
    assert "__interrupt__" in runner.run(desk.graph, PLEASE)
    assert "__interrupt__" in runner.run(desk.graph, {"messages": [HumanMessage("make it six")]})
    assert history_faults(desk.model.shown[-1]) == []
    state = runner.run(desk.graph, resume(YES))
    assert desk.shop.ran[2:] == [("refund", 6)]
    assert history_faults(state["messages"]) == []


@pytest.mark.parametrize("host", HOSTS)
def test_a_call_with_an_id_of_an_earlier_turn_runs_as_a_call_of_its_own(
    runner: Runner, host: str
) -> None:
    same = asks_for(first("refund", order_id="o", amount=5))
    desk = Desk(host, "proceed", same, same, "Done.")
    state = runner.run(desk.graph, PLEASE)
    assert desk.shop.ran == [("refund", 5), ("refund", 5)]
    assert history_faults(state["messages"]) == []


def handoff() -> Any:
    """A tool as langgraph-swarm makes it: its update repeats the whole history."""

    @tool
    def hand_over(
        state: Annotated[dict[str, Any], InjectedState],
        tool_call_id: Annotated[str, InjectedToolCallId],
    ) -> Command[Any]:
        """Hand the conversation over."""
        answer = ToolMessage("handed over", tool_call_id=tool_call_id)
        update = {"messages": [*state["messages"], answer]}
        return Command(goto="colleague", graph=Command.PARENT, update=update)

    return hand_over


@pytest.mark.parametrize("says", ["proceed", "review_recommended"])
def test_a_handoff_answers_its_own_turn_whatever_the_ids_of_earlier_ones(
    runner: Runner, says: str
) -> None:
    shop, hand_over = Shop(), handoff()
    proceeds = dict.fromkeys(["delete_account", "look_up", "hand_over"], "proceed")
    bighub = ScriptedBighub({**proceeds, "refund": says})
    guard = BighubGuard(bighub=bighub)
    model = ScriptedModel(
        script=[
            asks_for(
                first("delete_account", customer="ada"), second("refund", order_id="o", amount=1)
            ),
            asks_for(first("hand_over"), second("refund", order_id="o", amount=5)),
        ]
    )
    tools = ToolNode([hand_over, *shop.tools()], handle_tool_errors=True)
    agent = create_guarded_agent(model, tools, guard, name="agent")
    colleague = ScriptedModel(script=["Here."])
    builder = StateGraph(MessagesState)
    builder.add_node("agent", agent)
    builder.add_node("colleague", model_node(colleague, []))
    builder.add_edge(START, "agent")
    graph = builder.compile(checkpointer=InMemorySaver())
    state = runner.run(graph, PLEASE)
    if "__interrupt__" in state:
        state = runner.run(graph, resume({"type": "reject"}))
    assert state["messages"][-1].text == "Here."
    assert history_faults(colleague.shown[0]) == []
    [last] = [m for m in colleague.shown[0][-2:] if getattr(m, "tool_call_id", "") == "call_1"]
    assert ("refunded 5.0" in last.text) == (("refund", 5) in shop.ran)
    guard.flush()
    assert bighub.statuses.count("FAILURE") == 1
