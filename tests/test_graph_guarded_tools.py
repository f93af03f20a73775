"""`guard.wrap_tools`: tools carry the guard with them, whoever executes them."""

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from bighub_langgraph import (
    BighubGuard,
    BighubMiddleware,
    ToolPolicy,
    add_guard,
    create_guarded_agent,
    model_node,
)
from tests.agents import (
    PLEASE,
    REFUND,
    SECOND,
    YES,
    Runner,
    ScriptedModel,
    Shop,
    answers,
    asks_for,
    call,
)
from tests.engines import ScriptedBighub

THREAD: Any = {"configurable": {"thread_id": "t"}}


class Desk:
    """A guard, and a shop's tools that carry it."""

    def __init__(self, says: Any = "proceed", **options: Any) -> None:
        self.bighub = ScriptedBighub(says)
        self.guard = BighubGuard(bighub=self.bighub, **options)
        self.shop = Shop()
        self.tools: list[BaseTool] = self.guard.wrap_tools(self.shop.tools())
        self.refund = self.tools[0]

    def agent(self, *script: Any, **options: Any) -> Any:
        model = ScriptedModel(script=[*script, "Done."])
        return create_agent(model, self.tools, checkpointer=InMemorySaver(), **options)


def approve_all(state: dict[str, Any]) -> Command[Any]:
    return Command(resume={question.id: YES for question in state["__interrupt__"]})


@pytest.mark.parametrize(
    ("says", "ran", "statuses"),
    [
        ("proceed", [40, 50], ["SUCCESS"] * 2),
        ("review_recommended", [40, 50], ["SUCCESS"] * 2),
        ("do_not_proceed", [], ["BLOCKED"] * 2),
    ],
)
def test_an_agent_without_middleware_is_guarded_by_its_tools(
    runner: Runner, says: str, ran: list[int], statuses: list[str]
) -> None:
    desk = Desk(says)
    agent = desk.agent(asks_for(REFUND, SECOND))
    state = runner.run(agent, PLEASE)
    if says == "review_recommended":
        assert desk.shop.ran == []
        state = runner.run(agent, approve_all(state))
    desk.guard.flush()
    assert sorted(amount for _, amount in desk.shop.ran) == ran
    assert (desk.bighub.statuses, len(desk.bighub.evaluations)) == (statuses, 2)
    assert state["messages"][-1].content == "Done."


def with_middleware(desk: Desk, model: ScriptedModel) -> Any:
    middleware = [BighubMiddleware(desk.guard)]
    return create_agent(model, desk.tools, middleware=middleware, checkpointer=InMemorySaver())


def ready(desk: Desk, model: ScriptedModel) -> Any:
    return create_guarded_agent(model, desk.tools, desk.guard, checkpointer=InMemorySaver())


def embed_guard(desk: Desk, model: ScriptedModel) -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("model", model_node(model, desk.tools))
    builder.add_edge(START, "model")
    add_guard(builder, desk.tools, desk.guard)
    return builder.compile(checkpointer=InMemorySaver())


def with_wrapper(desk: Desk, model: ScriptedModel) -> Any:
    node = ToolNode(
        desk.tools,
        wrap_tool_call=desk.guard.wrap_tool_call,
        awrap_tool_call=desk.guard.awrap_tool_call,
    )
    builder = StateGraph(MessagesState)
    builder.add_node("model", model_node(model, desk.tools))
    builder.add_node("tools", node)
    builder.add_edge(START, "model")
    builder.add_edge("model", "tools")
    return builder.compile(checkpointer=InMemorySaver())


@pytest.mark.parametrize("says", ["proceed", "review_recommended"])
@pytest.mark.parametrize("outer", [with_middleware, ready, embed_guard, with_wrapper])
def test_under_another_guard_a_call_is_evaluated_once(
    runner: Runner, outer: Callable[..., Any], says: str
) -> None:
    desk = Desk(says)
    graph = outer(desk, ScriptedModel(script=[asks_for(REFUND), "Done."]))
    state = runner.run(graph, PLEASE)
    if says == "review_recommended":
        runner.run(graph, approve_all(state))
    desk.guard.flush()
    assert desk.shop.ran == [("refund", 40)]
    assert (len(desk.bighub.evaluations), desk.bighub.statuses) == (1, ["SUCCESS"])


