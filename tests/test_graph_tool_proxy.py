"""Tools behind the guard get and give what they do in a plain ToolNode, on every host."""

import asyncio
import time
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Barrier
from typing import Annotated, Any, NotRequired

import pytest
from langchain.agents import AgentState, create_agent
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, InjectedToolCallId, tool
from langgraph.graph import MessagesState, StateGraph, add_messages
from langgraph.prebuilt import InjectedState, InjectedStore, ToolNode, ToolRuntime
from langgraph.prebuilt.tool_node import ToolCallRequest
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, Send
from pydantic import BaseModel

from bighub_langgraph import (
    BighubGuard,
    BighubMiddleware,
    add_guard,
    create_guarded_agent,
    model_node,
    tools_node,
)
from tests.agents import Runner, ScriptedModel, asks_for, call
from tests.engines import ScriptedBighub

PLEASE = {"messages": [("user", "please")]}


# -- what is injected ------------------------------------------------------------------------------


class Desk(MessagesState):
    clerk: NotRequired[str]


class AgentDesk(AgentState[Any]):
    clerk: NotRequired[str]


@tool
def field(what: str, clerk: Annotated[str, InjectedState("clerk")]) -> str:
    """Say who serves."""
    return f"{what} {clerk}"


@tool
def maybe_field(what: str, clerk: Annotated[str | None, InjectedState("clerk")] = None) -> str:
    """Say who serves."""
    return f"{what} {clerk}"


@tool
def state(what: str, state: Annotated[dict[str, Any], InjectedState]) -> str:
    """Say what the state is."""
    return f"{what} {state.get('clerk')} {[message.type for message in state['messages']]}"


@tool
def maybe_state(what: str, state: Annotated[dict[str, Any] | None, InjectedState] = None) -> str:
    """Say what the state is."""
    return f"{what} {(state or {}).get('clerk')} {len((state or {})['messages'])}"


@tool
def store(what: str, store: Annotated[Any, InjectedStore()]) -> str:
    """Say what is stored."""
    return f"{what} {store.get(('a',), 'b').value}"


@tool
def maybe_store(what: str, store: Annotated[Any, InjectedStore()] = None) -> str:
    """Say what is stored."""
    return f"{what} {store.get(('a',), 'b').value}"


@tool
def runtime(what: str, runtime: ToolRuntime) -> str:
    """Say what is around."""
    tools = [tool_.name for tool_ in runtime.tools]
    thread = runtime.config["configurable"].get("thread_id")
    info = runtime.execution_info is not None
    state = (runtime.state.get("clerk"), len(runtime.state["messages"]))
    return f"{what} {tools} {thread} {info} {state} {runtime.tool_call_id} {runtime.store is None}"


@tool
def maybe_runtime(what: str, runtime: ToolRuntime | None = None) -> str:
    """Say what is around."""
    return f"{what} {runtime and runtime.tool_call_id}"


