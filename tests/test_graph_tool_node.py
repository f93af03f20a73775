"""`tools_node` is a ToolNode: what LangGraph's own tests promise of one holds behind the guard."""

import asyncio
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph, add_messages
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, RetryPolicy, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from bighub_langgraph import (
    BighubGuard,
    ToolPolicy,
    evaluate_node,
    route_by_recommendation,
    tools_node,
)
from bighub_langgraph.core.lifecycle import Event
from bighub_langgraph.core.models import CallRecord
from bighub_langgraph.core.reporting import ReportingConfig
from bighub_langgraph.journal.memory_journal import MemoryJournal
from tests.agents import LOOK_UP, REFUND, Runner, Shop, asks_for, call
from tests.engines import ScriptedBighub


def guard(says: Any = "proceed", **options: Any) -> BighubGuard:
    return BighubGuard(bighub=ScriptedBighub(says), **options)


def graph(node: Any, schema: Any = MessagesState, **options: Any) -> Any:
    """A graph of this node alone."""
    builder = StateGraph(schema)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    return builder.compile(**options)


def state_with(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [HumanMessage("please"), asks_for(*calls)]}


def contents(state: dict[str, Any]) -> list[str]:
    return [message.text for message in state["messages"] if isinstance(message, ToolMessage)]


def test_all_calls_of_the_last_message_run(runner: Runner) -> None:
    shop = Shop()
    state = runner.run(graph(tools_node(guard(), shop.tools())), state_with(REFUND, LOOK_UP))
    assert contents(state) == ["refunded 40.0 for o1", "o1: 3 chairs"]


def test_calls_that_have_an_answer_do_not_run_again(runner: Runner) -> None:
    shop = Shop()
    call_input = state_with(REFUND, LOOK_UP)
    call_input["messages"].append(ToolMessage("no", tool_call_id="call-1"))
    runner.run(graph(tools_node(guard(), shop.tools())), call_input)
    assert shop.ran == [("look_up", "o1")]


def test_calls_can_be_sent_with_and_without_a_state(runner: Runner) -> None:
    shop = Shop()
    builder = StateGraph(MessagesState)
    builder.add_node("tools", tools_node(guard(), shop.tools()))

    def send(state: MessagesState) -> list[Send]:
        with_state = {"__type": "tool_call_with_context", "tool_call": LOOK_UP, "state": state}
        return [Send("tools", [REFUND]), Send("tools", with_state)]

    builder.add_conditional_edges(START, send, ["tools"])
    state = runner.run(builder.compile(), state_with(REFUND, LOOK_UP))
    assert sorted(contents(state)) == ["o1: 3 chairs", "refunded 40.0 for o1"]


def test_a_call_that_is_changed_behind_its_evaluation_is_evaluated_again(runner: Runner) -> None:
    shop, bighub = Shop(), guard({"refund": "proceed"})

    def send_more(state: Any) -> list[Send]:
        sends = route_by_recommendation(state)
        [send] = [send for send in sends if isinstance(send, Send)]
        [sent_call] = send.arg
        bighub.client.response = "do_not_proceed"
        return [Send("tools", [{**sent_call, "args": {**sent_call["args"], "amount": 4000}}])]

    builder = StateGraph(MessagesState)
    builder.add_node("evaluate", evaluate_node(bighub))
    builder.add_node("tools", tools_node(bighub, shop.tools()))
    builder.add_edge(START, "evaluate")
    builder.add_conditional_edges("evaluate", send_more, ["tools"])
    state = runner.run(builder.compile(), state_with(REFUND))
    assert [request["value"] for request in bighub.client.evaluations] == [40, 4000]
    assert shop.ran == []
    assert "Do not repeat this call" in contents(state)[0]


def test_a_list_of_messages_gives_a_list_of_messages(runner: Runner) -> None:
    class ListState(TypedDict):
        conversation: Annotated[list[AnyMessage], add_messages]

    shop = Shop()
    node = tools_node(guard(), shop.tools())

    def run(state: ListState) -> dict[str, Any]:
        return {"conversation": node.invoke(state["conversation"])}

    async def arun(state: ListState) -> dict[str, Any]:
        return {"conversation": await node.ainvoke(state["conversation"])}

    from langchain_core.runnables import RunnableLambda

    app = graph(RunnableLambda(run, arun), ListState)
    state = runner.run(app, {"conversation": [asks_for(REFUND)]})
    assert [message.text for message in state["conversation"][1:]] == ["refunded 40.0 for o1"]


