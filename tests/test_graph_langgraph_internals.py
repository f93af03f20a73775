"""What the guard needs of LangGraph's private shapes is there; where it is not, nothing runs.

Each test of the first part says what `graph/langgraph_internals.py` relies on. One that fails on a
new release names the function to mend there. The second part shows what a user meets on a release
that has another shape.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Annotated, Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tools import BaseTool, tool
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_config
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph, add_messages
from langgraph.prebuilt import ToolNode
from langgraph.runtime import get_runtime
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict

from bighub_langgraph import (
    BighubGuard,
    add_guard,
    evaluate_node,
    model_node,
    route_by_recommendation,
    tools_node,
)
from bighub_langgraph.concurrency import run_sync
from bighub_langgraph.graph import builder as graph_builder
from bighub_langgraph.graph import langgraph_internals as internals
from tests.agents import REFUND, ScriptedModel, Shop, answers, asks_for, call
from tests.engines import ScriptedBighub

INPUT = {"messages": [HumanMessage("please"), asks_for(REFUND)]}
THREAD: RunnableConfig = {"configurable": {"thread_id": "t"}}


class Seen(TypedDict, total=False):
    seen: Any


def one_node(node: Any, schema: Any = Seen, **options: Any) -> Any:
    """A graph of one node."""
    builder = StateGraph(schema)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    return builder.compile(**options)


def seen_in_task(look: Callable[[RunnableConfig], Any], **options: Any) -> Any:
    """What a function of the task's configuration gives inside of a graph."""

    def node(_: Any) -> dict[str, Any]:
        return {"seen": look(get_config())}

    graph = one_node(node, checkpointer=options.pop("checkpointer", None))
    return graph.invoke({"seen": 0}, THREAD, **options)["seen"]


# -- what is relied on -----------------------------------------------------------------------------


def test_a_task_shows_the_checkpointer_of_its_run() -> None:
    saver = InMemorySaver()
    results: list[Any] = []
    seen_in_task(
        lambda config: results.append(internals.checkpointer_of(config)), checkpointer=saver
    )
    assert results == [saver]


def test_without_a_checkpointer_there_is_none_whatever_the_thread_id_says() -> None:
    assert seen_in_task(lambda config: internals.checkpointer_of(config) is None)
    assert seen_in_task(lambda config: config["configurable"]["thread_id"]) == "t"


@pytest.mark.parametrize("own", [None, True])
def test_a_subgraph_shows_the_checkpointer_of_the_graph_around_it(own: bool | None) -> None:
    saver, results = InMemorySaver(), list[Any]()

    def node(_: Any) -> None:
        results.append(internals.checkpointer_of(get_config()))

    builder = StateGraph(Seen)
    builder.add_node("inner", one_node(node, checkpointer=own))
    builder.add_edge(START, "inner")
    builder.compile(checkpointer=saver).invoke({"seen": 0}, THREAD)
    assert results == [saver]


def test_a_task_shows_its_runtime_with_its_context_and_without() -> None:
    def look(config: RunnableConfig) -> bool:
        with ThreadPoolExecutor(1) as elsewhere:  # which has none of the task's context variables
            runtime = elsewhere.submit(internals.runtime_of, config).result()
        return bool(runtime.execution_info == get_runtime().execution_info)

    assert seen_in_task(look)
    assert seen_in_task(lambda _: internals.runtime_of({}) is get_runtime())
    assert internals.execution_info({}) is None


def stored_checkpoint(saver: InMemorySaver) -> bool:
    """Whether the checkpoint that the task runs from is found."""
    task = internals.stored_task(get_config())
    assert task is not None
    return saver.get_tuple(task.place) is not None


def test_a_task_shows_the_checkpoint_that_it_runs_from() -> None:
    saver, results = InMemorySaver(), list[bool]()

    def node(_: Any) -> None:
        results.append(stored_checkpoint(saver))

    builder: Any = StateGraph(Seen)
    builder.add_node("outer", node)
    builder.add_node("inner", one_node(node))
    builder.add_edge(START, "outer")
    builder.add_edge("outer", "inner")
    builder.compile(checkpointer=saver).invoke({"seen": 0}, THREAD, durability="sync")
    assert results == [True, True]