@pytest.mark.parametrize("is_wrapped", [True, False], ids=["wrapped", "plain"])
def test_a_call_that_a_tool_makes_is_evaluated_by_itself(runner: Runner, is_wrapped: bool) -> None:
    desk = Desk()

    @tool("refund")
    def refund_twice(order_id: str, amount: float) -> str:
        """Pay money back, by another tool of the same name."""
        desk.refund.invoke({"order_id": order_id, "amount": amount})
        return str(desk.refund.invoke({**REFUND, "id": "call-1"}).content)

    tools = desk.guard.wrap_tools([refund_twice]) if is_wrapped else [refund_twice]
    model = ScriptedModel(script=[asks_for(REFUND), "Done."])
    state = runner.run(create_agent(model, tools, checkpointer=InMemorySaver()), PLEASE)
    assert answers(state)["call-1"] == "refunded 40.0 for o1"
    assert len(desk.bighub.evaluations) == (3 if is_wrapped else 2)


class Retries(AgentMiddleware[Any, Any, Any]):
    """Starts a tool a second time, behind the guard."""

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        handler(request)
        return handler(request)


def test_a_claim_is_handed_over_for_one_start() -> None:
    desk = Desk()
    model = ScriptedModel(script=[asks_for(REFUND), "Done."])
    middleware = [BighubMiddleware(desk.guard), Retries()]
    graph: Any = create_agent(model, desk.tools, middleware=middleware)
    graph.invoke(PLEASE)
    assert len(desk.bighub.evaluations) == len(desk.shop.ran) == 2


def test_an_old_checkpoint_and_a_fork_get_the_stored_result(runner: Runner) -> None:
    desk = Desk()
    agent = desk.agent(asks_for(REFUND), "Done.", "Done.")
    runner.run(agent, PLEASE)
    [pending_state] = [item for item in agent.get_state_history(THREAD) if item.next == ("tools",)]
    agent.invoke(None, pending_state.config)
    agent.invoke(None, agent.update_state(pending_state.config, {"messages": []}, as_node="model"))
    assert desk.shop.ran == [("refund", 40)]


def test_several_calls_in_one_task_are_not_asked_about(runner: Runner) -> None:
    desk = Desk("review_recommended")
    builder = StateGraph(MessagesState)
    builder.add_node("tools", ToolNode(desk.tools))
    builder.add_edge(START, "tools")
    graph = builder.compile(checkpointer=InMemorySaver())
    state = runner.run(graph, {"messages": [asks_for(REFUND, SECOND)]})
    assert desk.shop.ran == []
    assert "here nobody can be asked" in answers(state)["call-1"]


def test_nobody_is_asked_about_arguments_that_do_not_fit(runner: Runner) -> None:
    desk = Desk("review_recommended")
    agent = desk.agent(asks_for(call("refund", order_id="o1", amount="many")))
    state = runner.run(agent, PLEASE)
    assert "__interrupt__" not in state
    assert "its arguments do not fit" in answers(state)["call-1"]


def test_a_person_edits_a_call_where_it_runs(runner: Runner) -> None:
    desk = Desk("review_recommended")
    agent = desk.agent(asks_for(REFUND))
    [question] = runner.run(agent, PLEASE)["__interrupt__"]
    action = {"name": "refund", "args": {"order_id": "o1", "amount": 5}}
    edit = {"type": "edit", "edited_action": action}
    state = runner.run(agent, Command(resume={question.id: edit}))
    assert desk.shop.ran == [("refund", 5)]
    assert "What ran: refund(order_id='o1', amount=5)" in answers(state)["call-1"]