def test_a_tool_node_brings_its_messages_key_and_its_name(runner: Runner) -> None:
    class Elsewhere(TypedDict):
        conversation: Annotated[list[AnyMessage], add_messages]

    shop = Shop()
    node = tools_node(guard(), ToolNode(shop.tools(), messages_key="conversation", name="shop"))
    assert node.name == "shop"
    state = runner.run(graph(node, Elsewhere), {"conversation": [asks_for(REFUND)]})
    assert state["conversation"][-1].text == "refunded 40.0 for o1"


def test_tools_get_state_store_runtime_and_their_call_id(runner: Runner) -> None:
    @tool
    def look(
        word: str,
        state: Annotated[Any, InjectedState],
        store: Annotated[BaseStore, InjectedStore],
        runtime: ToolRuntime[Any, Any],
        tool_call_id: Annotated[str, InjectedToolCallId],
    ) -> str:
        """Look around."""
        item = store.get(("shelf",), "book")
        assert item is not None
        assert runtime.tool_call_id == tool_call_id
        return f"{word} {len(state['messages'])} {item.value['title']} {tool_call_id}"

    store = InMemoryStore()
    store.put(("shelf",), "book", {"title": "Emma"})
    app = graph(tools_node(guard(), [look]), store=store)
    assert contents(runner.run(app, state_with(call("look", word="saw")))) == ["saw 2 Emma call-1"]


