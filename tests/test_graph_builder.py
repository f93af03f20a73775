"""`add_guard` in graphs that exist: any state, any key, subgraphs, several agents."""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
from langgraph.prebuilt import InjectedState, ToolNode
from langgraph.types import Command, Send
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from bighub_langgraph import (
    BighubGuard,
    ToolPolicy,
    add_guard,
    approval_node,
    create_guarded_agent,
    evaluate_node,
    model_node,
    outcome_node,
    route_by_recommendation,
    tools_node,
)
from tests.agents import LOOK_UP, REFUND, REVIEW, Runner, ScriptedModel, Shop, asks_for, call
from tests.engines import ScriptedBighub

YES: Command[Any] = Command(resume={"decisions": [{"type": "approve"}]})
NO: Command[Any] = Command(resume={"decisions": [{"type": "reject"}]})


class OwnState(TypedDict):
    conversation: Annotated[list[AnyMessage], add_messages]
    customer: str


class Added(TypedDict):
    conversation: Annotated[list[AnyMessage], operator.add]
    customer: str


@dataclass
class Data:
    conversation: Annotated[list[AnyMessage], add_messages] = field(default_factory=list)
    customer: str = ""


class Model(BaseModel):
    conversation: Annotated[list[AnyMessage], add_messages] = Field(default_factory=list)
    customer: str = ""


class Desk:
    """A graph of the user's own with the guard in it."""

    def __init__(
        self, schema: Any, *script: Any, key: str = "conversation", says: Any = None
    ) -> None:
        self.shop = Shop()
        self.bighub = ScriptedBighub(says or REVIEW)
        self.guard = BighubGuard(bighub=self.bighub)
        self.model = ScriptedModel(script=script)
        builder = StateGraph(schema)
        builder.add_node("agent", model_node(self.model, self.shop.tools(), messages_key=key))
        builder.add_edge(START, "agent")
        self.nodes = add_guard(
            builder, self.shop.tools(), self.guard, after="agent", then="agent", messages_key=key
        )
        self.graph: Any = builder.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("schema", [OwnState, Added, Data, Model], ids=lambda value: value.__name__)
