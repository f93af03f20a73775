"""What OpenTelemetry is shown of a call: in graphs, in agents and in both clients."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bighub_langgraph import (
    ApprovalPolicy,
    BighubGuard,
    BighubMiddleware,
    Journal,
    Telemetry,
    create_guarded_agent,
)
from bighub_langgraph.approvals.cards import Approver
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.testing import ScriptedBighub, recommends
from tests.agents import Runner, ScriptedModel, Shop, asks_for, call
from tests.engines import Answer, service
from tests.openai_answers import calls, says
from tests.openai_runtime import CLIENT_KINDS, runtime
from tests.openai_server import ResponsesServer
from tests.traces import Metrics, Spans, attributes, is_child, is_linked, trace_id

PLEASE: dict[str, Any] = {"messages": [HumanMessage("please")]}
REFUND = call("refund", order_id="o-1", amount=40.0)
APPROVE: Any = Command(resume={"decisions": [{"type": "approve"}]})


@pytest.fixture(params=["graph", "middleware"])
def host(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def spans() -> Spans:
    return Spans()


def agent(
    host: str,
    spans: Spans,
    bighub: Any,
    *calls_of_model: Any,
    telemetry: Telemetry | None = None,
    **options: Any,
) -> tuple[Any, BighubGuard, Shop]:
    """An agent whose model makes these calls at once, with its guard and its tools."""
    shop, model = Shop(), ScriptedModel(script=[asks_for(*calls_of_model), "done"])
    guard = BighubGuard(bighub=bighub, telemetry=telemetry or spans.telemetry(), **options)
    saver = InMemorySaver()
    if host == "graph":
        return create_guarded_agent(model, shop.tools(), guard, checkpointer=saver), guard, shop
    middleware: Any = [BighubMiddleware(guard)]
    graph = create_agent(model, shop.tools(), middleware=middleware, checkpointer=saver)
    return graph, guard, shop


@contextmanager
def asking_agent(runner: Runner, spans: Spans, file: Path) -> Iterator[Journal]:
    """The journal of an agent that waits for a person; both are closed at the end."""
    bighub = ScriptedBighub("review_recommended")
    with closing(Journal(file)) as journal:
        graph, guard, _ = agent("graph", spans, bighub, REFUND, journal=journal)
        with guard:
            runner.run(graph, PLEASE)
            yield journal


def run_python(code: str) -> str:
    """What a program prints in a process of its own."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_call_is_a_span_with_its_evaluation_and_its_reports(
    host: str, runner: Runner, spans: Spans
) -> None:
    bighub = ScriptedBighub(recommends("proceed", risk_score=0.1, confidence="high"))
    graph, guard, _ = agent(host, spans, bighub, REFUND)
    runner.run(graph, PLEASE)
    guard.close()
    span = spans.single("execute_tool refund")
    shown = attributes(span)
    assert (
        shown.items()
        >= {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "refund",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": "call-1",
            "gen_ai.conversation.id": "t",
            "bighub.recommendation": "proceed",
            "bighub.confidence": "high",
            "bighub.risk_score": 0.1,
            "bighub.verdict": "execute",
            "bighub.request_id": "req-1",
            "bighub.status": "executed",
        }.items()
    )
    assert is_child(spans.single("bighub.evaluate"), span)
    reports = spans.named("bighub.report")
    assert {attributes(report)["bighub.report.kind"] for report in reports} == {"outcome", "memory"}
    assert all(is_child(report, span) for report in reports)


def test_a_call_belongs_to_the_trace_of_its_run(host: str, runner: Runner, spans: Spans) -> None:
    graph, guard, _ = agent(host, spans, ScriptedBighub(), REFUND)
    with spans.tracer.start_as_current_span("invoke_agent support"):
        runner.run(graph, PLEASE)
    guard.close()
    [run] = spans.named("invoke_agent support")
    assert is_child(spans.single("execute_tool refund"), run)
    assert {trace_id(span) for span in spans.ended} == {trace_id(run)}


