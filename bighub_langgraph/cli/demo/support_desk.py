"""The support desk: its agent serves a request, and people approve what needs an approval."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import chain
from time import sleep
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command
from rich.console import Console

from bighub_langgraph.cli.console import print_line
from bighub_langgraph.cli.demo.world import LateOutcome, Request
from bighub_langgraph.core.approval_answers import RECORDED
from bighub_langgraph.core.models import State, Verdict
from bighub_langgraph.core.ports import JournalPort

Agent = CompiledStateGraph[Any, Any, Any, Any]
# Whether a call is approved, by its request and its action request.
Approver = Callable[[Request, Mapping[str, Any]], bool]
# Returns what the agent is resumed with, from the action requests of an interrupt.
Responder = Callable[[Request, Sequence[Mapping[str, Any]]], Mapping[str, Any]]

QUESTIONS_IN_TERMINAL = 3
# How often it is looked whether a person has answered on the page, in seconds.
POLL = 0.2


@dataclass(slots=True)
class DemoCall:
    """One tool call of the agent, from BIGHUB's decision to its outcome.

    Attributes:
        verdict: What the guard did; None if the call was not evaluated.
        is_approved: The person's answer, if there was a review.
        statuses: BIGHUB's statuses of the call so far, in order.
        stake: The money it is about.
    """

    request: Request
    tool: str
    arguments: Mapping[str, Any]
    stake: float = 0.0
    verdict: Verdict | None = None
    recommendation: str = ""
    confidence: str = ""
    risk: float | None = None
    request_id: str | None = None
    is_approved: bool | None = None
    statuses: list[str] = field(default_factory=list)

    @property
    def status(self) -> str:
        """BIGHUB's latest status of the call."""
        return self.statuses[-1] if self.statuses else ""

    @property
    def late_outcome(self) -> LateOutcome | None:
        """What is discovered later if the call is executed."""
        late = self.request.late_outcome
        return late if late is not None and late.tool == self.tool else None

    @property
    def is_bad(self) -> bool:
        """Whether the call went wrong, or would have if it had been executed."""
        return self.request.is_bad or self.status == "tool_error"

    @property
    def is_automatic(self) -> bool:
        """Whether it was executed without approval."""
        return self.verdict is Verdict.EXECUTE

    @property
    def has_ended(self) -> bool:
        """Whether it was executed, failed or was blocked."""
        return self.status in {"executed", "tool_error", "blocked"}

    @property
    def loss(self) -> float:
        """What the call costs the shop later if it is executed."""
        return 0.0 if self.late_outcome is None else self.late_outcome.loss

    def apply_event(self, event: Mapping[str, Any]) -> None:
        """Apply an event that the guard emits about this call."""
        if event["event"] == "decision":
            self.verdict = Verdict(event["verdict"])
            self.recommendation = event["recommendation"]
            self.confidence = event["confidence"] or ""
            self.risk = event["risk_score"]
            self.request_id = event["request_id"]
        if "approval" in event:
            self.is_approved = event["approval"]["answer"] in {"approve", "edit"}
        if event["status"] and event["status"] != self.status:
            self.statuses.append(event["status"])


def serve_request(
    agent: Agent, request: Request, *, thread_id: str, respond: Responder
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
                had_ended = call.has_ended
                call.apply_event(part)
                if call.has_ended and not had_ended:
                    yield call
            elif "__interrupt__" in part:
                graph_input = _answer(part["__interrupt__"], request, respond)
            else:
                yield from _apply_messages(part, calls, request)


def _apply_messages(
    updates: Mapping[str, Any], calls: dict[str, DemoCall], request: Request
) -> Iterator[DemoCall]:
    """Add the calls that the model proposes; yield the read-only and invalid ones that ended."""
    messages = [(update or {}).get("messages", ()) for update in updates.values()]
    for message in chain.from_iterable(messages):
        if isinstance(message, AIMessage):
            for tool_call in message.tool_calls:
                call = DemoCall(request, tool_call["name"], tool_call["args"])
                calls[str(tool_call["id"])] = call
        elif isinstance(message, ToolMessage):
            call = calls[message.tool_call_id]
            if call.verdict is None and not call.has_ended:
                call.statuses.append("tool_error" if message.status == "error" else "executed")
                yield call


def _answer(interrupts: Sequence[Any], request: Request, respond: Responder) -> Command[Any]:
    requests = [item for interrupt in interrupts for item in interrupt.value["action_requests"]]
    return Command(resume=respond(request, requests))


def decide_each(
    approve: Approver, request: Request, action_requests: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """Approve or reject each of some calls."""
    rejection = {"type": "reject", "message": "A person at the support desk rejected it."}
    decisions = [
        {"type": "approve"} if approve(request, item) else rejection for item in action_requests
    ]
    return {"decisions": decisions}


def wait_for_answers(
    journal: JournalPort,
    interrupt: Callable[[], AbstractContextManager[None]],
    _request: Request,
    action_requests: Sequence[Mapping[str, Any]],
) -> Mapping[str, Any]:
    """Return what an agent is resumed with, once its calls are answered on the page."""
    keys = [request["bighub"]["key"] for request in action_requests]
    with interrupt():
        while any(record.state is State.AWAITING for record in journal.find(keys).values()):
            sleep(POLL)
    return RECORDED


@dataclass(slots=True)
class SimulatedPerson:
    """Approves what will turn out well and rejects fraud and mistakes, mostly.

    That a tool will fail is not to be seen in advance.

    Attributes:
        accuracy: The share of the answers that are right; None approves or rejects everything.
        approves_all: The answer where there is no accuracy.
    """

    accuracy: float | None
    approves_all: bool = False

    def approves(self, request: Request) -> bool:
        """Return the answer about a request; it is always the same."""
        if self.accuracy is None:
            return self.approves_all
        return (request.late_outcome is None) == (request.draw < self.accuracy)

    def __call__(self, request: Request, action_request: Mapping[str, Any]) -> bool:
        """Answer an action request."""
        del action_request
        return self.approves(request)


@dataclass(slots=True)
class TerminalPerson:
    """Asks at the terminal about a few calls, of different tools, and leaves the rest.

    Attributes:
        pause: Holds up what else is printed meanwhile.
    """

    console: Console
    rest: SimulatedPerson
    pause: Callable[[], AbstractContextManager[Any]]
    tools: set[str] = field(default_factory=set)
    is_over: bool = False

    def __call__(self, request: Request, action_request: Mapping[str, Any]) -> bool:
        """Answer an action request.

        Raises:
            EOFError: There is no answer.
        """
        name = str(action_request["name"])
        if self.is_over or name in self.tools or len(self.tools) == QUESTIONS_IN_TERMINAL:
            return self.rest.approves(request)
        self.tools.add(name)
        with self.pause():
            print_line(f"{request.customer}: {request.text}", to=self.console)
            for line in action_request["description"].split("\n"):
                print_line(f"  {line}", to=self.console)
            answer = self._read_answer()
        self.is_over = answer == "s"
        return self.rest.approves(request) if self.is_over else answer == "y"

    def _read_answer(self) -> str:
        number = f"{len(self.tools)} of {QUESTIONS_IN_TERMINAL}"
        question = f"  question {number}, run it? \\[y]es, \\[n]o, \\[s]top asking: "
        answer = ""
        while answer not in {"y", "n", "s"}:
            answer = self.console.input(question).strip().lower()[:1]
        return answer
