"""What a person is asked of calls, and what becomes of the answers, for every host that can ask."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.types import interrupt
from pydantic import BeforeValidator, WithJsonSchema

from bighub_langgraph.core.approval_answers import (
    ApprovalAnswer,
    InvalidApprovalResponse,
    PendingApproval,
    build_answer_schema,
    build_evidence,
    describe_call,
    has_same_arguments,
    parse_answers,
)
from bighub_langgraph.core.execution import record_answer, resolve_unknown
from bighub_langgraph.core.models import Answer, Approval, CallRecord, State, ToolCall
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.reporting import build_event
from bighub_langgraph.graph.answering import tell
from bighub_langgraph.graph.checks import misfit
from bighub_langgraph.graph.state import CHANNEL, Plan, Planned, authenticated_user
from bighub_langgraph.guard import BighubGuard


class Settled(NamedTuple):
    """One call after its answer.

    Attributes:
        call: What the person was asked about.
        record: What the journal says of it now.
        edited: The call to evaluate next, where this answer was an edit and came first.
    """

    call: Planned
    record: CallRecord
    edited: Planned | None


class Question:
    """One question about some calls of a turn, and how its answer is read and settled.

    Args:
        plan: The calls to ask about, in the order in which answers come.
        records: What the journal says of them, by key.
        guard: Whose approval policy holds.
        tools: The tools there are, to check edited arguments against.
        edits: Whether the one who asks can run other arguments than these.
    """

    def __init__(
        self,
        plan: Plan,
        records: Mapping[str, CallRecord],
        guard: BighubGuard,
        tools: Mapping[str, BaseTool] | None,
        *,
        edits: bool = True,
    ) -> None:
        self._plan = plan
        self._guard = guard
        self._tools = tools or {}
        self._pairs = [(one, records[one["key"] or ""]) for one in plan["calls"]]
        self._asked = [_asked(one, record, guard, edits=edits) for one, record in self._pairs]

    def ask(self) -> Any:
        """Interrupt: one `HITLRequest` for all calls, or one `tool_approval` for one call.

        Whatever comes back is returned, so that an answer nobody understands can be asked again.
        """
        if self._plan.get("per_call"):
            return interrupt(
                self._value(), response_schema=build_answer_schema(self._asked[0].allowed)
            )
        return interrupt(self._value())

    def ask_once(self) -> list[ApprovalAnswer]:
        """Interrupt where asking again is not possible: LangGraph refuses an unclear answer.

        Such an answer raises at the caller, nothing of it is saved, and the question stays open.
        """
        schema = build_answer_schema(self._asked[0].allowed)
        if not self._plan.get("per_call"):
            listed = {"type": "array", "items": schema}
            schema = {"type": "object", "properties": {"decisions": listed}}
        understood = Annotated[Any, BeforeValidator(self._checked), WithJsonSchema(schema)]
        return self.read(interrupt(self._value(), response_schema=understood))

    def read(self, said: object) -> list[ApprovalAnswer]:
        """The answers in what came back; an `UnclearAnswer` says what is wrong with it."""
        given = parse_answers(said, self._asked)
        for one in given:
            self._refuse_misfit(one)
        return given

    async def settle(
        self, given: Sequence[ApprovalAnswer], config: RunnableConfig, ports: Ports
    ) -> list[Settled]:
        """Write answers into the journal. Where somebody else's came first, that one counts."""
        return [await self._settle(one, config, ports) for one in given]

    def unanswered(self, given: Sequence[ApprovalAnswer]) -> list[Planned]:
        """The calls that got no answer."""
        answered = {one.call_id for one in given}
        return [call for call, _ in self._pairs if call["id"] not in answered]

    def _value(self) -> dict[str, Any]:
        unclear = self._plan.get("unclear", "")
        requests = [_request(one, record, self._guard, unclear) for one, record in self._pairs]
        if self._plan.get("per_call"):
            return {
                "type": "tool_approval",
                "tool_call_id": self._asked[0].call_id,
                **requests[0],
            }
        allowed = {one.tool: one.allowed for one in self._asked}
        configs = [
            {"action_name": name, "allowed_decisions": [one.value for one in answers]}
            for name, answers in allowed.items()
        ]
        return {"action_requests": requests, "review_configs": configs}

    def _checked(self, said: object) -> object:
        try:
            self.read(said)
        except InvalidApprovalResponse as error:
            raise ValueError(str(error)) from error
        return said

    def _refuse_misfit(self, given: ApprovalAnswer) -> None:
        if given.arguments is None or not self._tools:
            return
        if given.tool not in self._tools:
            raise InvalidApprovalResponse(f"an edit names {given.tool!r}, which is no tool here")
        if fault := misfit(self._tools[given.tool], given.arguments):
            raise InvalidApprovalResponse(fault)

    async def _settle(self, given: ApprovalAnswer, config: RunnableConfig, ports: Ports) -> Settled:
        call, record = next(pair for pair in self._pairs if pair[0]["id"] == given.call_id)
        approval = self._approval(given, call, authenticated_user(config), ports.clock())
        move = resolve_unknown if record.state is State.UNKNOWN else record_answer
        settled = await move(record, approval, ports)
        tell(build_event("approval", settled))
        edited = _edited(call, given, approval, settled) if _won(approval, settled) else None
        return Settled(call, settled, edited)

    def _approval(
        self, given: ApprovalAnswer, call: Planned, known: str | None, at: float
    ) -> Approval:
        after = self._guard.runtime.settings.approvals.expires_after
        edits = given.arguments is not None and not _changes_nothing(given, call)
        return Approval(
            answer=given.answer if edits or given.arguments is None else Answer.APPROVE,
            at=at,
            text=given.text,
            comment=given.comment,
            approver=known or given.approver,
            verified=known is not None,
            expires_at=None if after is None else at + after,
            edited_to=_call(self._plan, call, given).key if edits else "",
        )