def test_what_a_tool_traces_is_below_its_call(host: str, runner: Runner, spans: Spans) -> None:
    graph, guard, shop = agent(host, spans, ScriptedBighub(), REFUND)

    class TracedList(list[Any]):
        def append(self, item: Any) -> None:
            with spans.tracer.start_as_current_span("payment"):
                super().append(item)

    shop.ran = TracedList()
    runner.run(graph, PLEASE)
    guard.close()
    assert is_child(spans.single("payment"), spans.single("execute_tool refund"))


def test_a_blocked_call_is_a_span_that_runs_nothing(
    host: str, runner: Runner, spans: Spans
) -> None:
    graph, guard, shop = agent(host, spans, ScriptedBighub("do_not_proceed"), REFUND)
    runner.run(graph, PLEASE)
    guard.close()
    shown = attributes(spans.single("execute_tool refund"))
    assert shown["bighub.verdict"] == "block"
    assert "bighub.status" not in shown
    assert shop.ran == []


def test_a_failed_tool_is_an_error_without_its_message(
    host: str, runner: Runner, spans: Spans
) -> None:
    delete = call("delete_account", customer="ann@example.org")
    graph, guard, _ = agent(host, spans, ScriptedBighub(), delete)
    with pytest.raises(RuntimeError):
        runner.run(graph, PLEASE)
    guard.close()
    span = spans.single("execute_tool delete_account")
    assert span.status.status_code.name == "ERROR"
    assert attributes(span)["error.type"] == "RuntimeError"
    assert "sk-live" not in spans.text()
    assert "ann@example.org" not in spans.text()


def test_the_text_of_a_failed_tool_is_no_part_of_a_trace_whatever_it_begins_with(
    host: str, runner: Runner, spans: Spans
) -> None:
    @tool
    def charge(card: str) -> str:
        """Charge a card."""
        raise ToolException(f"{card}: declined")

    charge.handle_tool_error = True
    model = ScriptedModel(script=[asks_for(call("charge", card="ann_1815")), "done"])
    with closing(BighubGuard(bighub=ScriptedBighub(), telemetry=spans.telemetry())) as guard:
        if host == "graph":
            graph: Any = create_guarded_agent(model, [charge], guard, checkpointer=False)
        else:
            graph = create_agent(model, [charge], middleware=[BighubMiddleware(guard)])
        runner.run(graph, PLEASE)
    assert attributes(spans.single("execute_tool charge"))["error.type"] == "tool_error"
    assert "ann_1815" not in spans.text()


def test_a_call_that_waited_is_linked_to_the_trace_in_which_it_was_asked(
    host: str, runner: Runner, spans: Spans
) -> None:
    graph, guard, _ = agent(host, spans, ScriptedBighub("review_recommended"), REFUND)
    with spans.tracer.start_as_current_span("first run"):
        runner.run(graph, PLEASE)
    with spans.tracer.start_as_current_span("second run"):
        runner.run(graph, APPROVE)
    guard.close()
    [waiting, ran] = spans.named("execute_tool refund")
    assert attributes(waiting)["bighub.approval.state"] == "pending"
    assert attributes(waiting)["bighub.verdict"] == "review"
    assert attributes(ran)["bighub.approval.state"] == "approved"
    assert is_linked(ran, waiting)
    assert is_child(ran, spans.single("second run"))
    waited = spans.single("bighub.approval")
    assert is_child(waited, waiting)
    assert waited.links[0].context.trace_id == trace_id(spans.single("second run"))


def test_a_resume_without_a_trace_of_its_own_continues_that_of_the_call(
    host: str, runner: Runner, spans: Spans
) -> None:
    graph, guard, _ = agent(host, spans, ScriptedBighub("review_recommended"), REFUND)
    with spans.tracer.start_as_current_span("run"):
        runner.run(graph, PLEASE)
    runner.run(graph, APPROVE)
    guard.close()
    assert {trace_id(span) for span in spans.ended} == {trace_id(spans.single("run"))}


def test_an_approver_is_an_opaque_reference(host: str, runner: Runner, spans: Spans) -> None:
    graph, guard, _ = agent(host, spans, ScriptedBighub("review_recommended"), REFUND)
    runner.run(graph, PLEASE)
    answer = {"resolution": "approved", "approver": "ann@example.org", "comment": "she called me"}
    runner.run(graph, Command(resume=answer))
    guard.close()
    reference = attributes(spans.single("bighub.approval"))["bighub.approval.approver"]
    assert len(reference) == 16
    assert "ann" not in spans.text()
    assert "called" not in spans.text()


