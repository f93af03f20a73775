"""One process of a traced agent: `python -m tests.trace_worker DIRECTORY STEP URL`.

A step is `ask`, `resume` or `cancel`; the URL is that of a receiver of spans. All processes set
OpenTelemetry's global provider, as an application does.
"""

import sys
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.types import Command
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from typer.testing import CliRunner

from bighub_langgraph import BighubGuard, Journal, create_guarded_agent
from bighub_langgraph.approvals.inbox import ApprovalInbox
from bighub_langgraph.cli.app import app
from bighub_langgraph.testing import ScriptedBighub
from tests.agents import ScriptedModel, Shop, asks_for, call

CONFIG: Any = {"configurable": {"thread_id": "t"}}
SECRET = "sk-live-abcdefghijklmnop"
APPROVER = "ann@example.org"


def main() -> None:
    """Run a thread until it waits, resume it, or cancel its call."""
    directory, step, url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    provider = TracerProvider(resource=Resource.create({"service.name": step}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    trace.set_tracer_provider(provider)
    script = [asks_for(call("refund", order_id=SECRET, amount=40.0))] if step == "ask" else []
    model = ScriptedModel(script=[*script, "done"])
    if step == "cancel":
        cancel(directory)
        provider.shutdown()
        return
    journal = Journal(directory / "calls.db")
    bighub = ScriptedBighub("review_recommended")
    with (
        SqliteSaver.from_conn_string(str(directory / "threads.db")) as saver,
        BighubGuard(bighub=bighub, journal=journal) as guard,
    ):
        agent = create_guarded_agent(model, Shop().tools(), guard, checkpointer=saver)
        if step == "ask":
            with trace.get_tracer("application").start_as_current_span("invoke_agent support"):
                agent.invoke({"messages": [HumanMessage("please")]}, CONFIG)
        else:
            answer = {"resolution": "approved", "approver": APPROVER, "comment": SECRET}
            agent.invoke(Command(resume=answer), CONFIG)
    journal.close()
    provider.shutdown()


def cancel(directory: Path) -> None:
    """Cancel what waits, as an operator does."""
    location = str(directory / "calls.db")
    with ApprovalInbox(location) as inbox:
        [card] = inbox.list()
    arguments = ["calls", "cancel", card.key, "--reason", SECRET, "--journal", location]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output


if __name__ == "__main__":
    main()