@pytest.mark.parametrize(("persistent", "ends"), [(None, True), (True, False)])
def test_a_task_of_a_subgraph_shows_the_root_checkpoint_that_it_ends_with(
    persistent: bool | None, ends: bool
) -> None:
    saver, roots = InMemorySaver(), list[str | None]()

    def node(_: Any) -> None:
        task = internals.stored_task(get_config())
        assert task is not None
        roots.append(task.root_checkpoint)

    builder: Any = StateGraph(Seen)
    builder.add_node("outer", node)
    builder.add_node("inner", one_node(node, checkpointer=persistent))
    builder.add_edge(START, "outer")
    builder.add_edge("outer", "inner")
    graph = builder.compile(checkpointer=saver)
    graph.invoke({"seen": 0}, THREAD)
    last = graph.get_state(THREAD)
    assert roots == [None, last.parent_config["configurable"]["checkpoint_id"] if ends else None]


def test_a_task_of_the_functional_api_shows_the_checkpoint_that_it_runs_from() -> None:
    saver = InMemorySaver()

    @task
    def step() -> bool:
        return stored_checkpoint(saver)

    @entrypoint(checkpointer=saver)
    def program(_: int) -> list[bool]:
        return [stored_checkpoint(saver), step().result()]

    assert program.invoke(1, THREAD, durability="sync") == [True, True]


def test_a_run_of_any_kind_can_be_read() -> None:
    assert seen_in_task(internals.unreadable_run) is None
    assert seen_in_task(internals.unreadable_run, checkpointer=InMemorySaver()) is None
    assert seen_in_task(internals.unreadable_interrupts, checkpointer=InMemorySaver()) is None
    assert internals.unreadable_run({}) is None


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_a_task_shows_whether_its_run_stores_anything_before_its_end(durability: str) -> None:
    def look(config: RunnableConfig) -> bool:
        task = internals.stored_task(config)
        return task is not None and task.is_stored

    is_stored = seen_in_task(look, checkpointer=InMemorySaver(), durability=durability)
    assert is_stored is (durability != "exit")


def test_a_task_shows_that_it_was_resumed_and_that_it_has_asked() -> None:
    values: list[Any] = []

    def node(_: Any) -> None:
        config = get_config()
        values.append((internals.was_resumed(config), internals.may_have_interrupted(config)))
        interrupt("sure?")
        values.append(internals.may_have_interrupted(config))

    graph = one_node(node, checkpointer=InMemorySaver())
    graph.invoke({"seen": 0}, THREAD)
    graph.invoke(Command(resume="yes"), THREAD)
    assert values == [(False, False), (True, False), True]


def test_a_task_shows_its_stored_questions_and_may_leave_an_answer_unread() -> None:
    saver, values = InMemorySaver(), list[Any]()

    async def get_checkpoint(_: Any, config: RunnableConfig) -> Any:
        return saver.get_tuple(config)

    def node(_: Any) -> None:
        config = get_config()
        questions = run_sync(internals.stored_questions(config, get_checkpoint))
        values.append([item.value for item in questions.interrupts])
        is_second = values[-1] == ["second"]
        if internals.was_resumed(config):
            values.append(internals.is_addressed(config, questions))
        answers = questions.answers
        values.append(internals.ask("second", config, None, answers, read=is_second))

    graph = one_node(node, checkpointer=saver)
    graph.invoke({"seen": 0}, THREAD)
    graph.update_state(THREAD, {"seen": 1}, as_node="__start__")  # a new task, which asked nothing
    [question] = graph.invoke(Command(resume="early"), THREAD)["__interrupt__"]
    graph.invoke(Command(resume={question.id: "yes"}), THREAD)
    assert values == [[], [], False, ["second"], True, "yes"]


def test_a_task_shows_whether_it_was_sent() -> None:
    values: list[bool] = []

    def node(_: Seen) -> dict[str, Any]:
        values.append(internals.is_sent(get_config()))
        return {}

    builder: Any = StateGraph(Seen)
    builder.add_node("node", node)
    builder.add_conditional_edges(START, lambda _: [Send("node", {}), "node"], ["node"])
    builder.compile().invoke({"seen": 0})
    assert sorted(values) == [False, True]


def test_a_tool_node_shows_its_messages_key_and_its_wrappers() -> None:
    def wrap(request: Any, handler: Any) -> Any:
        return handler(request)

    assert internals.messages_key_of(ToolNode([], messages_key="talk")) == "talk"
    assert not internals.may_have_wrapper(ToolNode([]))
    assert internals.may_have_wrapper(ToolNode([], wrap_tool_call=wrap))
    assert internals.may_have_wrapper(ToolNode([], awrap_tool_call=wrap))