def test_an_edited_call_belongs_to_the_trace_of_the_original(
    host: str, runner: Runner, spans: Spans
) -> None:
    graph, guard, shop = agent(host, spans, ScriptedBighub("review_recommended"), REFUND)
    runner.run(graph, PLEASE)
    action = {"name": "refund", "args": {"order_id": "o-1", "amount": 5.0}}
    edit = {"type": "edit", "edited_action": action}
    runner.run(graph, Command(resume={"decisions": [edit]}))
    guard.close()
    assert shop.ran == [("refund", 5.0)]
    [original, edited] = spans.named("execute_tool refund")
    assert trace_id(original) == trace_id(edited)
    assert attributes(edited)["bighub.status"] == "executed"


def test_arguments_are_shown_only_on_request_and_redacted(
    host: str, runner: Runner, spans: Spans
) -> None:
    note = call("refund", order_id="sk-live-abcdefghijklmnop", amount=40.0)
    for telemetry in (spans.telemetry(), spans.telemetry(capture_arguments=True)):
        spans.exporter.clear()
        graph, guard, _ = agent(host, spans, ScriptedBighub(), note, telemetry=telemetry)
        runner.run(graph, PLEASE)
        guard.close()
        name = "gen_ai.tool.call.arguments"
        arguments = attributes(spans.single("execute_tool refund")).get(name)
        assert (arguments is not None) == telemetry.capture_arguments
        assert "sk-live" not in spans.text()
    assert arguments is not None
    assert '"amount": 40.0' in arguments


def test_a_span_of_another_instrumentation_for_the_tool_is_used(spans: Spans) -> None:
    shop = Shop()
    guard = BighubGuard(bighub=ScriptedBighub(), telemetry=spans.telemetry())
    [refund, *_] = guard.wrap_tools(shop.tools())
    mark = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "refund"}
    with spans.tracer.start_as_current_span("execute_tool refund", attributes=mark):
        refund.invoke({"order_id": "o-1", "amount": 40.0})
    guard.close()
    span = spans.single("execute_tool refund")
    assert attributes(span)["bighub.verdict"] == "execute"
    assert attributes(span)["bighub.status"] == "executed"
    assert is_child(spans.single("bighub.evaluate"), span)


def test_a_guarded_call_in_the_tool_of_another_has_a_span_of_its_own(spans: Spans) -> None:
    inner = BighubGuard(bighub=ScriptedBighub(), telemetry=spans.telemetry())
    [refund, *_] = inner.wrap_tools(Shop().tools())
    outer = BighubGuard(bighub=ScriptedBighub(), telemetry=spans.telemetry())

    def delegate(order_id: str) -> str:
        """Let another agent do it."""
        return str(refund.invoke({"order_id": order_id, "amount": 1.0}))

    [tool] = outer.wrap_tools([delegate])
    tool.invoke({"order_id": "o-1"})
    outer.close()
    inner.close()
    assert is_child(spans.single("execute_tool refund"), spans.single("execute_tool delegate"))


def test_the_span_of_a_call_whose_tool_never_starts_is_ended_by_the_guard(
    spans: Spans, runner: Runner
) -> None:
    note = call("look_up", "call-2", order_id="o-1")
    bighub = ScriptedBighub("review_recommended", look_up="proceed")
    graph, guard, _ = agent("middleware", spans, bighub, REFUND, note)
    runner.run(graph, PLEASE)  # `look_up` waits for the answer about the refund
    guard.close()
    assert attributes(spans.single("execute_tool look_up"))["bighub.verdict"] == "execute"


