"""A model that follows a script, tools that count, and ways to run a graph sync and async."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, tool
from langgraph.types import Command


def call(name: str, call_id: str = "call-1", **arguments: Any) -> dict[str, Any]:
    """A tool call of a model."""
    return {"name": name, "args": arguments, "id": call_id, "type": "tool_call"}


def asks_for(*calls: dict[str, Any]) -> AIMessage:
    """A model's message with tool calls."""
    return AIMessage("", tool_calls=list(calls))


REFUND = call("refund", order_id="o1", amount=40)
SECOND = call("refund", "call-2", order_id="o2", amount=50)
LOOK_UP = call("look_up", "call-2", order_id="o1")
PLEASE = {"messages": [HumanMessage("please")]}
YES = {"type": "approve"}
REVIEW = {"refund": "review_recommended", "look_up": "proceed", "delete_account": "proceed"}

# Calls of the tools of `Shop` that cannot run, each with what the model reads of it.
INVALID_CALLS = [
    ([call("refund", order_id="o1")], "amount: Field required"),
    ([call("refund", order_id="o1", amount=float("nan"))], "did not run"),
    ([call("refund"), call("look_up", order_id="o1")], "2 calls have the id call-1"),
    ([{**call("refund", order_id="o1", amount=40), "id": None}], "the call has no id"),
]


def resume(*decisions: dict[str, Any]) -> Command[Any]:
    """Resume a graph with decisions about the calls it has asked about."""
    return Command(resume={"decisions": list(decisions)})


class ScriptedModel(BaseChatModel):
    """Responds with its script line by line, and keeps the messages it was shown."""

    script: Sequence[Any]
    shown: list[list[BaseMessage]] = []  # noqa: RUF012 - pydantic copies it for each model

    def bind_tools(self, tools: Any, **_: Any) -> "ScriptedModel":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        line = self.script[len(self.shown)]
        self.shown.append(list(messages))
        message = AIMessage(line) if isinstance(line, str) else line.model_copy(deep=True)
        return ChatResult(generations=[ChatGeneration(message=message)])

    @property
    def _llm_type(self) -> str:
        return "scripted"


class Shop:
    """Tools with effects, each of which is written down."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, Any]] = []

    def tools(self) -> list[BaseTool]:
        """The shop's tools."""

        @tool
        def refund(order_id: str, amount: float) -> str:
            """Pay money back."""
            self.ran.append(("refund", amount))
            return f"refunded {amount} for {order_id}"

        @tool
        def look_up(order_id: str) -> str:
            """Look an order up."""
            self.ran.append(("look_up", order_id))
            return f"{order_id}: 3 chairs"

        @tool
        def delete_account(customer: str) -> str:
            """Delete an account."""
            self.ran.append(("delete_account", customer))
            raise RuntimeError(f"no {customer} here, key sk-live-abcdefghijklmnop")

        return [refund, look_up, delete_account]


def answers(state: dict[str, Any]) -> dict[str, str]:
    """The contents of the tool messages of a state, by the id of their call."""
    return {
        message.tool_call_id: str(message.content)
        for message in state["messages"]
        if isinstance(message, ToolMessage)
    }


def history_faults(messages: Sequence[BaseMessage]) -> list[str]:
    """Return why providers would refuse a history: calls without one answer right behind them."""
    faults: list[str] = []
    open_ids: list[str | None] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            if message.tool_call_id not in open_ids:
                faults.append(f"an answer to no call: {message.tool_call_id}")
                continue
            open_ids.remove(message.tool_call_id)
            continue
        faults += [f"no answer to {call_id}" for call_id in open_ids]
        open_ids = []
        if isinstance(message, AIMessage):
            open_ids = [item["id"] for item in [*message.tool_calls, *message.invalid_tool_calls]]
    return faults + [f"no answer to {call_id}" for call_id in open_ids]


class Runner:
    """Runs a compiled graph, sync or async."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def run(self, graph: Any, value: Any, thread: str | None = "t") -> dict[str, Any]:
        """Invoke a graph; returns its state."""
        config = {"configurable": {"thread_id": thread}} if thread else {}
        if self._mode == "blocking":
            state: dict[str, Any] = graph.invoke(value, config)
        else:
            state = asyncio.run(graph.ainvoke(value, config))
        return state

    def stream(self, graph: Any, value: Any, **options: Any) -> Iterator[Any]:
        """Stream a graph."""
        config = {"configurable": {"thread_id": "t"}}
        if self._mode == "blocking":
            yield from graph.stream(value, config, **options)
            return

        async def collect() -> list[Any]:
            return [item async for item in graph.astream(value, config, **options)]

        yield from asyncio.run(collect())