def test_the_guard_fits_any_state_and_any_messages_key(runner: Runner, schema: Any) -> None:
    desk = Desk(schema, asks_for(REFUND, LOOK_UP), "Done.")
    please = {"conversation": [HumanMessage("please")], "customer": "ada"}
    runner.run(desk.graph, please)
    assert desk.shop.ran == [("look_up", "o1")]
    state = runner.run(desk.graph, YES)
    assert sorted(desk.shop.ran) == [("look_up", "o1"), ("refund", 40)]
    kinds = [type(message) for message in state["conversation"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, ToolMessage, AIMessage]
    assert len(desk.model.shown) == 2
    assert state["customer"] == "ada"


@pytest.mark.parametrize("schema", [OwnState, Added, Data, Model], ids=lambda value: value.__name__)
def test_the_users_schema_does_not_show_the_guard(schema: Any) -> None:
    desk = Desk(schema, "Hello.")
    for shown_schema in (desk.graph.get_input_jsonschema(), desk.graph.get_output_jsonschema()):
        assert set(shown_schema["properties"]) == {"conversation", "customer"}


@pytest.mark.parametrize("schema", [OwnState, Added, Data, Model], ids=lambda value: value.__name__)
def test_a_new_message_closes_what_waits_whatever_the_reducer(runner: Runner, schema: Any) -> None:
    desk = Desk(schema, asks_for(REFUND), "Fine.")
    runner.run(desk.graph, {"conversation": [HumanMessage("please")], "customer": "ada"})
    state = runner.run(desk.graph, {"conversation": [HumanMessage("never mind")]})
    kinds = [type(message) for message in state["conversation"]]
    assert kinds == [HumanMessage, AIMessage, ToolMessage, HumanMessage, AIMessage]
    desk.guard.flush()
    assert desk.bighub.statuses == ["BLOCKED"]


def test_a_message_without_an_id_is_closed_too(runner: Runner) -> None:
    bighub = ScriptedBighub("review_recommended")
    guard = BighubGuard(bighub=bighub)
    shop = Shop()

    def speak(state: Added) -> dict[str, Any]:
        has_asked = any(isinstance(message, AIMessage) for message in state["conversation"])
        return {"conversation": [AIMessage("Fine.") if has_asked else asks_for(REFUND)]}

    builder = StateGraph(Added)
    builder.add_node("agent", speak)
    builder.add_edge(START, "agent")
    add_guard(
        builder, shop.tools(), guard, after="agent", then="agent", messages_key="conversation"
    )
    graph = builder.compile(checkpointer=InMemorySaver())
    runner.run(graph, {"conversation": [HumanMessage("please")]})
    runner.run(graph, {"conversation": [HumanMessage("never mind")]})
    guard.flush()
    assert bighub.statuses == ["BLOCKED"]


def test_the_names_of_the_nodes_come_back() -> None:
    desk = Desk(OwnState, "Hello.")
    assert desk.nodes == ("close_stale_calls", "evaluate", "approve", "tools", "report")


def test_edges_into_the_model_lead_through_the_entry() -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("model", model_node(ScriptedModel(script=["Hello."]), []))
    builder.add_node("greet", lambda _: {})
    builder.add_node("end", lambda _: {})
    builder.add_edge(START, "greet")
    builder.add_conditional_edges("greet", lambda _: "go", {"go": "model", "stop": "end"})
    add_guard(builder, [], BighubGuard(bighub=ScriptedBighub()), end="end")
    graph: Any = builder.compile()
    state = graph.invoke({"messages": [HumanMessage("hi")]})
    assert state["messages"][-1].text == "Hello."
    edges = {(edge.source, edge.target) for edge in graph.get_graph().edges}
    assert ("greet", "close_stale_calls") in edges
    assert ("greet", "model") not in edges
    assert ("model", "end") in edges


def steps(runner: Runner, graph: Any, value: Any) -> list[str]:
    """The nodes that ran, in order."""
    parts = runner.stream(graph, value, stream_mode="updates")
    return [name for part in parts for name in part if not name.startswith("__")]


def test_a_turn_goes_by_the_guards_nodes_from_the_model_to_the_model(runner: Runner) -> None:
    desk = Desk(OwnState, asks_for(LOOK_UP), "Done.")
    nodes = steps(runner, desk.graph, {"conversation": [HumanMessage("please")]})
    assert nodes == ["close_stale_calls", "agent", "evaluate", "tools", "agent"]


def test_behind_several_calls_the_model_goes_on_once_when_all_are_answered(runner: Runner) -> None:
    desk = Desk(OwnState, asks_for(REFUND, LOOK_UP), "Done.")
    runner.run(desk.graph, {"conversation": [HumanMessage("please")]})
    nodes = steps(runner, desk.graph, YES)
    assert nodes[-2:] == ["report", "agent"]
    assert nodes.count("agent") == 1


@pytest.mark.parametrize("calls", [[REFUND], [REFUND, LOOK_UP]])
def test_the_model_goes_on_once_however_many_calls_ran(runner: Runner, calls: list[Any]) -> None:
    desk = Desk(OwnState, asks_for(*calls), "Done.", says="proceed")
    state = runner.run(desk.graph, {"conversation": [HumanMessage("please")]})
    assert state["conversation"][-1].content == "Done."
    assert len(desk.shop.ran) == len(calls)
    assert len(desk.model.shown) == 2


def test_a_tool_that_answers_its_siblings_too_lets_the_model_go_on_once(runner: Runner) -> None:
    @tool
    def wrap_up(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Answer every call of the turn."""
        tool_message = [
            ToolMessage("wrapped up", tool_call_id=item) for item in (tool_call_id, "call-2")
        ]
        return Command(update={"messages": tool_message})

    shop = Shop()
    model = ScriptedModel(script=[asks_for(call("wrap_up"), LOOK_UP), "Done."])
    guard = BighubGuard(bighub=ScriptedBighub())
    graph = create_guarded_agent(model, [wrap_up, *shop.tools()], guard, checkpointer=False)
    state = runner.run(graph, {"messages": [HumanMessage("please")]})
    assert [message.text for message in state["messages"] if isinstance(message, AIMessage)] == [
        "",
        "Done.",
    ]
    assert len(model.shown) == 2


def test_a_run_begins_at_the_entry(runner: Runner) -> None:
    desk = Desk(OwnState, asks_for(REFUND), "Fine.", "Fine.")
    runner.run(desk.graph, {"conversation": [HumanMessage("please")]})
    assert steps(runner, desk.graph, {"conversation": [HumanMessage("wait")]}) == [
        "close_stale_calls",
        "agent",
    ]
    assert steps(runner, desk.graph, {"conversation": [HumanMessage("well")]}) == [
        "close_stale_calls",
        "agent",
    ]


@pytest.mark.parametrize("beside", [[], [LOOK_UP], [REFUND]], ids=["alone", "ran", "waits"])
def test_a_tool_that_goes_to_the_model_lets_it_go_on_once(
    runner: Runner, beside: list[Any]
) -> None:
    @tool
    def think(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Go to the model."""
        return Command(
            update={"conversation": [ToolMessage("hm", tool_call_id=tool_call_id)]}, goto=["agent"]
        )

    shop, guard = Shop(), BighubGuard(bighub=ScriptedBighub({**REVIEW, "think": "proceed"}))
    tools = [think, *shop.tools()]
    model = ScriptedModel(script=[asks_for(call("think", "call-0"), *beside), "Done."])
    builder = StateGraph(OwnState)
    builder.add_node("agent", model_node(model, tools, messages_key="conversation"))
    builder.add_edge(START, "agent")
    add_guard(builder, tools, guard, after="agent", then="agent", messages_key="conversation")
    graph: Any = builder.compile(checkpointer=InMemorySaver())
    state = runner.run(graph, {"conversation": [HumanMessage("please")]})
    if beside == [REFUND]:
        assert len(model.shown) == 1
        state = runner.run(graph, YES)
    assert [message.type for message in state["conversation"]] == [
        "human",
        "ai",
        "tool",
        *["tool"] * len(beside),
        "ai",
    ]
    assert len(model.shown) == 2


def test_a_graph_whose_turn_was_not_planned_has_nothing_to_run(runner: Runner) -> None:
    desk = Desk(OwnState, asks_for(REFUND), "Done.")
    thread: Any = {"configurable": {"thread_id": "t"}}
    desk.graph.update_state(thread, {"conversation": [HumanMessage("please")]}, as_node="evaluate")
    assert steps(runner, desk.graph, None) == ["report"]


def test_an_answer_that_is_written_in_the_tools_place_leads_on_to_the_model(
    runner: Runner,
) -> None:
    desk = Desk(OwnState, asks_for(REFUND, LOOK_UP), "Done.")
    runner.run(desk.graph, {"conversation": [HumanMessage("please")]})
    thread = {"configurable": {"thread_id": "t"}}
    for number in (1, 2):
        tool_message = ToolMessage("done by hand", tool_call_id=f"call-{number}")
        desk.graph.update_state(thread, {"conversation": [tool_message]}, as_node="tools")
    assert steps(runner, desk.graph, None) == ["report", "agent"]
    assert desk.shop.ran == [("look_up", "o1")]


def test_an_unfit_graph_is_refused_with_the_remedy() -> None:
    guard = BighubGuard(bighub=ScriptedBighub())
    plain: Any = StateGraph(TypedDict("Plain", {"messages": list}))  # type: ignore[operator]
    plain.add_node("model", lambda _: {})
    with pytest.raises(ValueError, match="needs a reducer"):
        add_guard(plain, [], guard)
    with pytest.raises(ValueError, match="no node 'agent'"):
        add_guard(plain, [], guard, after="agent")
    other = ToolNode([], messages_key="conversation")
    with pytest.raises(ValueError, match="keeps its messages in 'conversation'"):
        tools_node(guard, other, messages_key="messages")
    good = StateGraph(MessagesState)
    good.add_node("model", lambda _: {})
    good.add_node("tools", lambda _: {})
    with pytest.raises(ValueError, match="already has nodes named tools"):
        add_guard(good, [], guard)


def test_the_nodes_work_one_by_one_with_edges_of_ones_own(runner: Runner) -> None:
    shop, bighub = Shop(), ScriptedBighub(REVIEW)
    guard = BighubGuard(bighub=bighub)
    model = ScriptedModel(script=[asks_for(REFUND, LOOK_UP), "Done."])

    def leave(state: MessagesState) -> Literal["evaluate", "__end__"]:
        last = state["messages"][-1]
        return "evaluate" if isinstance(last, AIMessage) and last.tool_calls else "__end__"

    builder = StateGraph(MessagesState)
    builder.add_node("model", model_node(model, shop.tools()))
    builder.add_node("evaluate", evaluate_node(guard))
    builder.add_node("approve", approval_node(guard))
    builder.add_node("tools", tools_node(guard, shop.tools()))
    builder.add_node("report", outcome_node(guard))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", leave)
    builder.add_conditional_edges(
        "evaluate", route_by_recommendation, ["tools", "approve", "report"]
    )
    builder.add_edge("tools", "report")
    graph = builder.compile(checkpointer=InMemorySaver())
    runner.run(graph, {"messages": [HumanMessage("please")]})
    runner.run(graph, YES)
    assert sorted(shop.ran) == [("look_up", "o1"), ("refund", 40)]
    assert len(model.shown) == 2


def test_a_guarded_agent_is_a_subgraph_like_any_other(runner: Runner) -> None:
    shop, model = Shop(), ScriptedModel(script=[asks_for(REFUND), "Done."])
    guard = BighubGuard(bighub=ScriptedBighub(REVIEW))
    agent = create_guarded_agent(model, shop.tools(), guard, name="desk")
    builder = StateGraph(MessagesState)
    builder.add_node("desk", agent)
    builder.add_edge(START, "desk")
    graph = builder.compile(checkpointer=InMemorySaver())
    assert "__interrupt__" in runner.run(graph, {"messages": [HumanMessage("please")]})
    assert shop.ran == []
    state = runner.run(graph, YES)
    assert shop.ran == [("refund", 40)]
    assert state["messages"][-1].text == "Done."


def hand_over(name: str) -> Any:
    @tool(f"hand_over_to_{name}")
    def give(
        state: Annotated[dict[str, Any], InjectedState],
        tool_call_id: Annotated[str, InjectedToolCallId],
    ) -> Command[Any]:
        """Hand the conversation over."""
        tool_message = ToolMessage(f"handed over to {name}", tool_call_id=tool_call_id)
        return Command(
            goto=name, graph=Command.PARENT, update={"messages": [*state["messages"], tool_message]}
        )

    return give


class Swarm:
    """Two guarded agents that hand over to each other."""

    def __init__(self, first: Any, second: Any, says: Any) -> None:
        self.shop = Shop()
        self.bighub = ScriptedBighub(says)
        self.guard = BighubGuard(
            bighub=self.bighub, tools={"hand_over_to_second": ToolPolicy(read_only=True)}
        )
        self.models = [ScriptedModel(script=first), ScriptedModel(script=second)]
        builder = StateGraph(MessagesState)
        for name, model, other in (
            ("first", self.models[0], "second"),
            ("second", self.models[1], "first"),
        ):
            tools = [*self.shop.tools(), hand_over(other)]
            builder.add_node(name, create_guarded_agent(model, tools, self.guard, name=name))
        builder.add_edge(START, "first")
        self.graph: Any = builder.compile(checkpointer=InMemorySaver())


def test_a_tool_that_hands_over_leaves_no_call_without_an_answer(runner: Runner) -> None:
    turn = asks_for(call("hand_over_to_second", "call-0"), REFUND, LOOK_UP)
    swarm = Swarm([turn], ["Here."], REVIEW)
    state = runner.run(swarm.graph, {"messages": [HumanMessage("please")]})
    tool_message = {
        message.tool_call_id: message.text
        for message in state["messages"]
        if isinstance(message, ToolMessage)
    }
    assert tool_message["call-0"] == "handed over to second"
    assert "handed over before it ran" in tool_message["call-1"]
    assert set(tool_message) == {"call-0", "call-1", "call-2"}
    assert state["messages"][-1].text == "Here."
    swarm.guard.flush()
    assert "BLOCKED" in swarm.bighub.statuses
    assert ("refund", 40) not in swarm.shop.ran


def test_each_agent_of_a_swarm_asks_for_itself(runner: Runner) -> None:
    swarm = Swarm(
        [asks_for(call("hand_over_to_second", "call-0"))], [asks_for(REFUND), "Done."], REVIEW
    )
    assert "__interrupt__" in runner.run(swarm.graph, {"messages": [HumanMessage("please")]})
    state = runner.run(swarm.graph, YES)
    assert swarm.shop.ran == [("refund", 40)]
    assert state["messages"][-1].text == "Done."


def test_two_agents_at_once_wait_for_their_own_answers(runner: Runner) -> None:
    shop = Shop()
    guard = BighubGuard(bighub=ScriptedBighub(REVIEW))
    builder = StateGraph(MessagesState)
    for name, amount in (("left", 1), ("right", 2)):
        script = [asks_for(call("refund", f"call-{name}", order_id=name, amount=amount)), "Done."]
        agent = create_guarded_agent(ScriptedModel(script=script), shop.tools(), guard, name=name)
        builder.add_node(name, agent)
        builder.add_edge(name, END)
    both = lambda state: [Send("left", state), Send("right", state)]  # noqa: E731
    builder.add_conditional_edges(START, both, ["left", "right"])
    graph = builder.compile(checkpointer=InMemorySaver())
    state = runner.run(graph, {"messages": [HumanMessage("please")]})
    answers = {
        interrupt.id: {
            "type": "approve" if "left" in str(interrupt.value["action_requests"]) else "reject"
        }
        for interrupt in state["__interrupt__"]
    }
    assert len(answers) == 2
    runner.run(graph, Command(resume=answers))
    assert shop.ran == [("refund", 1)]