def test_a_tool_node_runs_one_call_with_a_given_state() -> None:
    value = internals.with_state(REFUND, INPUT)
    assert internals.has_state(value)
    assert not internals.has_state(INPUT)
    shop = Shop()

    def node(_: Any) -> Any:
        return ToolNode(shop.tools()).invoke(value)

    state = one_node(node, MessagesState).invoke({"messages": []})
    assert answers(state) == {"call-1": "refunded 40.0 for o1"}


def test_a_sent_task_shows_the_state_around_it_as_a_tool_node_does() -> None:
    states: list[Any] = []

    def wrap(request: Any, _: Any) -> ToolMessage:
        states.append(request.state)
        return ToolMessage("", tool_call_id="call-1")

    def node(calls: Any, config: RunnableConfig) -> dict[str, Any]:
        ToolNode([], wrap_tool_call=wrap).invoke(calls, config)
        # Older releases do not show it; then the ToolNode is asked, as here.
        states.append(internals.surrounding_state(config) or states[0])
        return {}

    builder: Any = StateGraph(MessagesState)
    builder.add_node("start", lambda _: {})
    builder.add_node("node", node)
    builder.add_edge(START, "start")
    calls = Send("node", [call("look_up", order_id="o")])
    builder.add_conditional_edges("start", lambda _: [calls], ["node"])
    builder.compile().invoke({"messages": [HumanMessage("please")]})
    assert states[0] == states[1]
    assert states[0]["messages"][0].text == "please"


def test_a_tool_shows_whether_it_has_a_coroutine_of_its_own() -> None:
    @tool
    def blocks() -> str:
        """Block."""
        return ""

    @tool
    async def waits() -> str:
        """Wait."""
        return ""

    class Blocks(BaseTool):
        name: str = "blocks"
        description: str = ""

        def _run(self) -> str:
            return ""

    class Waits(Blocks):
        async def _arun(self) -> str:
            return ""

    results = [internals.only_blocks(item) for item in (blocks, waits, Blocks(), Waits(), None)]
    assert results == [True, False, True, False, False]

    class Own(Blocks):
        async def ainvoke(self, *value: Any, **options: Any) -> Any:
            return await super().ainvoke(*value, **options)

    assert not internals.only_blocks(Own())


def test_a_builder_shows_its_nodes_and_reducers() -> None:
    class State(TypedDict):
        added: Annotated[list[AnyMessage], add_messages]
        delta: Annotated[list[str], DeltaChannel(lambda kept, new: [*kept, *new])]
        plain: list[str]

    builder = StateGraph(State)
    builder.add_node("node", lambda _: {})
    assert graph_builder.has_node(builder, "node")
    assert not graph_builder.has_node(builder, "other")
    assert graph_builder.has_reducer(builder, "added")
    assert graph_builder.has_reducer(builder, "delta")
    assert not graph_builder.has_reducer(builder, "plain")
    assert not graph_builder.has_reducer(builder, "missing")


def test_every_kind_of_edge_can_be_led_elsewhere() -> None:
    builder = StateGraph(Seen)
    for name in ("a", "b", "c", "old", "new"):
        builder.add_node(name, lambda _: {})
    builder.add_edge(START, "a")
    builder.add_edge("a", "old")
    builder.add_edge(["b", "c"], "old")
    builder.add_conditional_edges("a", lambda _: ["there", "b"], {"there": "old", "b": "b"})
    builder.add_conditional_edges(START, lambda _: "c", ["c", "old"])
    graph_builder.redirect_edges(builder, "old", "new")
    builder.add_edge("new", END)
    edges = {(edge.source, edge.target) for edge in builder.compile().get_graph().edges}
    assert {start for start, end in edges if end == "new"} == {"a", "b", "c", START}
    assert {start for start, end in edges if end == "old"} == set()


# -- what a user meets where a shape is unknown ----------------------------------------------------


def hide_checkpointer(config: RunnableConfig) -> RunnableConfig:
    """A task's configuration as a release would give it that keeps its checkpointer elsewhere."""
    configurable = config["configurable"]
    return {
        **config,
        "configurable": {k: v for k, v in configurable.items() if k != "__pregel_checkpointer"},
    }


def names_the_releases(text: str) -> bool:
    return internals.installed_versions() in text and "langgraph 1." in text


