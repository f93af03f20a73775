"""A blocking tool behind the guard runs in the thread of its task, where that is safe."""

import asyncio
import threading
from contextvars import ContextVar
from typing import Annotated, Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import MessagesState
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from bighub_langgraph import BighubGuard, create_guarded_agent
from tests.agents import ScriptedModel, asks_for, call
from tests.engines import ScriptedBighub

PLEASE = {"messages": [("user", "please")]}


def agent(tools: Any, *calls: dict[str, Any], **options: Any) -> Any:
    model = ScriptedModel(script=[asks_for(*calls), "Done."])
    return create_guarded_agent(model, tools, BighubGuard(bighub=ScriptedBighub()), **options)


def said(state: dict[str, Any]) -> list[Any]:
    return [one.content for one in state["messages"] if isinstance(one, ToolMessage)]


def test_a_call_needs_no_thread_beside_that_of_its_task() -> None:
    @tool
    def where() -> str:
        """Say which thread this is."""
        return str(threading.get_ident())

    assert said(agent([where], call("where")).invoke(PLEASE)) == [str(threading.get_ident())]


def test_calls_of_one_turn_still_run_side_by_side() -> None:
    together = threading.Barrier(3, timeout=10)

    @tool
    def meet(who: str) -> str:
        """Wait for the others."""
        together.wait()
        return who

    calls = [call("meet", f"call-{who}", who=who) for who in "abc"]
    assert said(agent([meet], *calls).invoke(PLEASE)) == ["a", "b", "c"]


def test_where_a_loop_runs_a_tool_can_run_one_of_its_own() -> None:
    async def answer() -> str:
        return "from a loop in a loop"

    @tool
    def ask() -> str:
        """Run a coroutine to its end."""
        return asyncio.run(answer())

    async def notebook() -> Any:
        return agent([ask], call("ask")).invoke(PLEASE)

    assert said(asyncio.run(notebook())) == ["from a loop in a loop"]


def test_what_a_tool_sets_in_its_context_stays_its_own() -> None:
    mood: ContextVar[str] = ContextVar("mood", default="calm")

    @tool
    def fret() -> str:
        """Set something."""
        mood.set("upset")
        return mood.get()

    assert said(agent([fret], call("fret")).invoke(PLEASE)) == ["upset"]
    assert mood.get() == "calm"


class Odd(ToolNode):
    """Somebody's own way to run tools."""

    def invoke(self, *given: Any, **options: Any) -> Any:
        update = super().invoke(*given, **options)
        update["messages"][0].content += ", oddly"
        return update


def test_a_tool_node_of_somebodys_own_is_invoked_as_it_is() -> None:
    @tool
    def greet() -> str:
        """Greet."""
        return "hello"

    assert said(agent(Odd([greet]), call("greet")).invoke(PLEASE)) == ["hello, oddly"]


class Desk(MessagesState):
    clerk: str


@tool
def plain(what: str) -> str:
    """Say it."""
    return what


@tool
def listed(what: str) -> list[str | dict[str, Any]]:
    """Say it in parts."""
    return [what, {"type": "text", "text": what}]


@tool
def fails(what: str) -> str:
    """Raise it."""
    raise ValueError(what)


@tool
def injected(  # noqa: PLR0917 - everything that can be injected
    what: str,
    runtime: ToolRuntime,
    state: Annotated[dict[str, Any], InjectedState],
    clerk: Annotated[str, InjectedState("clerk")],
    store: Annotated[Any, InjectedStore()],
    mine: Annotated[str, InjectedToolCallId],
) -> str:
    """Say what is around."""
    tools = [one.name for one in runtime.tools]
    around = (state["clerk"], clerk, len(runtime.state["messages"]), runtime.tool_call_id, mine)
    return f"{what} {around} {tools} {store.get(('a',), 'b').value} {runtime.store is store}"


@tool
def commands(what: str, mine: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Change the state."""
    return Command(update={"clerk": what, "messages": [ToolMessage(what, tool_call_id=mine)]})


TOOLS = [plain, listed, fails, injected, commands]


@pytest.mark.parametrize("name", [one.name for one in TOOLS])
def test_a_tool_gets_and_gives_what_it_does_in_a_tool_node_of_its_own_thread(name: str) -> None:
    """The subclass is invoked whole, so it shows what a ToolNode does."""

    class Whole(ToolNode):
        pass

    def ran(node: type[ToolNode]) -> dict[str, Any]:
        store = InMemoryStore()
        store.put(("a",), "b", {"c": 1})
        tools = node(TOOLS, handle_tool_errors=True)
        asked = call(name, what="this")
        graph = agent(tools, asked, state_schema=Desk, store=store)
        state: dict[str, Any] = graph.invoke({**PLEASE, "clerk": "ada"})
        return state

    here, there = ran(ToolNode), ran(Whole)
    assert said(here) == said(there) != []
    assert here["clerk"] == there["clerk"]