@tool
def call_id(what: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> str:
    """Say which call this is."""
    return f"{what} {tool_call_id}"


@tool
def maybe_call_id(what: str, tool_call_id: Annotated[str, InjectedToolCallId] = "none") -> str:
    """Say which call this is."""
    return f"{what} {tool_call_id}"


@tool
async def slow_field(what: str, clerk: Annotated[str, InjectedState("clerk")]) -> str:
    """Say who serves, in a coroutine."""
    return f"{what} {clerk}"


INJECTION_TOOLS: list[BaseTool] = [
    *(field, maybe_field, state, maybe_state, store, maybe_store),
    *(runtime, maybe_runtime, call_id, maybe_call_id),
]


# -- what is returned ------------------------------------------------------------------------------


@tool
def returns_list(what: str) -> list[str | dict[str, Any]]:
    """Say it in parts."""
    return [what, {"type": "text", "text": what}]


@tool
def fails(what: str) -> str:
    """Raise it."""
    raise ValueError(what)


@tool
def commands(what: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Change the state."""
    return Command(
        update={"clerk": what, "messages": [ToolMessage(what, tool_call_id=tool_call_id)]}
    )


@tool(response_format="content_and_artifact")
def artifact(what: str) -> tuple[str, dict[str, str]]:
    """Say it, and keep something."""
    return what, {"kept": what}


OUTPUT_TOOLS: list[BaseTool] = [returns_list, fails, commands, artifact]


# -- hosts -----------------------------------------------------------------------------------------


@dataclass
class Setting:
    """What a host is built around."""

    tool: BaseTool
    schema: Any = Desk
    store: Any = None
    handle_tool_errors: Any = False

    @property
    def model(self) -> ScriptedModel:
        return ScriptedModel(script=[asks_for(call(self.tool.name, what="this")), "Done."])

    @property
    def tool_node(self) -> ToolNode:
        return ToolNode([self.tool], handle_tool_errors=self.handle_tool_errors)

    def graph_with(self, tool_node: ToolNode, *, sent: bool) -> Any:
        """A graph whose tools get the whole state by an edge, or each call alone by a `Send`."""
        builder = StateGraph(self.schema)
        builder.add_node("model", model_node(self.model, [self.tool]))
        builder.add_node("tools", tool_node)
        builder.set_entry_point("model")
        if sent:
            builder.add_conditional_edges("model", each_call, ["tools"])
        else:
            builder.add_edge("model", "tools")
        return builder.compile(store=self.store)


def each_call(state: Any) -> list[Send]:
    messages = state["messages"] if isinstance(state, dict) else state.messages
    return [Send("tools", [message]) for message in messages[-1].tool_calls]


def plain(setting: Setting) -> Any:
    return setting.graph_with(setting.tool_node, sent=False)


def plain_sent(setting: Setting) -> Any:
    return setting.graph_with(setting.tool_node, sent=True)


def ready(setting: Setting) -> Any:
    guard = BighubGuard(bighub=ScriptedBighub())
    return create_guarded_agent(
        setting.model,
        setting.tool_node,
        guard,
        state_schema=setting.schema,
        checkpointer=False,
        store=setting.store,
    )


def embed_guard(setting: Setting) -> Any:
    builder = StateGraph(setting.schema)
    builder.add_node("agent", model_node(setting.model, [setting.tool]))
    builder.set_entry_point("agent")
    guard = BighubGuard(bighub=ScriptedBighub())
    add_guard(builder, setting.tool_node, guard, after="agent", then="agent")
    return builder.compile(store=setting.store)


def wrap_calls(setting: Setting) -> Any:
    guard = BighubGuard(bighub=ScriptedBighub())
    return setting.graph_with(
        ToolNode(
            [setting.tool],
            handle_tool_errors=setting.handle_tool_errors,
            wrap_tool_call=guard.wrap_tool_call,
            awrap_tool_call=guard.awrap_tool_call,
        ),
        sent=False,
    )


def carry(setting: Setting) -> Any:
    guard = BighubGuard(bighub=ScriptedBighub())
    tools = guard.wrap_tools([setting.tool])
    return setting.graph_with(
        ToolNode(tools, handle_tool_errors=setting.handle_tool_errors), sent=False
    )


def stock(setting: Setting, *middleware: Any) -> Any:
    return create_agent(
        setting.model,
        [setting.tool],
        middleware=middleware,
        state_schema=AgentDesk,
        store=setting.store,
    )


def middleware(setting: Setting) -> Any:
    return stock(setting, BighubMiddleware(BighubGuard(bighub=ScriptedBighub())))


HOSTS = {
    "create_guarded_agent": (ready, plain_sent),
    "add_guard": (embed_guard, plain_sent),
    "wrap_tool_call": (wrap_calls, plain),
    "wrap_tools": (carry, plain),
    "BighubMiddleware": (middleware, stock),
}


def make_store() -> InMemoryStore:
    store = InMemoryStore()
    store.put(("a",), "b", {"c": 1})
    return store


def ran(runner: Runner, graph: Any, values: dict[str, Any]) -> Any:
    """What the tool's call came to: what the model reads of it, or what was raised."""
    try:
        state = runner.run(graph, {**PLEASE, **values})
    except Exception as error:  # noqa: BLE001 - whatever a plain ToolNode raises
        return type(error), str(error)
    contents = [
        (message.name, message.content, message.status, message.artifact, message.tool_call_id)
        for message in state["messages"]
        if isinstance(message, ToolMessage)
    ]
    return contents, state.get("clerk")


@pytest.mark.parametrize("around", ["everything there", "nothing there"])
@pytest.mark.parametrize("injected", INJECTION_TOOLS, ids=lambda value: value.name)
@pytest.mark.parametrize("host", HOSTS)
def test_a_tool_gets_what_a_plain_tool_node_injects(
    runner: Runner, host: str, injected: BaseTool, around: str
) -> None:
    guarded_host, reference = HOSTS[host]
    there = around == "everything there"
    setting = Setting(injected, store=make_store() if there else None)
    values = {"clerk": "ada"} if there else {}
    expected = ran(runner, reference(setting), values)
    assert ran(runner, guarded_host(setting), values) == expected
    assert not there or "this" in str(expected)


@pytest.mark.parametrize("host", HOSTS)
async def test_a_coroutine_tool_gets_what_a_plain_tool_node_injects(host: str) -> None:
    guarded_host, reference = HOSTS[host]
    setting, values = Setting(slow_field), {**PLEASE, "clerk": "ada"}
    states = [await item(setting).ainvoke(values) for item in (guarded_host, reference)]
    assert [contents(item) for item in states] == [["this ada"], ["this ada"]]


class Model(BaseModel):
    messages: Annotated[list[Any], add_messages]
    clerk: str = "nobody"


@dataclass
class Data:
    messages: Annotated[list[Any], add_messages]
    clerk: str = "nobody"


@pytest.mark.parametrize("values", [{"clerk": "ada"}, {}], ids=["given", "by default"])
@pytest.mark.parametrize("injected", [field, maybe_field], ids=lambda value: value.name)
@pytest.mark.parametrize("schema", [Model, Data])
@pytest.mark.parametrize(
    "host", ["create_guarded_agent", "add_guard", "wrap_tool_call", "wrap_tools"]
)
def test_a_field_of_any_kind_of_state_is_injected(
    runner: Runner, host: str, schema: Any, injected: BaseTool, values: dict[str, str]
) -> None:
    guarded_host, reference = HOSTS[host]
    expected = ran(runner, reference(Setting(injected, schema)), values)
    assert ran(runner, guarded_host(Setting(injected, schema)), values) == expected
    assert not values or "this ada" in str(expected)


@pytest.mark.parametrize("returned", OUTPUT_TOOLS, ids=lambda value: value.name)
@pytest.mark.parametrize(
    "host", ["create_guarded_agent", "add_guard", "wrap_tool_call", "wrap_tools"]
)
def test_a_tool_gives_what_it_gives_in_a_plain_tool_node(
    runner: Runner, host: str, returned: BaseTool
) -> None:
    guarded_host, reference = HOSTS[host]
    setting = Setting(returned, handle_tool_errors=True)
    expected = ran(runner, reference(setting), {})
    assert ran(runner, guarded_host(setting), {}) == expected
    assert "this" in str(expected)


# -- how a tool runs -------------------------------------------------------------------------------


def agent(tools: Any, *calls: dict[str, Any]) -> Any:
    model = ScriptedModel(script=[asks_for(*calls), "Done."])
    return create_guarded_agent(
        model, tools, BighubGuard(bighub=ScriptedBighub()), checkpointer=False
    )


def contents(state: dict[str, Any]) -> list[Any]:
    return [message.content for message in state["messages"] if isinstance(message, ToolMessage)]


def test_calls_of_one_turn_run_side_by_side() -> None:
    together = Barrier(3, timeout=10)

    @tool
    def meet(who: str) -> str:
        """Wait for the others."""
        together.wait()
        return who

    calls = [call("meet", f"call-{who}", who=who) for who in "abc"]
    assert contents(agent([meet], *calls).invoke(PLEASE)) == ["a", "b", "c"]


def test_where_a_loop_runs_a_tool_can_run_one_of_its_own() -> None:
    async def answer() -> str:
        return "from a loop in a loop"

    @tool
    def ask() -> str:
        """Run a coroutine to its end."""
        return asyncio.run(answer())

    async def notebook() -> Any:
        return agent([ask], call("ask")).invoke(PLEASE)

    assert contents(asyncio.run(notebook())) == ["from a loop in a loop"]


def test_what_a_tool_sets_in_its_context_stays_its_own() -> None:
    mood: ContextVar[str] = ContextVar("mood", default="calm")

    @tool
    def fret() -> str:
        """Set something."""
        mood.set("upset")
        return mood.get()

    assert contents(agent([fret], call("fret")).invoke(PLEASE)) == ["upset"]
    assert mood.get() == "calm"


class Odd(ToolNode):
    """Somebody's own way to run tools."""

    def invoke(self, *values: Any, **options: Any) -> Any:
        update = super().invoke(*values, **options)
        update["messages"][0].content += ", oddly"
        return update


def test_a_tool_node_of_somebodys_own_is_invoked_as_it_is() -> None:
    @tool
    def greet() -> str:
        """Greet."""
        return "hello"

    assert contents(agent(Odd([greet]), call("greet")).invoke(PLEASE)) == ["hello, oddly"]


class SlowToolNode(ToolNode):
    """The same, of coroutines."""

    async def ainvoke(self, *values: Any, **options: Any) -> Any:
        update = await super().ainvoke(*values, **options)
        update["messages"][0].content += ", oddly"
        return update


class Greeter(BaseTool):
    """A tool with a way of its own to be awaited."""

    name: str = "greet"
    description: str = "Greet."

    def _run(self) -> str:
        return "hello"

    async def ainvoke(self, *values: Any, **options: Any) -> Any:
        message = await super().ainvoke(*values, **options)
        message.content += ", oddly"
        return message


async def test_what_is_awaited_in_a_way_of_its_own_is_awaited_so() -> None:
    @tool
    def greet() -> str:
        """Greet."""
        return "hello"

    for tools in (SlowToolNode([greet]), ToolNode([Greeter()])):
        assert contents(await agent(tools, call("greet")).ainvoke(PLEASE)) == ["hello, oddly"]


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_calls_run_at_once_than_the_run_allows(runner: Runner, most: int) -> None:
    starts: list[int] = []
    values: list[int] = []

    @tool
    def work(number: int) -> str:
        """Work for a moment."""
        starts.append(number)
        values.append(len(starts))
        time.sleep(0.02)
        starts.remove(number)
        return str(number)

    calls = [call("work", f"call-{number}", number=number) for number in range(4)]
    builder = StateGraph(MessagesState)
    builder.add_node("tools", tools_node(BighubGuard(bighub=ScriptedBighub()), [work]))
    builder.set_entry_point("tools")
    graph = builder.compile().with_config(max_concurrency=most)
    state = runner.run(graph, {"messages": [asks_for(*calls)]})
    assert contents(state) == ["0", "1", "2", "3"]
    assert max(values) <= most


# -- tools and requests that wrappers bring in -----------------------------------------------------


class Late(BaseTool):
    """A tool that only a wrapper knows, without a schema of its own."""

    name: str = "late"
    description: str = "Say who serves."

    def _run(self, what: str, clerk: Annotated[str, InjectedState("clerk")]) -> str:
        return f"{what} {clerk}"


@pytest.mark.parametrize("guarded", [False, True], ids=["plain", "guarded"])
def test_a_tool_that_a_wrapper_brings_in_gets_what_is_injected(
    runner: Runner, guarded: bool
) -> None:
    guard = BighubGuard(bighub=ScriptedBighub())

    def wrap(request: Any, handler: Any) -> Any:
        request = request.override(tool=Late())
        return guard.wrap_tool_call(request, handler) if guarded else handler(request)

    async def awrap(request: Any, handler: Any) -> Any:
        request = request.override(tool=Late())
        return await (guard.awrap_tool_call if guarded else _ahandle)(request, handler)

    async def _ahandle(request: Any, handler: Any) -> Any:
        return await handler(request)

    node = ToolNode([field], wrap_tool_call=wrap, awrap_tool_call=awrap)
    builder = StateGraph(Desk)
    builder.add_node("tools", node)
    builder.set_entry_point("tools")
    message = asks_for(call("late", what="this"))
    state = runner.run(builder.compile(), {"messages": [message], "clerk": "ada"})
    assert contents(state) == ["this ada"]


@dataclass
class NumberedRequest(ToolCallRequest):
    """Somebody's own request."""

    attempt: int


def test_a_request_of_a_kind_of_its_own_is_guarded_like_any_other() -> None:
    guard = BighubGuard(bighub=ScriptedBighub())

    def wrap(request: Any, handler: Any) -> Any:
        own = NumberedRequest(
            request.tool_call, request.tool, request.state, request.runtime, attempt=2
        )
        return guard.wrap_tool_call(own, handler)

    builder = StateGraph(Desk)
    builder.add_node("tools", ToolNode([field], wrap_tool_call=wrap))
    builder.set_entry_point("tools")
    message = asks_for(call("field", what="this"))
    state = builder.compile().invoke({"messages": [message], "clerk": "ada"})
    assert contents(state) == ["this ada"]