@pytest.mark.parametrize("says", ["proceed", "review_recommended"])
def test_an_unknown_run_blocks_the_calls_of_a_tools_node(
    says: str, caplog: pytest.LogCaptureFixture
) -> None:
    shop, bighub = Shop(), ScriptedBighub(says)
    guarded_tools = tools_node(BighubGuard(bighub=bighub), shop.tools())

    def sync_node(state: MessagesState, config: RunnableConfig) -> Any:
        return guarded_tools.invoke(state, hide_checkpointer(config))

    async def async_node(state: MessagesState, config: RunnableConfig) -> Any:
        return await guarded_tools.ainvoke(state, hide_checkpointer(config))

    states = [
        one_node(sync_node, MessagesState, checkpointer=InMemorySaver()).invoke(INPUT, THREAD),
        asyncio.run(one_node(async_node, MessagesState).ainvoke(INPUT, THREAD)),
    ]
    for state in states:
        assert names_the_releases(answers(state)["call-1"])
    assert (shop.ran, bighub.evaluations) == ([], [])
    assert "Pass the node's own `config` on to the guard" in caplog.text


def test_an_unknown_run_blocks_the_calls_that_a_graph_would_evaluate() -> None:
    shop, bighub = Shop(), ScriptedBighub("review_recommended")
    evaluate = evaluate_node(BighubGuard(bighub=bighub), tools={})

    def node(state: MessagesState, config: RunnableConfig) -> Any:
        update = evaluate.invoke(state, hide_checkpointer(config))
        assert [tool_call["next"] for tool_call in update["bighub"]["calls"]] == ["done"]
        return {"messages": update["messages"]}

    graph = one_node(node, MessagesState, checkpointer=InMemorySaver())
    assert names_the_releases(answers(graph.invoke(INPUT, THREAD))["call-1"])
    assert (shop.ran, bighub.evaluations) == ([], [])


def test_an_unknown_run_blocks_a_call_that_was_evaluated_before() -> None:
    shop, bighub = Shop(), ScriptedBighub()
    guard = BighubGuard(bighub=bighub)
    guarded_tools = tools_node(guard, shop.tools())

    def tools(node_input: Any, config: RunnableConfig) -> Any:
        return guarded_tools.invoke(node_input, hide_checkpointer(config))

    builder: Any = StateGraph(MessagesState)
    builder.add_node("evaluate", evaluate_node(guard))
    builder.add_node("tools", tools)
    builder.add_edge(START, "evaluate")
    builder.add_conditional_edges("evaluate", route_by_recommendation, ["tools"])
    state = builder.compile(checkpointer=InMemorySaver()).invoke(INPUT, THREAD)
    guard.flush()
    assert names_the_releases(answers(state)["call-1"])
    assert (shop.ran, bighub.statuses) == ([], ["BLOCKED"])


def test_an_unknown_run_blocks_a_call_that_is_evaluated_again() -> None:
    bighub = ScriptedBighub()
    evaluate = evaluate_node(BighubGuard(bighub=bighub))
    again: Any = {"id": "call-1", "name": "refund", "args": {"amount": 4000}, "key": None}
    calls = [{**again, "next": "evaluate"}]
    plan = {"thread": "t", "turn": "m", "calls": calls, "is_part": True}
    plan |= {"per_call": False, "unclear": ""}

    def node(_: Any, config: RunnableConfig) -> Any:
        update = evaluate.invoke({"messages": [], "bighub": plan}, hide_checkpointer(config))
        assert [tool_call["next"] for tool_call in update["bighub"]["calls"]] == ["done"]
        return {"messages": update["messages"]}

    graph = one_node(node, MessagesState, checkpointer=InMemorySaver())
    assert names_the_releases(answers(graph.invoke(INPUT, THREAD))["call-1"])
    assert bighub.evaluations == []


@pytest.mark.parametrize("says", ["proceed", "review_recommended"])
def test_an_unknown_run_blocks_a_wrapped_call(says: str) -> None:
    shop, bighub = Shop(), ScriptedBighub(says)
    guard = BighubGuard(bighub=bighub)

    def wrap(request: Any, handler: Any) -> Any:
        runtime = replace(request.runtime, config=hide_checkpointer(request.runtime.config))
        return guard.wrap_tool_call(replace(request, runtime=runtime), handler)

    node = ToolNode(shop.tools(), wrap_tool_call=wrap)
    graph = one_node(node, MessagesState, checkpointer=InMemorySaver())
    assert names_the_releases(answers(graph.invoke(INPUT, THREAD))["call-1"])
    assert (shop.ran, bighub.evaluations) == ([], [])


