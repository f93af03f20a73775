"""What LangChain's callbacks, LangSmith among them, are shown of a guarded call."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool
from langchain_core.tracers import LangChainTracer
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from langsmith import Client
from langsmith.run_trees import RunTree
from pydantic.errors import PydanticUndefinedAnnotation

from bighub_langgraph import (
    BighubGuard,
    BighubMiddleware,
    ToolPolicy,
    create_guarded_agent,
    current_call,
)
from bighub_langgraph.testing import ScriptedBighub, recommends
from tests.agents import Runner, ScriptedModel, Shop, asks_for, call

PLEASE: dict[str, Any] = {"messages": [HumanMessage("please")]}
REFUND = call("refund", order_id="o-1", amount=40.0)
LOOK_UP = call("look_up", "call-2", order_id="o-1")


class ToolRuns(BaseCallbackHandler):
    """Keeps the tags and the metadata of the runs of tools."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[str], dict[str, Any]]] = []

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        *_: Any,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **__: Any,
    ) -> None:
        """Keep a run."""
        self.seen.append((serialized["name"], tags or [], metadata or {}))

    def shown(self, tool: str) -> tuple[set[str], dict[str, Any]]:
        """Our tags and our metadata of the only run of a tool."""
        [(_, tags, metadata)] = [run for run in self.seen if run[0] == tool]
        ours = {name: value for name, value in metadata.items() if name.startswith("bighub.")}
        return {tag for tag in tags if tag.startswith("bighub:")}, ours


@pytest.fixture(params=["graph", "middleware", "tools"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def agent(
    host: str, guard: BighubGuard, *calls: Any, tools: Sequence[Any] = ()
) -> tuple[Any, Shop]:
    """An agent whose model makes these calls at once, and its tools."""
    shop, saver = Shop(), InMemorySaver()
    tools = tools or shop.tools()
    model = ScriptedModel(script=[asks_for(*calls), "done"])
    if host == "graph":
        return create_guarded_agent(model, tools, guard, checkpointer=saver), shop
    if host == "tools":
        return create_agent(model, guard.wrap_tools(tools), checkpointer=saver), shop
    middleware: Any = [BighubMiddleware(guard)]
    return create_agent(model, tools, middleware=middleware, checkpointer=saver), shop


def test_the_run_of_a_tool_has_the_decision_as_metadata_and_tags(host: str, runner: Runner) -> None:
    bighub = ScriptedBighub(recommends("proceed", risk_score=0.1, confidence="high"))
    runs = ToolRuns()
    with BighubGuard(bighub=bighub) as guard:
        graph, shop = agent(host, guard, REFUND)
        runner.run(graph.with_config({"callbacks": [runs], "tags": ["mine"]}), PLEASE)
    tags, metadata = runs.shown("refund")
    assert tags == {"bighub:proceed"}
    assert metadata.pop("bighub.call.key")
    assert metadata == {
        "bighub.recommendation": "proceed",
        "bighub.confidence": "high",
        "bighub.risk_score": 0.1,
        "bighub.request_id": "req-1",
        "bighub.verdict": "execute",
    }
    assert shop.ran == [("refund", 40.0)]
    assert "mine" in runs.seen[0][1]


def test_the_run_after_an_approval_says_so_without_a_name(host: str, runner: Runner) -> None:
    runs = ToolRuns()
    with BighubGuard(bighub=ScriptedBighub("review_recommended")) as guard:
        graph, _ = agent(host, guard, REFUND)
        graph = graph.with_config({"callbacks": [runs]})
        runner.run(graph, PLEASE)
        assert runs.seen == []
        answer = {"resolution": "approved", "approver": "ann@example.org", "comment": "fine"}
        runner.run(graph, Command(resume=answer))
    tags, metadata = runs.shown("refund")
    assert tags == {"bighub:review_recommended", "bighub:approved"}
    assert metadata["bighub.verdict"] == "review"
    assert metadata["bighub.approval.verified"] is False
    assert "ann" not in str(metadata)


def test_each_call_of_a_turn_has_its_own_decision_and_a_read_only_one_has_none(
    host: str, runner: Runner
) -> None:
    runs = ToolRuns()
    bighub = ScriptedBighub("proceed_with_caution")
    with BighubGuard(bighub=bighub, tools={"look_up": ToolPolicy(read_only=True)}) as guard:
        graph, _ = agent(host, guard, REFUND, LOOK_UP)
        runner.run(graph.with_config({"callbacks": [runs]}), PLEASE)
    assert runs.shown("refund")[0] == {"bighub:proceed_with_caution"}
    assert runs.shown("look_up") == (set(), {})


@contextmanager
def langsmith_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that takes runs as LangSmith's API does, and keeps them."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append(json.loads(body))
            self.send_response(202)
            self.end_headers()

        def do_PATCH(self) -> None:
            self.do_POST()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def langsmith_works() -> bool:
    """Whether langsmith can define its runs; langsmith 0.15 cannot with pydantic 2.9."""
    try:
        RunTree.model_rebuild()
    except PydanticUndefinedAnnotation:
        return False
    return True


@pytest.mark.skipif(not langsmith_works(), reason="this langsmith needs a newer pydantic")
def test_langsmith_receives_the_decision_with_the_run_of_the_tool(host: str) -> None:
    with langsmith_server() as (url, received):
        client = Client(api_url=url, api_key="not a key", auto_batch_tracing=False)
        with BighubGuard(bighub=ScriptedBighub("proceed")) as guard:
            graph, _ = agent(host, guard, REFUND)
            tracer = LangChainTracer(client=client, project_name="support")
            Runner("blocking").run(graph.with_config({"callbacks": [tracer]}), PLEASE)
        tracer.wait_for_futures()
    sent = {run["id"]: run for run in received}  # when it starts and when it ends
    [run] = [run for run in sent.values() if run.get("run_type") == "tool"]
    assert run["name"] == "refund"
    assert run["extra"]["metadata"]["bighub.recommendation"] == "proceed"
    assert "bighub:proceed" in run["tags"]


class Refund(BaseTool):
    """A tool that does without LangChain's callbacks."""

    name: str = "refund"
    description: str = "Refund an order."

    def invoke(self, input: Any, config: Any = None, **_: Any) -> str:  # noqa: A002
        return "refunded"

    def _run(self) -> str:
        raise NotImplementedError


def test_metadata_that_takes_no_decision_is_no_failure_of_the_tool() -> None:
    bighub = ScriptedBighub("proceed")
    with BighubGuard(bighub=bighub) as guard:
        [refund] = guard.wrap_tools([Refund()])
        config: Any = {"metadata": [("team", "shop")]}  # no dictionary
        assert refund.invoke({"amount": 1}, config) == "refunded"
    bighub.assert_reported("refund", "SUCCESS")


def test_a_read_only_tool_knows_its_call_too(host: str, runner: Runner) -> None:
    states: list[Any] = []

    def look_up(order_id: str) -> str:
        """Look an order up."""
        states.append(current_call())
        return order_id

    with BighubGuard(
        bighub=ScriptedBighub(), tools={"look_up": ToolPolicy(read_only=True)}
    ) as guard:
        graph, _ = agent(host, guard, LOOK_UP, tools=[look_up])
        runner.run(graph, PLEASE)
    [current] = states
    assert (current.tool, current.decision, current.fencing_token) == ("look_up", None, 0)
    assert current.call_id == "call-2"