def _asked(
    call: Planned, record: CallRecord, guard: BighubGuard, *, edits: bool
) -> PendingApproval:
    # Other arguments cannot settle what became of a call in doubt, and it needs all other answers.
    doubtful = record.state is State.UNKNOWN
    allowed = list(Answer) if doubtful else guard.runtime.settings.allowed_decisions(call["name"])
    if doubtful or not edits:
        allowed = [one for one in allowed if one is not Answer.EDIT] or [Answer.REJECT]
    switch = guard.runtime.settings.approvals.allow_tool_change
    return PendingApproval(call["id"], call["name"], call["args"], allowed, switch)


def _request(call: Planned, record: CallRecord, guard: BighubGuard, unclear: str) -> dict[str, Any]:
    told = guard.runtime.settings.approvals.describe or describe_call
    description = told(record, call["args"])
    if unclear:
        description = f"The last answer was not understood: {unclear}\n{description}"
    return {
        "name": call["name"],
        "args": call["args"],
        "description": description,
        CHANNEL: build_evidence(record),
    }


def _call(plan: Plan, call: Planned, given: ApprovalAnswer) -> ToolCall:
    arguments = given.arguments or {}
    return ToolCall(plan["thread"], plan["turn"], call["id"], given.tool, arguments)


def _changes_nothing(given: ApprovalAnswer, call: Planned) -> bool:
    return (
        given.arguments is not None
        and given.tool == call["name"]
        and has_same_arguments(given.arguments, call["args"])
    )


def _won(mine: Approval, record: CallRecord) -> bool:
    theirs = record.approval
    same = theirs is not None and theirs.edited_to == mine.edited_to
    return record.state is State.EDITED and bool(mine.edited_to) and same


def _edited(
    call: Planned, given: ApprovalAnswer, approval: Approval, record: CallRecord
) -> Planned:
    return Planned(
        id=call["id"],
        name=given.tool,
        args=dict(given.arguments or {}),
        key=None,
        next="evaluate",
        edit={"approval": asdict(approval), "edited_from": record.key},
    )
