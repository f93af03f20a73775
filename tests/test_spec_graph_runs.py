"""One run goes on from a checkpoint: a double click, two workers, and what may run again."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Barrier, Event
from typing import Any, NamedTuple

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from bighub_langgraph import (
    BighubGuard,
    BighubMiddleware,
    Journal,
    ToolPolicy,
    add_guard,
    create_guarded_agent,
    model_node,
)
from bighub_langgraph.core.errors import RunInProgress
from tests import postgres
from tests.agents import ScriptedModel, asks_for, call
from tests.engines import ScriptedBighub

THREAD: Any = {"configurable": {"thread_id": "t"}}
PLEASE: Any = {"messages": [("user", "please")]}
YES: Command[Any] = Command(resume={"decisions": [{"type": "approve"}]})
HOSTS = ["ready", "own", "middleware"]


class Payer(ScriptedModel):
    """Asks for the next call of its script, by how many answers the history has."""

    before: Any = None

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        if self.before:
            self.before()
        line = self.script[sum(message.type == "ai" for message in messages)]
        message = (
            AIMessage(line) if isinstance(line, str) else asks_for(call(line[0], amount=line[1]))
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


class LateSaver(SqliteSaver):
    """A checkpointer whose runner is late: it waits once it has loaded a checkpoint."""

    loaded: Any = None
    go_on: Any = None

    def get_tuple(self, config: Any) -> Any:
        checkpoint_tuple = super().get_tuple(config)
        if self.loaded is not None and not self.loaded.is_set():
            self.loaded.set()
            assert self.go_on.wait(30)
        return checkpoint_tuple


class Office:
    """Workers that share threads and a journal."""

    def __init__(self, host: str, place: Path, journals: "Journals", *script: Any) -> None:
        self._host, self._place, self._journals, self._script = host, place, journals, script
        self.ran: list[Any] = []

    def worker(self, before: Any = None) -> tuple[Any, LateSaver]:
        """A worker with connections of its own."""

        @tool
        def pay(amount: float) -> str:
            """Pay."""
            self.ran.append(amount)
            return f"paid {amount:g}"

        @tool
        def transfer(amount: float) -> str:
            """Transfer."""
            self.ran.append(amount)
            return f"transferred {amount:g}"

        policies = {"pay": ToolPolicy(always_review=True)}
        journal = self._journals.open()
        guard = BighubGuard(bighub=ScriptedBighub(), journal=journal, tools=policies)
        self._journals.stack.callback(guard.close)
        connection = sqlite3.connect(self._place / "threads.db", check_same_thread=False)
        self._journals.stack.callback(connection.close)
        saver = LateSaver(connection)
        saver.setup()
        model = Payer(script=self._script, before=before)
        tools = [pay, transfer]
        if self._host == "middleware":
            middleware = [BighubMiddleware(guard)]
            return create_agent(model, tools, middleware=middleware, checkpointer=saver), saver
        if self._host == "ready":
            return create_guarded_agent(model, tools, guard, checkpointer=saver), saver
        builder = StateGraph(MessagesState)
        builder.add_node("model", model_node(model, tools))
        builder.add_edge(START, "model")
        add_guard(builder, tools, guard)
        return builder.compile(checkpointer=saver), saver


class Journals(NamedTuple):
    """The journals of workers, and what is closed at the end."""

    open: Callable[[], Any]
    stack: ExitStack


@pytest.fixture
def journals(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journals]:
    """Journals on one database; on SQLite, unless a test wants several kinds."""
    kind = getattr(request, "param", "sqlite")
    with ExitStack() as stack:
        shared_journal = Journal.in_memory()
        url = f"sqlite:///{tmp_path / 'calls.db'}"
        if kind == "postgresql":
            server = request.getfixturevalue("postgres_server")
            url = stack.enter_context(postgres.database(server))

        def open_journal() -> Any:
            return (
                shared_journal if kind == "memory" else stack.enter_context(closing(Journal(url)))
            )

        yield Journals(open_journal, stack)


every_journal = pytest.mark.parametrize(
    "journals", ["sqlite", "postgresql", "memory"], indirect=True
)


def click(graph: Any) -> Any:
    try:
        return graph.invoke(YES, THREAD)
    except RunInProgress as error:
        return error


@every_journal
@pytest.mark.filterwarnings("ignore:the journal is in memory")
@pytest.mark.parametrize("host", HOSTS)
def test_a_double_click_runs_the_next_turn_once(
    tmp_path: Path, journals: Journals, host: str
) -> None:
    office = Office(host, tmp_path, journals, ("pay", 1), ("transfer", 2), "Done.")
    both = Barrier(2)
    (first, _), (second, _) = office.worker(), office.worker()
    first.invoke(PLEASE, THREAD)

    def click_together(graph: Any) -> Any:
        both.wait()
        return click(graph)

    with ThreadPoolExecutor(2) as pool:
        ends = list(pool.map(click_together, [first, second]))
    assert office.ran == [1, 2]
    finished_runs = [end for end in ends if not isinstance(end, RunInProgress)]
    assert finished_runs
    assert {end["messages"][-1].content for end in finished_runs} == {"Done."}
    assert first.get_state(THREAD).values["messages"][-1].content == "Done."


@every_journal
@pytest.mark.filterwarnings("ignore:the journal is in memory")
@pytest.mark.parametrize("host", HOSTS)
def test_a_late_second_click_changes_nothing_and_hides_no_question(
    tmp_path: Path, journals: Journals, host: str
) -> None:
    office = Office(host, tmp_path, journals, ("pay", 1), ("pay", 2), "Done.")
    (first, _), (late, saver) = office.worker(), office.worker()
    first.invoke(PLEASE, THREAD)
    saver.loaded, saver.go_on = Event(), Event()
    with ThreadPoolExecutor(1) as pool:
        second_click = pool.submit(click, late)
        assert saver.loaded.wait(30)
        assert "__interrupt__" in click(first)
        saver.go_on.set()
        assert isinstance(second_click.result(), RunInProgress)
    assert office.ran == [1]
    [question] = first.get_state(THREAD).interrupts
    assert question.value["action_requests"][0]["args"] == {"amount": 2}
    assert click(first)["messages"][-1].content == "Done."
    assert office.ran == [1, 2]


@pytest.mark.parametrize("host", ["ready", "middleware"])
def test_a_worker_that_comes_while_the_model_is_asked_stops(
    tmp_path: Path, journals: Journals, host: str
) -> None:
    request, answer = Event(), Event()

    def wait_for_answer() -> None:
        if office.ran:
            request.set()
            assert answer.wait(30)

    office = Office(host, tmp_path, journals, ("pay", 1), ("transfer", 2), "Done.")
    (first, _), (second, _) = office.worker(wait_for_answer), office.worker()
    first.invoke(PLEASE, THREAD)
    with ThreadPoolExecutor(1) as pool:
        first_click = pool.submit(click, first)
        assert request.wait(30)
        while second.get_state(THREAD).next != ("model",):
            pass  # LangGraph stores the checkpoint while the model is asked already
        for again in (YES, None):
            with pytest.raises(RunInProgress):
                second.invoke(again, THREAD)
        answer.set()
        assert first_click.result()["messages"][-1].content == "Done."
    assert office.ran == [1, 2]


@pytest.mark.parametrize("host", HOSTS)
def test_a_run_that_failed_in_the_model_can_be_retried_by_any_worker(
    tmp_path: Path, journals: Journals, host: str
) -> None:
    faults = [None, ConnectionError("no answer"), ConnectionError("no answer"), None, None]

    def fail() -> None:
        fault = faults.pop(0)
        if fault is not None:
            raise fault

    office = Office(host, tmp_path, journals, ("pay", 1), ("transfer", 2), "Done.")
    (first, _), (second, _) = office.worker(fail), office.worker(fail)
    first.invoke(PLEASE, THREAD)
    with pytest.raises(ConnectionError):
        first.invoke(YES, THREAD)
    with pytest.raises(ConnectionError):
        first.invoke(None, THREAD)
    assert second.invoke(None, THREAD)["messages"][-1].content == "Done."
    assert office.ran == [1, 2]


@pytest.mark.parametrize("host", ["ready", "middleware"])
def test_a_cancelled_run_can_be_resumed(host: str) -> None:
    class Slow(Payer):
        async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
            if any(message.type == "tool" for message in messages) and not start.is_set():
                start.set()
                await asyncio.sleep(60)
            return self._generate(messages)

    ran: list[float] = []

    @tool
    def transfer(amount: float) -> str:
        """Transfer."""
        ran.append(amount)
        return "transferred"

    async def main() -> None:
        model = Slow(script=[("transfer", 1), ("transfer", 2), "Done."])
        guard, saver = BighubGuard(bighub=ScriptedBighub()), InMemorySaver()
        graph: Any = (
            create_guarded_agent(model, [transfer], guard, checkpointer=saver)
            if host == "ready"
            else create_agent(
                model, [transfer], middleware=[BighubMiddleware(guard)], checkpointer=saver
            )
        )
        run = asyncio.create_task(graph.ainvoke(PLEASE, THREAD))
        await start.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        state = await graph.ainvoke(None, THREAD)
        assert state["messages"][-1].content == "Done."

    start = asyncio.Event()
    asyncio.run(main())
    assert ran == [1, 2]