def test_an_unknown_run_blocks_the_calls_of_an_agent() -> None:
    from langchain.agents import create_agent
    from langchain.agents.middleware import AgentMiddleware

    from bighub_langgraph import BighubMiddleware

    class Upgrade(AgentMiddleware[Any, Any, Any]):
        """Gives everything inside of it the configuration of another release."""

        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            def call_model() -> Any:
                var_child_runnable_config.set(hide_checkpointer(get_config()))
                return handler(request)

            return copy_context().run(call_model)

    shop, bighub = Shop(), ScriptedBighub("review_recommended")
    model = ScriptedModel(script=[asks_for(REFUND), "Done."])
    guard = BighubMiddleware(BighubGuard(bighub=bighub))
    graph: Any = create_agent(
        model, shop.tools(), middleware=[Upgrade(), guard], checkpointer=InMemorySaver()
    )
    state = graph.invoke({"messages": [HumanMessage("please")]}, THREAD)
    assert names_the_releases(answers(state)["call-1"])
    assert (shop.ran, bighub.evaluations) == ([], [])


class Scratchpad:
    """A scratchpad of another shape."""

    def __init__(self, configurable: Any, **other: Any) -> None:
        self.resume, self.get_null_resume = configurable.resume, configurable.get_null_resume
        self.interrupt_counter = configurable.interrupt_counter
        vars(self).update(other)


@pytest.mark.parametrize(
    "other",
    [{"resume": None}, {"get_null_resume": None}, {"interrupt_counter": iter}],
    ids=lambda value: next(iter(value)),
)
def test_nobody_is_asked_where_earlier_questions_cannot_be_seen(other: dict[str, Any]) -> None:
    shop, bighub = Shop(), ScriptedBighub("review_recommended")
    guard = BighubGuard(bighub=bighub)

    def wrap(request: Any, handler: Any) -> Any:
        config = request.runtime.config
        configurable = config["configurable"]
        scratchpad = Scratchpad(configurable["__pregel_scratchpad"], **other)
        new_config = {**config, "configurable": {**configurable, "__pregel_scratchpad": scratchpad}}
        runtime = replace(request.runtime, config=new_config)
        return guard.wrap_tool_call(replace(request, runtime=runtime), handler)

    node = ToolNode(shop.tools(), wrap_tool_call=wrap)
    graph = one_node(node, MessagesState, checkpointer=InMemorySaver())
    text = answers(graph.invoke(INPUT, THREAD))["call-1"]
    assert "a person has to approve it" in text
    assert names_the_releases(text)
    assert shop.ran == []


@pytest.mark.parametrize("part", ["nodes", "channels", "edges", "waiting_edges", "branches"])
def test_a_builder_of_another_shape_is_refused(part: str) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("model", model_node(ScriptedModel(script=["Hello."]), []))
    builder.add_edge(START, "model")
    delattr(builder, part)
    with pytest.raises(ValueError, match="add_guard cannot edit this graph") as error_info:
        add_guard(builder, [], BighubGuard(bighub=ScriptedBighub()))
    assert names_the_releases(str(error_info.value))
    assert repr(part) in str(error_info.value)


class OpaqueToolNode(ToolNode):
    """A ToolNode that shows nothing of itself."""

    def __getattribute__(self, name: str) -> Any:
        private = {"_messages_key", "_wrap_tool_call", "_awrap_tool_call"}
        if name in private and not object.__getattribute__(self, "__dict__").get("running"):
            raise AttributeError(name)
        return super().__getattribute__(name)

    def invoke(self, *value: Any, **options: Any) -> Any:
        self.__dict__["running"] = True
        try:
            return super().invoke(*value, **options)
        finally:
            self.__dict__["running"] = False


def test_a_tool_node_that_does_not_show_its_key_has_to_be_told() -> None:
    shop, guard = Shop(), BighubGuard(bighub=ScriptedBighub())
    with pytest.raises(ValueError, match="pass messages_key="):
        tools_node(guard, OpaqueToolNode(shop.tools()))
    guarded_tools = tools_node(guard, OpaqueToolNode(shop.tools()), messages_key="messages")
    graph = one_node(guarded_tools, MessagesState)
    assert answers(graph.invoke(INPUT)) == {"call-1": "refunded 40.0 for o1"}
    assert internals.may_have_wrapper(OpaqueToolNode([]))
