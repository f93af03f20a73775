"""The question a person gets about calls, and what becomes of the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, NamedTuple

from langchain_core.messages import ToolMessage
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
    parse_answers,
    record_answer,
)
from bighub_langgraph.core.models import Answer, Approval, CallRecord, State, ToolCall
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.recovery import resolve_unknown
from bighub_langgraph.core.reporting import build_event
from bighub_langgraph.graph.langgraph_internals import authenticated_user
from bighub_langgraph.graph.plan import CHANNEL, Plan, PlannedCall, next_action, plan_call, subplan
from bighub_langgraph.graph.tool_execution import GraphHost
from bighub_langgraph.graph.tool_messages import emit_event, record_message
from bighub_langgraph.graph.validation import find_argument_errors


async def ask_person(
    plan: Plan, tools: Mapping[str, BaseTool] | None, config: RunnableConfig, host: GraphHost
) -> tuple[Plan, list[ToolMessage]]:
    """Ask a person about all calls of a plan, in one interrupt.

    One question per task: a second one would get the answer to the first. After an invalid response
    the plan says why it is invalid, and its calls are asked about again by another task.

    Returns:
        The plan after the answers, and the messages of the calls that go no further.
    """
    records = await host.ports.find([call["key"] or "" for call in plan["calls"]])
    if len(records) < len(plan["calls"]):
        # The journal was in memory and lost a record: its old decision permits nothing.
        lost: list[PlannedCall] = [
            {**call, "key": None, "next": "evaluate"} for call in plan["calls"]
        ]
        return subplan(plan, lost), []
    # The question is built from the checkpointed plan alone, so that positions cannot shift between
    # question and answer, whatever became of the records meanwhile.
    request = ApprovalRequest(plan, records, host.runtime.settings, tools)
    response = request.ask()
    try:
        answers = request.parse(response)
    except InvalidApprovalResponse as error:
        return subplan(plan, plan["calls"], unclear=str(error)), []
    answered_calls = await request.record_answers(answers, config, host.ports)
    planned = {call.planned["id"]: call.planned for call in answered_calls}
    calls = [planned.get(call["id"], call) for call in plan["calls"]]
    done = [call.record for call in answered_calls if call.planned["next"] == "done"]
    return subplan(plan, calls), [record_message(record) for record in done]


class AnsweredCall(NamedTuple):
    """One call after its answer, with what comes next, and the record that was asked about.

    After an edit that came first, `planned` is the edited call, which is evaluated next.
    """

    planned: PlannedCall
    record: CallRecord


class ApprovalRequest:
    """One interrupt about some calls of a turn, and how its answer is read and recorded.

    Answers come in the order of the plan's calls. Edits are checked against `tools`; they are not
    allowed where the caller can run no other arguments than these.
    """

    def __init__(
        self,
        plan: Plan,
        records: Mapping[str, CallRecord],
        settings: GuardSettings,
        tools: Mapping[str, BaseTool] | None,
        *,
        allow_edits: bool = True,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._tools = tools or {}
        self._calls = {call["id"]: (call, records[call["key"] or ""]) for call in plan["calls"]}
        self._pending = [
            _pending_approval(call, record, settings, allow_edits=allow_edits)
            for call, record in self._calls.values()
        ]

    def ask(self) -> Any:
        """Interrupt: one `HITLRequest` for all calls, or one `tool_approval` for one call.

        Any response is returned, so that an invalid one can be asked about again.
        """
        schema = build_answer_schema(self._pending[0].allowed) if self._plan["per_call"] else None
        return interrupt(self._payload(), response_schema=schema)

    def ask_once(self) -> list[ApprovalAnswer]:
        """Interrupt where asking again is not possible: LangGraph refuses an invalid response.

        It raises at the caller, nothing of it is saved, and the question stays open.
        """
        schema = build_answer_schema(self._pending[0].allowed)
        if not self._plan["per_call"]:
            decisions = {"type": "array", "items": schema}
            schema = {"type": "object", "properties": {"decisions": decisions}}
        checked = Annotated[Any, BeforeValidator(self._check), WithJsonSchema(schema)]
        return self.parse(interrupt(self._payload(), response_schema=checked))

    def parse(self, response: object) -> list[ApprovalAnswer]:
        """Parse a response.

        Raises:
            InvalidApprovalResponse: The response is invalid; the message says why.
        """
        answers = parse_answers(response, self._pending)
        for answer in answers:
            self._check_edit(answer)
        return answers

    async def record_answers(
        self, answers: Sequence[ApprovalAnswer], config: RunnableConfig, ports: Ports
    ) -> list[AnsweredCall]:
        """Record answers in the journal. Where another answer came first, that one counts."""
        return [await self._record_answer(answer, config, ports) for answer in answers]

    def _payload(self) -> dict[str, Any]:
        requests = [self._action_request(*pair) for pair in self._calls.values()]
        if self._plan["per_call"]:
            call_id = self._pending[0].call_id
            return {"type": "tool_approval", "tool_call_id": call_id, **requests[0]}
        allowed = {pending.tool: pending.allowed for pending in self._pending}
        configs = [
            {"action_name": name, "allowed_decisions": [answer.value for answer in answers]}
            for name, answers in allowed.items()
        ]
        return {"action_requests": requests, "review_configs": configs}

    def _action_request(self, call: PlannedCall, record: CallRecord) -> dict[str, Any]:
        describe = self._settings.approvals.describe or describe_call
        description = describe(record, call["args"])
        if unclear := self._plan["unclear"]:
            description = f"The last answer was not understood: {unclear}\n{description}"
        return {
            "name": call["name"],
            "args": call["args"],
            "description": description,
            CHANNEL: build_evidence(record),
        }

    def _check(self, response: object) -> object:
        try:
            self.parse(response)
        except InvalidApprovalResponse as error:
            raise ValueError(str(error)) from error
        return response

    def _check_edit(self, answer: ApprovalAnswer) -> None:
        if answer.arguments is None or not self._tools:
            return
        if answer.tool not in self._tools:
            raise InvalidApprovalResponse(f"an edit names {answer.tool!r}, which is no tool here")
        if error := find_argument_errors(self._tools[answer.tool], answer.arguments):
            raise InvalidApprovalResponse(error)

    async def _record_answer(
        self, answer: ApprovalAnswer, config: RunnableConfig, ports: Ports
    ) -> AnsweredCall:
        call, record = self._calls[answer.call_id]
        edited = self._edited_call(answer, call)
        approval = self._approval(answer, edited, authenticated_user(config), ports.clock())
        record_it = resolve_unknown if record.state is State.UNKNOWN else record_answer
        record = await record_it(record, approval, ports)
        emit_event(build_event("approval", record))
        # Where another answer came first, that one counts.
        recorded = record.approval if record.state is State.EDITED else None
        if edited is not None and recorded is not None and recorded.edited_to == edited.key:
            planned = plan_call(edited, None, "evaluate")
            planned["edit"] = {"approval": asdict(approval), "edited_from": record.key}
        else:
            planned = call.copy()
            planned["next"] = next_action(record, self._settings)
        return AnsweredCall(planned, record)

    def _edited_call(self, answer: ApprovalAnswer, call: PlannedCall) -> ToolCall | None:
        """Return the call as a person edited it; None where it was not edited."""
        if answer.arguments is None:
            return None
        plan, arguments = self._plan, dict(answer.arguments)
        return ToolCall(plan["thread"], plan["turn"], call["id"], answer.tool, arguments)

    def _approval(
        self, answer: ApprovalAnswer, edited: ToolCall | None, user: str | None, at: float
    ) -> Approval:
        lifetime = self._settings.approvals.expires_after
        return Approval(
            answer=answer.answer,
            at=at,
            text=answer.text,
            comment=answer.comment,
            approver=user or answer.approver,
            verified=user is not None,
            expires_at=None if lifetime is None else at + lifetime,
            edited_to=edited.key if edited else "",
        )


def _pending_approval(
    call: PlannedCall, record: CallRecord, settings: GuardSettings, *, allow_edits: bool
) -> PendingApproval:
    # Other arguments cannot resolve an unknown outcome; all other answers are needed for it.
    is_unknown = record.state is State.UNKNOWN
    allowed = list(Answer) if is_unknown else settings.allowed_decisions(call["name"])
    if is_unknown or not allow_edits:
        allowed = [answer for answer in allowed if answer is not Answer.EDIT] or [Answer.REJECT]
    allow_tool_change = settings.approvals.allow_tool_change
    return PendingApproval(call["id"], call["name"], call["args"], allowed, allow_tool_change)
