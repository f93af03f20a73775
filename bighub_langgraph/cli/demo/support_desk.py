"""The support desk: its agent serves requests, a person approves, late outcomes are reported."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from rich.console import Console

from bighub_langgraph import BighubGuard
from bighub_langgraph.cli.console import print_line
from bighub_langgraph.cli.demo.demo_command import Approve
from bighub_langgraph.cli.demo.scenario import LateOutcome, Request
from bighub_langgraph.core.models import Verdict

Agent = CompiledStateGraph[Any, Any, Any, Any]
Approver = Callable[[Mapping[str, Any]], bool]
# Returns what the agent is resumed with, from the action requests of an interrupt.
Responder = Callable[[Sequence[Mapping[str, Any]]], Mapping[str, Any]]

OUTCOMES = {"executed": "SUCCESS", "tool_error": "FAILURE", "blocked": "BLOCKED"}


@dataclass(slots=True)
class DemoCall:
    """One tool call of the agent, from BIGHUB's decision to its outcome.

    Attributes:
        request: The number of the customer's request, from 1.
        late_outcome: The outcome that is discovered later if the call is executed.
        verdict: What the guard did; None if the call was not evaluated.
        approved: The person's answer, if there was a review.
        outcome: The outcome that showed at once: SUCCESS, FAILURE or BLOCKED.
    """

    request: int
    tool: str
    arguments: Mapping[str, Any]
    late_outcome: LateOutcome | None = None
    verdict: Verdict | None = None
    recommendation: str = ""
    confidence: str = ""
    risk: float | None = None
    request_id: str | None = None
    approved: bool | None = None
    outcome: str = ""

    @property
    def is_bad(self) -> bool:
        """Whether the call went wrong, or would have if it had been executed."""
        return self.late_outcome is not None or self.outcome == "FAILURE"

    def apply_event(self, event: Mapping[str, Any]) -> None:
        """Apply an event that the guard emits about this call."""
        if event["event"] == "decision":
            self.verdict = Verdict(event["verdict"])
            self.recommendation = event["recommendation"]
            self.confidence = event["confidence"] or ""
            self.risk = event["risk_score"]
            self.request_id = event["request_id"]
        if "approval" in event:
            self.approved = event["approval"]["answer"] in {"approve", "edit"}
        self.outcome = OUTCOMES.get(event["status"], "")


def serve_request(
    agent: Agent, number: int, request: Request, *, thread_id: str, respond: Responder
) -> Iterator[DemoCall]:
    """Run the agent on one request and yield each tool call when it has ended."""
    # One call after the other, so that two runs are alike. LangGraph keeps one of the two itself.
    config: Any = {"configurable": {"thread_id": thread_id}, "max_concurrency": 2}
    graph_input: Any = {"messages": [HumanMessage(f"{request.customer}: {request.text}")]}
    calls: dict[str, DemoCall] = {}
    while graph_input is not None:
        stream: Any = agent.stream(graph_input, config, stream_mode=["updates", "custom"])
        graph_input = None
        for mode, part in stream:
            if mode == "custom":
                call = calls[part["call_id"]]
                has_ended = bool(call.outcome)
                call.apply_event(part)
                if call.outcome and not has_ended:
                    yield call
            elif "__interrupt__" in part:
                graph_input = _answer(part["__interrupt__"], respond)
            else:
                yield from _apply_messages(part, calls, number, request)


def _apply_messages(
    updates: Mapping[str, Any], calls: dict[str, DemoCall], number: int, request: Request
) -> Iterator[DemoCall]:
    """Add the calls that the model proposes; yield the read-only and invalid ones that ended."""
    messages = [(update or {}).get("messages", ()) for update in updates.values()]
    for message in chain.from_iterable(messages):
        if isinstance(message, AIMessage):
            late_outcome = request.late_outcome
            for tool_call in message.tool_calls:
                call = DemoCall(number, tool_call["name"], tool_call["args"])
                if late_outcome is not None and late_outcome.tool == call.tool:
                    call.late_outcome = late_outcome
                calls[str(tool_call["id"])] = call
        elif isinstance(message, ToolMessage):
            call = calls[message.tool_call_id]
            if call.verdict is None and not call.outcome:
                call.outcome = "FAILURE" if message.status == "error" else "SUCCESS"
                yield call


def _answer(interrupts: Sequence[Any], respond: Responder) -> Command[Any]:
    requests = [item for interrupt in interrupts for item in interrupt.value["action_requests"]]
    return Command(resume=respond(requests))


def decide_each(approve: Approver, requests: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Approve or reject each of some calls."""
    rejection = {"type": "reject", "message": "A person at the support desk rejected it."}
    decisions = [{"type": "approve"} if approve(item) else rejection for item in requests]
    return {"decisions": decisions}


def report_late_outcomes(calls: Sequence[DemoCall], guard: BighubGuard) -> None:
    """Report to BIGHUB what was discovered about executed calls."""
    guard.flush()  # BIGHUB must know the outcomes that these correct
    for call in calls:
        if call.late_outcome is not None:
            guard.client.outcomes.report(
                request_id=call.request_id,
                status=call.late_outcome.status,
                description=call.late_outcome.reason,
                production_action=call.tool,
                reported_by="bighub-langgraph demo",
            )


def create_approver(approve: Approve, console: Console) -> Approver:
    """Create a function that approves or rejects the action requests of an interrupt.

    With "ask" it asks at the terminal and raises `EOFError` if there is no answer.
    """
    approve_rest = approve == "yes"

    def approve_call(action_request: Mapping[str, Any]) -> bool:
        nonlocal approve_rest
        if approve_rest or approve == "no":
            return approve_rest
        for line in action_request["description"].split("\n"):
            print_line(line, to=console)
        answer = ""
        while answer not in {"y", "n", "a"}:
            answer = console.input("   run it? \\[y]es, \\[n]o, \\[a]ll yes: ").strip().lower()[:1]
        approve_rest = answer == "a"
        return answer != "n"

    return approve_call
