"""The support desk: lets the agent serve one request and tells what becomes of each tool call."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langgraph.errors import GraphRecursionError
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command

from bighub_langgraph.cli.demo.approving import Approver
from bighub_langgraph.cli.demo.models import ModelFailed
from bighub_langgraph.cli.demo.requests import Request
from bighub_langgraph.cli.demo.seen import Seen
from bighub_langgraph.core.models import State, Verdict

Agent = CompiledStateGraph[Any, Any, Any, Any]

# What was decided shows in the state that a call is in right after the decision.
VERDICTS = {
    State.ALLOWED: Verdict.EXECUTE,
    State.AWAITING: Verdict.REVIEW,
    State.BLOCKED: Verdict.BLOCK,
}
OUTCOMES = {
    State.EXECUTED: "SUCCESS",
    State.TOOL_ERROR: "FAILURE",
    State.BLOCKED: "BLOCKED",
    State.ANSWERED: "BLOCKED",
}


class Conversation:
    """One request on one thread of the agent, answered to its end."""

    def __init__(self, number: int, request: Request, thread: str, approve: Approver) -> None:
        self._number = number
        self._request = request
        self._config: Any = {"configurable": {"thread_id": thread}}
        self._approve = approve
        self._calls: dict[str, Seen] = {}

    def serve(self, agent: Agent) -> Iterator[Seen]:
        """Run the agent; each tool call comes out when it has ended."""
        text = f"{self._request.customer}: {self._request.text}"
        asked: Any = {"messages": [HumanMessage(text)]}
        while asked is not None:
            parts = self._stream(agent, asked)
            asked = None
            for mode, part in parts:
                if mode == "custom":
                    yield from self._heard(part)
                elif "__interrupt__" in part:
                    asked = self._answers(part["__interrupt__"])
                else:
                    yield from self._read(part)

    def _stream(self, agent: Agent, asked: Any) -> Iterator[Any]:
        try:
            yield from agent.stream(asked, self._config, stream_mode=["updates", "custom"])
        except GraphRecursionError as error:
            raise ModelFailed(
                f"it never stopped calling tools in request {self._number}"
            ) from error

    def _read(self, updates: Mapping[str, Any]) -> Iterator[Seen]:
        """Note the calls that the model proposes, and settle those that no event tells of."""
        for message in _messages(updates):
            if isinstance(message, AIMessage):
                for call in message.tool_calls:
                    seen = Seen(self._number, call["name"], call["args"])
                    self._calls[str(call["id"])] = replace(seen, trouble=self._trouble(seen))
            elif isinstance(message, ToolMessage):
                yield from self._settle(message)

    def _settle(self, message: ToolMessage) -> Iterator[Seen]:
        """A read, or a call that could not even be proposed, ends with its tool message."""
        known = self._calls.get(message.tool_call_id)
        if known is not None and known.verdict is None and not known.outcome:
            outcome = "FAILURE" if message.status == "error" else "SUCCESS"
            yield self._note(message.tool_call_id, outcome=outcome)

    def _trouble(self, seen: Seen) -> Any:
        later = self._request.later
        return later if later is not None and later.tool == seen.tool else None

    def _heard(self, event: Mapping[str, Any]) -> Iterator[Seen]:
        """Note a decision, an approval or an outcome of the guard; a call that ended comes out."""
        call_id, state = event["call_id"], State(event["state"])
        if event["event"] == "decision":
            self._note(
                call_id,
                verdict=VERDICTS[state],
                recommendation=event["recommendation"],
                confidence=event["confidence"] or "",
                risk=event["risk_score"],
                request_id=event["request_id"],
            )
        if "approval" in event:
            self._note(call_id, approved=event["approval"]["answer"] == "approve")
        if state in OUTCOMES and not self._calls[call_id].outcome:
            yield self._note(call_id, outcome=OUTCOMES[state])

    def _note(self, call_id: str, **found: Any) -> Seen:
        self._calls[call_id] = noted = replace(self._calls[call_id], **found)
        return noted

    def _answers(self, interrupts: Sequence[Any]) -> Command[Any]:
        asked = [one for each in interrupts for one in each.value["action_requests"]]
        return Command(resume={"decisions": [self._answer(one) for one in asked]})

    def _answer(self, asked: Mapping[str, Any]) -> dict[str, str]:
        if self._approve(asked):
            return {"type": "approve"}
        return {"type": "reject", "message": "A person at the support desk said no."}


def _messages(updates: Mapping[str, Any]) -> Iterator[BaseMessage]:
    for update in updates.values():
        found = update.get("messages", ()) if isinstance(update, Mapping) else ()
        yield from found if isinstance(found, Sequence) else (found,)
