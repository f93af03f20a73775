"""One turn of an agent: unguarded, guarded, with our middleware, or with the stock one.

All have the same model and tool, and there is no checkpointer. The guard asks the embedded engine
in memory; our middleware also a client that answers at once, so that its own cost shows. The stock
middleware asks a person about another tool, and so lets every call run. Empty hooks show what
LangChain takes for calling a middleware around the model, behind it and around each tool. The
traced agent is our middleware with a provider of OpenTelemetry, whose spans go nowhere.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.workers.fakes import FakeBighub
from benchmarks.workers.stopwatch import Side, Sides, run_program
from bighub_langgraph import BighubGuard, BighubMiddleware, Telemetry, create_guarded_agent
from bighub_langgraph.local import DomainSettings, LocalBighub, Settings

LESSONS = 50
INPUT = {"messages": [("user", "refund")]}


@tool
def refund(order: str, amount: float) -> str:
    """Refund an order."""
    return f"refunded {amount} for {order}"


class Model(BaseChatModel):
    """Asks for a number of refunds, and is content when it sees their results."""

    calls: int

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, *_: Any, **__: Any) -> Any:
        """The tools are known."""
        return self

    def _generate(self, messages: Sequence[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        message = AIMessage("done") if messages[-1].type == "tool" else self._calls_message()
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _calls_message(self) -> AIMessage:
        tool_calls = [
            {"name": "refund", "args": {"order": str(n), "amount": 2.0 + n}, "id": f"call-{n}"}
            for n in range(self.calls)
        ]
        return AIMessage("", tool_calls=tool_calls)


@asynccontextmanager
async def sides(*, api: str, calls: int, runs: int, agent: str) -> Sides:
    """The agent that is asked for, under its name."""
    del runs
    make, asking = MADE[agent]
    with asking(api) as guard:
        yield {agent: _turn(make(Model(calls=calls), guard), api, calls)}


@contextmanager
def _nobody(_: str) -> Iterator[None]:
    """No guard."""
    yield None


@contextmanager
def _at_once(api: str, telemetry: Telemetry | None = None) -> Iterator[BighubGuard]:
    """A guard over a client that has the same answer for every call, at once."""
    bighub = FakeBighub(api, dict.fromkeys(("evaluate", "report", "ingest"), 0.0))
    with BighubGuard(bighub=bighub, actor="agent", domain="shop", telemetry=telemetry) as guard:
        yield guard


@contextmanager
def _traced(api: str) -> Iterator[BighubGuard]:
    """The same guard with OpenTelemetry's SDK; its batches of spans are thrown away."""
    exporter = _DiscardingExporter()
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter))
    with _at_once(api, Telemetry(tracer_provider=provider)) as guard:
        yield guard
    provider.shutdown()
    if not exporter.received:
        raise RuntimeError("no span was made")


class _DiscardingExporter(SpanExporter):
    def __init__(self) -> None:
        self.received = 0

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        self.received += len(spans)
        return SpanExportResult.SUCCESS


@contextmanager
def _embedded_guard(_: str) -> Iterator[BighubGuard]:
    """A guard over an embedded engine whose good outcomes let refunds run without approval."""
    with (
        LocalBighub(settings=Settings(default=DomainSettings(max_bad_rate=None))) as bighub,
        BighubGuard(bighub=bighub, actor="agent", domain="shop") as guard,
    ):
        for _ in range(LESSONS):
            reply = bighub.actions.evaluate(
                action="refund", value=20.0, actor="agent", domain="shop"
            )
            bighub.outcomes.report(request_id=reply["request_id"], status="SUCCESS")
        yield guard


def _ours(model: Model, guard: BighubGuard) -> Any:
    return create_agent(model, [refund], middleware=[BighubMiddleware(guard)])


def _stock(model: Model, _: None) -> Any:
    return create_agent(model, [refund], middleware=[HumanInTheLoopMiddleware({"other": True})])


class _Hooks(AgentMiddleware[Any, Any, Any]):
    """The hooks that a guard needs, and nothing in them."""

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    def after_model(self, state: Any, runtime: Any) -> None:
        pass

    async def aafter_model(self, state: Any, runtime: Any) -> None:
        pass

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request)

    def awrap_tool_call(self, request: Any, handler: Any) -> Any:
        return handler(request)


def _empty(model: Model, _: None) -> Any:
    return create_agent(model, [refund], middleware=[_Hooks()])


MADE: dict[str, tuple[Callable[[Model, Any], Any], Callable[[str], Any]]] = {
    "bare": (lambda model, _: create_agent(model, [refund]), _nobody),
    "guarded": (
        lambda model, guard: create_guarded_agent(model, [refund], guard, checkpointer=False),
        _embedded_guard,
    ),
    "middleware": (_ours, _at_once),
    "traced": (_ours, _traced),
    "middleware-embedded": (_ours, _embedded_guard),
    "hooks": (_empty, _nobody),
    "stock": (_stock, _nobody),
}


def _turn(agent: Any, api: str, calls: int) -> Side:
    """A turn of an agent, after one that shows that its calls run."""
    messages = agent.invoke(INPUT)["messages"]
    if sum(str(message.content).startswith("refunded") for message in messages) != calls:
        raise RuntimeError(f"not all calls ran: {messages[-2].content}")
    return (lambda: agent.ainvoke(INPUT)) if api == "async" else (lambda: agent.invoke(INPUT))


if __name__ == "__main__":
    run_program(sides)