class BrokenProvider:
    """A provider whose tracers raise."""

    def get_tracer(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("no tracer")


def test_a_telemetry_that_raises_stops_no_call(host: str, runner: Runner, spans: Spans) -> None:
    broken = Telemetry(tracer_provider=BrokenProvider())
    graph, guard, shop = agent(host, spans, ScriptedBighub(), REFUND, telemetry=broken)
    runner.run(graph, PLEASE)
    guard.close()
    assert shop.ran == [("refund", 40.0)]


def test_a_record_in_a_database_keeps_its_trace_context(
    runner: Runner, spans: Spans, tmp_path: Path
) -> None:
    with asking_agent(runner, spans, tmp_path / "calls.db"):
        pass
    with closing(Journal(tmp_path / "calls.db")) as journal:
        [view] = journal.admin.calls()
    context = spans.single("execute_tool refund").get_span_context()
    assert context is not None
    assert view.record.trace_context is not None
    assert (
        f"{context.trace_id:032x}-{context.span_id:016x}"
        in view.record.trace_context["traceparent"]
    )


# -- the clients -----------------------------------------------------------------------------------


def pay_back(order: str) -> str:
    """Pay the money back."""
    return f"refunded {order}"


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
def test_a_call_of_a_client_is_a_span_in_the_trace_of_its_run(
    server: ResponsesServer, client_kind: str, spans: Spans
) -> None:
    server.script(calls(("refund", {"order": "o-1"})), says("done"))
    with runtime(client_kind, server, telemetry=spans.telemetry()) as client:
        client.tool("refund", pay_back)
        with spans.tracer.start_as_current_span("run"):
            client.run()
    span = spans.single("execute_tool refund")
    assert attributes(span)["bighub.status"] == "executed"
    assert is_child(spans.single("bighub.evaluate"), span)
    assert is_child(span, spans.single("run"))
    assert all(is_child(report, span) for report in spans.named("bighub.report"))


@pytest.mark.parametrize("client_kind", CLIENT_KINDS)
def test_a_tool_that_only_reads_is_a_span_too(
    server: ResponsesServer, client_kind: str, spans: Spans
) -> None:
    server.script(calls(("look", {"order": "o-1"})), says("done"))
    with runtime(client_kind, server, telemetry=spans.telemetry()) as client:
        client.tool("look", pay_back, read_only=True)
        client.run()
    assert attributes(spans.single("execute_tool look"))["bighub.status"] == "executed"


# -- metrics ---------------------------------------------------------------------------------------


def test_decisions_durations_and_what_waits_are_counted(host: str, runner: Runner) -> None:
    metrics = Metrics()
    bighub = ScriptedBighub("review_recommended", look_up="proceed")
    look_up = call("look_up", "call-2", order_id="o-1")
    shop, model = Shop(), ScriptedModel(script=[asks_for(look_up), asks_for(REFUND), "done"])
    guard = BighubGuard(bighub=bighub, telemetry=metrics.telemetry(), name=host)
    saver = InMemorySaver()
    middleware: Any = [BighubMiddleware(guard)]
    graph: Any = (
        create_guarded_agent(model, shop.tools(), guard, checkpointer=saver)
        if host == "graph"
        else create_agent(model, shop.tools(), middleware=middleware, checkpointer=saver)
    )
    runner.run(graph, PLEASE)
    shown = metrics.read()
    decided = {
        (point["gen_ai.tool.name"], point["bighub.recommendation"], point["bighub.verdict"])
        for point, _ in shown["bighub.decisions"]
    }
    assert decided == {
        ("look_up", "proceed", "execute"),
        ("refund", "review_recommended", "review"),
    }
    [(point, runs)] = shown["gen_ai.execute_tool.duration"]
    assert (point["gen_ai.tool.name"], runs.count) == ("look_up", 1)
    agent_of = {"bighub.agent": host}
    [(point, waiting)] = shown["bighub.approvals.waiting"]
    assert (point, waiting.value) == (agent_of, 1)
    [(_, age)] = shown["bighub.approvals.oldest_age"]
    assert age.value >= 0
    assert [value.value for _, value in shown["bighub.breaker.open"]] == [0]
    runner.run(graph, APPROVE)
    guard.flush()
    shown = metrics.read()
    assert [value.value for _, value in shown["bighub.approvals.waiting"]] == [0]
    assert [value.value for _, value in shown["bighub.outbox.pending"]] == [0]
    guard.close()


def test_the_metrics_of_a_journal_in_a_database(spans: Spans, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "calls.db")
    bighub = ScriptedBighub("review_recommended")
    graph, guard, _ = agent("graph", spans, bighub, REFUND, journal=journal)
    assert journal.count_waiting() == (0, None)
    Runner("blocking").run(graph, PLEASE)
    [view] = journal.admin.calls()
    assert journal.count_waiting() == (1, view.record.created_at)
    guard.close()
    journal.close()


def test_an_open_circuit_shows() -> None:
    metrics = Metrics()
    with service(Answer(status=503, body={"detail": "down"})) as bighub:
        guard = BighubGuard(bighub=bighub.url, telemetry=metrics.telemetry(), retries=0)
        for _ in range(3):
            guard.evaluate("refund", {})
        [(_, is_open)] = metrics.read()["bighub.breaker.open"]
        guard.close()
    assert is_open.value == 1


# -- logs ------------------------------------------------------------------------------------------


def test_a_log_record_about_a_call_names_it(
    host: str, runner: Runner, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: dict[str, Any]) -> None:
        raise RuntimeError("no")

    graph, guard, _ = agent(host, spans, ScriptedBighub(), REFUND, on_decision=fail)
    runner.run(graph, PLEASE)
    guard.close()
    [record] = caplog.records
    shown = vars(record)
    key = attributes(spans.single("execute_tool refund"))["bighub.call.key"]
    assert shown["bighub_call_key"] == key
    assert (shown["bighub_tool"], shown["bighub_thread"]) == ("refund", "t")


# -- other services --------------------------------------------------------------------------------


def test_the_trace_of_an_evaluation_is_passed_on_to_bighub(runner: Runner, spans: Spans) -> None:
    with service(Answer()) as bighub:
        graph, guard, _ = agent("graph", spans, bighub.url, REFUND)
        runner.run(graph, PLEASE)
        guard.close()
    context = spans.single("bighub.evaluate").get_span_context()
    assert context is not None
    _, headers, _ = bighub.requests[0]
    _, trace, parent, _ = headers["traceparent"].split("-")
    assert (int(trace, 16), int(parent, 16)) == (context.trace_id, context.span_id)


def test_an_answer_in_the_inbox_belongs_to_the_trace_of_the_call(
    runner: Runner, spans: Spans, tmp_path: Path
) -> None:
    with asking_agent(runner, spans, tmp_path / "calls.db") as journal:
        inbox = ApprovalInbox(journal, telemetry=spans.telemetry())
        [card] = inbox.list()
        approver = Approver("ann", verified=True, roles=frozenset({"approver"}))
        with spans.tracer.start_as_current_span("POST /answers"):
            inbox.answer(card.key, "reject", approver=approver)
    answer = spans.single("bighub.approval")
    assert is_child(answer, spans.single("execute_tool refund"))
    assert is_linked(answer, spans.single("POST /answers"))
    assert attributes(answer)["bighub.approval.state"] == "rejected"
    assert attributes(answer)["bighub.approval.verified"] is True


def test_a_call_that_nobody_answers_in_time_shows_how_long_it_has_waited(
    host: str, runner: Runner, spans: Spans
) -> None:
    approvals = ApprovalPolicy(expires_after=1e-9)
    bighub = ScriptedBighub("review_recommended")
    graph, guard, _ = agent(host, spans, bighub, REFUND, approvals=approvals)
    runner.run(graph, PLEASE)
    guard.flush()
    guard.close()
    waited = spans.single("bighub.approval")
    assert is_child(waited, spans.single("execute_tool refund"))
    assert attributes(waited)["bighub.approval.state"] == "expired"
    assert attributes(waited)["bighub.status"] == "expired"


def test_an_answer_that_comes_too_late_shows_that_the_call_expired(
    host: str, runner: Runner, spans: Spans
) -> None:
    approvals = ApprovalPolicy(expires_after=1e-9)
    bighub = ScriptedBighub("review_recommended")
    graph, guard, shop = agent(host, spans, bighub, REFUND, approvals=approvals)
    runner.run(graph, PLEASE)
    runner.run(graph, APPROVE)
    guard.close()
    assert shop.ran == []
    waited = spans.single("bighub.approval")
    assert attributes(waited)["bighub.approval.state"] == "expired"


def test_a_call_that_a_new_message_cancels_shows_how_long_it_has_waited(
    host: str, runner: Runner, spans: Spans
) -> None:
    bighub = ScriptedBighub("review_recommended")
    graph, guard, _ = agent(host, spans, bighub, REFUND)
    runner.run(graph, PLEASE)
    runner.run(graph, PLEASE)
    guard.close()
    waited = spans.single("bighub.approval")
    assert is_child(waited, spans.single("execute_tool refund"))
    assert attributes(waited)["bighub.approval.state"] == "cancelled"


def test_a_call_that_waited_for_its_start_shows_that_it_was_cancelled(
    spans: Spans, tmp_path: Path
) -> None:
    journal = Journal(tmp_path / "calls.db")
    note = call("look_up", "call-2", order_id="o-1")
    bighub = ScriptedBighub("review_recommended", look_up="proceed")
    graph, guard, _ = agent("middleware", spans, bighub, REFUND, note, journal=journal)
    Runner("blocking").run(graph, PLEASE)  # `look_up` waits for the answer about the refund
    inbox = ApprovalInbox(journal, telemetry=spans.telemetry())
    [view] = journal.admin.calls(tool="look_up")
    inbox.cancel(view.record.key, "withdrawn", approver=Approver("ann"))
    guard.close()
    journal.close()
    waited = spans.single("bighub.wait")
    assert is_child(waited, spans.single("execute_tool look_up"))
    assert attributes(waited)["bighub.status"] == "cancelled"
    assert "withdrawn" not in spans.text()


SERVED = """
import asyncio, httpx
from opentelemetry import trace
from bighub_langgraph.local.engine import Engine
from bighub_langgraph.local.server.http_app import create_app
from tests.traces import Spans

async def main():
    with Engine("sqlite://") as engine:
        transport = httpx.ASGITransport(create_app(engine))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            header = f"00-{'a' * 32}-{'b' * 16}-01"
            body = {"action": "refund", "actor": "AI_AGENT"}
            await client.post("/actions/evaluate", json=body, headers={"traceparent": header})

spans = Spans()
trace.set_tracer_provider(spans.provider)
asyncio.run(main())
[span] = spans.ended
print(span.name, f"{span.parent.trace_id:x}", f"{span.parent.span_id:x}", span.kind.name)
"""


def test_a_request_to_the_server_belongs_to_the_trace_of_its_caller() -> None:
    assert run_python(SERVED).split() == ["POST", "/actions/evaluate", "a" * 32, "b" * 16, "SERVER"]


# -- off -------------------------------------------------------------------------------------------

OFF = """
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "opentelemetry":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, NotInstalled())
from bighub_langgraph import BighubGuard
from bighub_langgraph.testing import ScriptedBighub

def refund(amount: float) -> str:
    "Refund."
    return "refunded"

with BighubGuard(bighub=ScriptedBighub()) as guard:
    [guarded] = guard.wrap_tools([refund])
    print(guarded.invoke({"amount": 1.0}), guard.telemetry.is_on)
"""


def test_calls_run_without_the_package() -> None:
    assert run_python(OFF).splitlines() == ["refunded False"]


def test_a_guard_does_not_import_the_package() -> None:
    code = (
        "import sys; from bighub_langgraph import BighubGuard, Telemetry;"
        "from bighub_langgraph.testing import ScriptedBighub;"
        "BighubGuard(bighub=ScriptedBighub()).evaluate('refund', {});"
        "print('opentelemetry' in sys.modules)"
    )
    assert run_python(code).strip() == "False"


def test_the_api_alone_is_no_provider() -> None:
    code = "import opentelemetry.trace, bighub_langgraph as b; print(b.Telemetry().is_on)"
    assert run_python(code).strip() == "False"


def test_the_providers_of_the_application_are_used() -> None:
    code = (
        "import bighub_langgraph as b; t = b.Telemetry(); from opentelemetry import trace;"
        "from opentelemetry.sdk.trace import TracerProvider;"
        "trace.set_tracer_provider(TracerProvider()); print(t.is_on)"
    )
    assert run_python(code).strip() == "True"