def test_an_agent_as_a_tool_asks_through_the_agent_around_it(runner: Runner) -> None:
    desk = Desk("review_recommended")
    model = ScriptedModel(script=[asks_for(REFUND), "Refunded."])
    inner: Any = create_agent(model, desk.tools)

    @tool
    def clerk(message: str) -> str:
        """Hand a message to the clerk."""
        return str(inner.invoke({"messages": [("user", message)]})["messages"][-1].content)

    outer = ScriptedModel(script=[asks_for(call("clerk", message="refund o1")), "Done."])
    graph = create_agent(outer, [clerk], checkpointer=InMemorySaver())
    state = runner.run(graph, PLEASE)
    assert state["__interrupt__"][0].value["action_requests"][0]["name"] == "refund"
    # The model of the inner agent goes on where its own checkpoint stands.
    runner.run(graph, approve_all(state))
    assert desk.shop.ran == [("refund", 40)]


@pytest.mark.parametrize("says", ["proceed", "review_recommended"])
def test_in_the_functional_api_a_call_runs_once_and_is_never_interrupted(says: str) -> None:
    desk = Desk(says)

    @task
    def act(tool_call: dict[str, Any]) -> ToolMessage:
        message: ToolMessage = desk.refund.invoke(tool_call)
        return message

    @entrypoint(checkpointer=InMemorySaver())
    def program(_: int) -> list[str]:
        first = act(REFUND).result()
        amounts = [desk.refund.invoke({"order_id": "o2", "amount": 7}) for _ in range(2)]
        interrupt("all right?")
        return [first.text, *amounts]

    program.invoke(1, THREAD)
    texts = program.invoke(Command(resume="yes"), THREAD)
    if says == "proceed":
        assert texts == ["refunded 40.0 for o1", *["refunded 7.0 for o2"] * 2]
        assert [amount for _, amount in desk.shop.ran] == [40, 7, 7]
    else:
        assert desk.shop.ran == []
        assert all("here nobody can be asked" in text for text in texts)


def test_outside_of_a_graph_each_call_is_a_new_one() -> None:
    desk = Desk()
    arguments = {"order_id": "o1", "amount": 3}
    calls: list[Callable[[], Any]] = [
        lambda: desk.refund.invoke(arguments),
        lambda: desk.refund.run(arguments),
        lambda: desk.refund.func(**arguments),  # type: ignore[attr-defined]
        lambda: asyncio.run(desk.refund.ainvoke(arguments)),
        lambda: asyncio.run(desk.refund.arun(arguments)),
        lambda: desk.refund.invoke(REFUND).content.replace("40.0", "3.0"),
    ]
    assert {item() for item in calls} == {"refunded 3.0 for o1"}
    assert len(desk.shop.ran) == len(desk.bighub.evaluations) == len(calls)
    desk.bighub.response = "do_not_proceed"
    assert all("was not run" in item() for item in calls)
    assert "was not run" in inspect.unwrap(desk.refund.func)(**arguments)  # type: ignore[attr-defined]
    assert len(desk.shop.ran) == len(calls)


def test_a_value_that_is_no_text_is_returned_as_it_is_and_errors_are_raised() -> None:
    @tool
    def total(prices: list[float]) -> dict[str, float]:
        """Add prices up."""
        return {"total": sum(prices)}

    guard = BighubGuard(bighub=ScriptedBighub())
    [guarded_tool] = guard.wrap_tools([total])
    assert guarded_tool.invoke({"prices": [1, 2]}) == {"total": 3}
    desk = Desk()
    with pytest.raises(RuntimeError, match="no c1 here"):
        desk.tools[2].invoke({"customer": "c1"})


def test_a_read_only_tool_is_not_evaluated_and_what_is_wrapped_stays_as_it_is() -> None:
    desk = Desk("do_not_proceed", tools={"look_up": ToolPolicy(read_only=True)})
    assert desk.tools[1].invoke({"order_id": "o1"}) == "o1: 3 chairs"
    assert desk.bighub.evaluations == []
    assert desk.guard.wrap_tools(desk.tools) == desk.tools
    plain = desk.shop.tools()[0]
    assert convert_to_openai_tool(desk.refund) == convert_to_openai_tool(plain)
    with pytest.raises(ValueError, match="takes functions and tools"):
        desk.guard.wrap_tools([{"type": "web_search"}])