def test_tools_may_return_commands_and_lists(runner: Runner) -> None:
    class RankState(MessagesState):
        rank: int

    @tool
    def promote(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
        """Promote."""
        return Command(
            update={"rank": 3, "messages": [ToolMessage("up", tool_call_id=tool_call_id)]}
        )

    @tool
    def both(tool_call_id: Annotated[str, InjectedToolCallId]) -> list[Any]:
        """Return several things."""
        return [Command(update={"rank": 4}), ToolMessage("listed", tool_call_id=tool_call_id)]

    app = graph(tools_node(guard(), [promote, both]), RankState)
    state = runner.run(app, state_with(call("promote")))
    assert (state["rank"], contents(state)) == (3, ["up"])
    state = runner.run(app, state_with(call("both")), thread="other")
    assert (state["rank"], contents(state)) == (4, ["listed"])


def test_sends_of_several_tools_to_the_parent_all_arrive(runner: Runner) -> None:
    def give(name: str) -> Any:
        @tool(f"give_{name}")
        def to(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
            """Hand over."""
            answer = ToolMessage(name, tool_call_id=tool_call_id)
            return Command(graph=Command.PARENT, goto=[Send(name, {"messages": [answer]})])

        return to

    inner = graph(tools_node(guard(), [give("ada"), give("ben")]))
    outer = StateGraph(MessagesState)
    outer.add_node("inner", inner, destinations=("ada", "ben"))
    outer.add_node("ada", lambda state: state)
    outer.add_node("ben", lambda state: state)
    outer.add_edge(START, "inner")
    calls = state_with(call("give_ada", "call-1"), call("give_ben", "call-2"))
    state = runner.run(outer.compile(), calls)
    assert sorted(contents(state)) == ["ada", "ben"]


def test_artifacts_come_through_and_come_again(runner: Runner) -> None:
    @tool(response_format="content_and_artifact")
    def draw() -> tuple[str, dict[str, Any]]:
        """Draw."""
        return "a picture", {"size": [1, 2]}

    bighub = guard()
    app = graph(tools_node(bighub, [draw]))
    call_input = state_with(call("draw"))
    call_input["messages"][1].id = "one"
    for _ in range(2):
        message = runner.run(app, call_input)["messages"][-1]
        assert message.artifact == {"size": [1, 2]}
    assert message.additional_kwargs["bighub"] == {"replayed": True}


ERRORS = [
    (True, "RuntimeError('no c1 here"),
    ("Sorry about that.", "Sorry about that."),
    (lambda error: f"caught {type(error).__name__}", "caught RuntimeError"),
    ((RuntimeError,), "RuntimeError('no c1 here"),
]


@pytest.mark.parametrize(("handle", "expected"), ERRORS, ids=["true", "text", "function", "kinds"])
def test_errors_are_worded_as_the_user_set_the_tool_node(
    runner: Runner, handle: Any, expected: str
) -> None:
    bighub = guard()
    node = tools_node(bighub, ToolNode(Shop().tools(), handle_tool_errors=handle))
    state = runner.run(graph(node), state_with(call("delete_account", customer="c1")))
    assert expected in contents(state)[0]
    bighub.flush()
    assert bighub.client.statuses == ["FAILURE"]


@pytest.mark.parametrize("handle", [False, (ValueError,)], ids=repr)
def test_errors_that_are_not_handled_are_raised_and_recorded(runner: Runner, handle: Any) -> None:
    bighub = guard()
    node = tools_node(bighub, ToolNode(Shop().tools(), handle_tool_errors=handle))
    with pytest.raises(RuntimeError, match="no c1 here"):
        runner.run(graph(node), state_with(call("delete_account", customer="c1")))
    bighub.flush()
    assert bighub.client.statuses == ["FAILURE"]


def test_unknown_tools_get_langgraphs_answer(runner: Runner) -> None:
    bighub = guard()
    state = runner.run(graph(tools_node(bighub, Shop().tools())), state_with(call("fly")))
    assert "fly is not a valid tool" in contents(state)[0]
    assert bighub.client.evaluations == []


def test_own_wrappers_run_inside_the_guard_and_may_bring_tools(runner: Runner) -> None:
    def wrap(request: Any, handler: Any) -> Any:
        if request.tool is None:
            return ToolMessage("made up", tool_call_id=request.tool_call["id"])
        return handler(request)

    shop, bighub = Shop(), guard({"refund": "do_not_proceed", "fly": "proceed"})
    node = tools_node(bighub, ToolNode(shop.tools(), wrap_tool_call=wrap))
    state = runner.run(graph(node), state_with(REFUND, call("fly", "call-2")))
    assert shop.ran == []
    assert "made up" in contents(state)
    assert len(bighub.client.evaluations) == 2


def test_a_call_that_needs_a_person_is_blocked_and_the_message_says_what_to_use(
    runner: Runner,
) -> None:
    shop = Shop()
    app = graph(tools_node(guard("review_recommended"), shop.tools()), checkpointer=InMemorySaver())
    state = runner.run(app, state_with(REFUND))
    assert shop.ran == []
    assert "add_guard(builder, tools, guard)" in contents(state)[0]


class Place(BaseModel):
    """Where a tool wants to go."""

    town: str


def ask_for_a_place() -> tuple[Any, list[str]]:
    runs: list[str] = []

    @tool
    def travel() -> str:
        """Travel."""
        runs.append("in")
        place = interrupt("where to?", response_schema=Place)
        return f"went to {place.town}"

    return travel, runs


def test_a_tool_that_asks_by_itself_is_paused_and_entered_again(runner: Runner) -> None:
    travel, runs = ask_for_a_place()
    bighub = guard()
    app = graph(tools_node(bighub, [travel]), checkpointer=InMemorySaver())
    [question] = runner.run(app, state_with(call("travel")))["__interrupt__"]
    assert question.value == "where to?"
    assert contents(runner.run(app, Command(resume={"town": "Bath"}))) == ["went to Bath"]
    assert len(runs) == 2
    bighub.flush()
    assert bighub.client.statuses == ["SUCCESS"]


def test_an_answer_that_does_not_fit_the_tools_question_can_be_given_again(runner: Runner) -> None:
    travel, _ = ask_for_a_place()
    bighub = guard()
    app = graph(tools_node(bighub, [travel]), checkpointer=InMemorySaver())
    runner.run(app, state_with(call("travel")))
    with pytest.raises(ValueError, match="town"):
        runner.run(app, Command(resume={"city": "Bath"}))
    assert contents(runner.run(app, Command(resume={"town": "Bath"}))) == ["went to Bath"]
    bighub.flush()
    assert bighub.client.statuses == ["SUCCESS"]


def test_what_tools_stream_arrives_between_the_guards_events(runner: Runner) -> None:
    @tool
    def work() -> str:
        """Work."""
        get_stream_writer()({"done": "half"})
        return "all"

    app = graph(tools_node(guard(), [work]), checkpointer=InMemorySaver())
    events = list(runner.stream(app, state_with(call("work")), stream_mode="custom"))
    assert [event.get("event", event.get("done")) for event in events] == [
        "decision",
        "half",
        "outcome",
    ]


class WatchfulJournal(MemoryJournal):
    """A journal that tells when a call has come to its end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ended = threading.Event()

    def transition(self, key: str, event: Event, reporting: ReportingConfig) -> CallRecord:
        record = super().transition(key, event, reporting)
        if record.is_final:
            self.ended.set()
        return record


async def test_a_cancelled_run_does_not_lose_what_a_blocking_tool_did() -> None:
    began, may_end = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    @tool
    def slow() -> str:
        """Take a while."""
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(10)
        return "done"

    journal = WatchfulJournal(chosen=True)
    bighub = guard(journal=journal)
    app = graph(tools_node(bighub, [slow]))
    run = asyncio.create_task(app.ainvoke(state_with(call("slow"))))
    await began.wait()
    run.cancel()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert await asyncio.to_thread(journal.ended.wait, 10)
    bighub.flush()
    assert bighub.client.statuses == ["SUCCESS"]


async def test_a_cancelled_coroutine_tool_has_an_unknown_outcome() -> None:
    began = asyncio.Event()

    @tool
    async def slow() -> str:
        """Take a while."""
        began.set()
        await asyncio.Event().wait()
        return "never"

    bighub = guard()
    app = graph(tools_node(bighub, [slow]), checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    run = asyncio.create_task(app.ainvoke(state_with(call("slow")), config))
    await began.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    state = await app.ainvoke(None, config)
    assert "whether it took effect is not known" in contents(state)[0]
    assert isinstance(state["messages"][1], AIMessage)


def test_an_empty_target_is_no_target(runner: Runner) -> None:
    policy = ToolPolicy(target_from_args=lambda arguments: arguments["order_id"])
    bighub = guard(tools={"look_up": policy})
    runner.run(graph(tools_node(bighub, Shop().tools())), state_with(call("look_up", order_id="")))
    assert "target" not in bighub.client.evaluations[0]


class InProcess(ScriptedBighub):
    """A client that answers in process, and remembers in which thread it did."""

    in_process = True

    def submit(self, **fields: Any) -> Any:
        self.thread = threading.get_ident()
        return super().submit(**fields)


async def test_an_engine_in_process_does_not_hold_up_the_event_loop() -> None:
    bighub = InProcess()
    node = tools_node(BighubGuard(bighub=bighub), Shop().tools())
    await graph(node).ainvoke(state_with(REFUND))
    assert bighub.thread != threading.get_ident()


# -- handed to a thread that has none of the task's context variables ------------------------------


def test_a_node_that_is_retried_runs_its_call_once_in_whatever_thread() -> None:
    shop, tries = Shop(), list[int]()
    guarded_tools = tools_node(guard(), shop.tools())

    async def node(node_input: Any, config: RunnableConfig) -> Any:
        loop = asyncio.get_running_loop()
        update = await loop.run_in_executor(None, guarded_tools.invoke, node_input, config)
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError("after the tool ran")
        return update

    builder: Any = StateGraph(MessagesState)
    builder.add_node("start", lambda _: {})
    retry = RetryPolicy(max_attempts=2, initial_interval=0.01)
    builder.add_node("tools", node, retry_policy=retry)
    builder.add_edge(START, "start")
    builder.add_conditional_edges("start", lambda _: [Send("tools", [REFUND])], ["tools"])
    agent: Any = builder.compile(checkpointer=InMemorySaver())
    asyncio.run(agent.ainvoke(state_with(REFUND), {"configurable": {"thread_id": "t"}}))
    assert (len(tries), shop.ran) == (2, [("refund", 40)])


class SlowSaver(SqliteSaver):
    """Takes its time to store, and remembers what is stored."""

    def put(self, config: Any, checkpoint: Any, *rest: Any) -> Any:
        time.sleep(0.1)
        new_config = super().put(config, checkpoint, *rest)
        self.stored = {*getattr(self, "stored", ()), checkpoint["id"]}
        return new_config


@pytest.mark.parametrize("elsewhere", [False, True], ids=["in its thread", "in another"])
def test_no_tool_starts_before_its_message_is_stored_in_whatever_thread(
    tmp_path: Path, elsewhere: bool
) -> None:
    connection = sqlite3.connect(tmp_path / "threads.db", check_same_thread=False)
    saver = SlowSaver(connection)

    @tool
    def look(runtime: ToolRuntime) -> str:
        """Look whether the checkpoint is stored."""
        info = runtime.execution_info
        return str(info is not None and info.checkpoint_id in saver.stored)

    with guard(journal=f"sqlite:///{tmp_path}/calls.db") as own:
        guarded_tools = tools_node(own, [look])

        def node(state: MessagesState, config: RunnableConfig) -> Any:
            if not elsewhere:
                return guarded_tools.invoke(state, config)
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(guarded_tools.invoke, state, config).result()

        builder = StateGraph(MessagesState)
        builder.add_node("model", lambda _: {"messages": [asks_for(call("look"))]})
        builder.add_node("tools", node)
        builder.add_edge(START, "model")
        builder.add_edge("model", "tools")
        agent: Any = builder.compile(checkpointer=saver)
        state = agent.invoke({"messages": []}, {"configurable": {"thread_id": "t"}})
    connection.close()
    assert contents(state) == ["True"]
