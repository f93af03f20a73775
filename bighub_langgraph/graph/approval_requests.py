"""The question a person gets about calls, and what becomes of the answers."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool

from bighub_langgraph.core.approval_answers import (
    UNKNOWN_ANSWERS,
    ApprovalAnswer,
    InvalidApprovalResponse,
    PendingApproval,
    block_call,
    is_recorded,
    parse_answers,
    record_answer,
)
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.evidence import build_evidence, one_line
from bighub_langgraph.core.lifecycle import EditApplied, find_objection, is_restricted
from bighub_langgraph.core.models import Answer, Approval, CallRecord, State, ToolCall
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import ApprovalQuestion, Ports
from bighub_langgraph.core.recovery import resolve_unknown
from bighub_langgraph.core.reporting import build_event
from bighub_langgraph.graph.approval_questions import (
    build_question,
    describe_question,
    response_schema,
    states_shown,
)
from bighub_langgraph.graph.edits import apply_edit, check_edit
from bighub_langgraph.graph.langgraph_internals import (
    ServerUser,
    StoredQuestions,
    ask,
    authenticated_user,
    is_addressed,
    stored_questions,
    unreadable_interrupts,
    waiting_answer,
    was_resumed,
)
from bighub_langgraph.graph.plan import (
    CHANNEL,
    Plan,
    PlannedCall,
    next_action,
    plan_call,
    reject_call,
    subplan,
)
from bighub_langgraph.graph.tool_execution import GraphHost
from bighub_langgraph.graph.tool_messages import emit_event

log = logging.getLogger("bighub_langgraph")

NOT_UNDERSTOOD = "the answer to the question about it was not understood: {}"
_UNCLEAR = "The last answer was not understood: {}"

_ASKABLE = frozenset({State.AWAITING, State.UNKNOWN})


async def ask_person(
    plan: Plan,
    tools: Mapping[str, BaseTool] | None,
    config: RunnableConfig,
    host: GraphHost,
    *,
    twice: bool = False,
) -> Plan:
    """Ask a person about all calls of a plan, in one interrupt; return the plan after the answers.

    After an invalid response the plan says why it is invalid, and another task asks about its calls
    again. With `twice` this task asks again, and a second invalid response ends the calls.
    """
    records = await host.ports.find([call["key"] or "" for call in plan["calls"]])
    if len(records) < len(plan["calls"]):
        # The journal was in memory and lost a record: its old decision permits nothing.
        lost_calls: list[PlannedCall] = [
            {**call, "key": None, "next": "evaluate"} for call in plan["calls"]
        ]
        return subplan(plan, lost_calls)
    if problem := unreadable_interrupts(config):
        reason = f"a person has to approve it, and {problem}"
        return await _end_calls(plan, records, reason, host)
    # The question is built from the checkpointed plan alone, so that positions cannot shift between
    # question and answer, whatever became of the records meanwhile.
    request = ApprovalRequest(plan, records, host.runtime.settings, tools)
    try:
        answers = await request.ask(config, host, leave_open=twice)
    except InvalidApprovalResponse as error:
        if not twice:
            return subplan(plan, plan["calls"], unclear=_UNCLEAR.format(one_line(str(error))))
        request.ask_again(str(error), config)
        return await _end_calls(plan, records, NOT_UNDERSTOOD.format(error), host)
    answered_calls = await request.record_answers(answers, config, host.ports)
    if twice and all(call.planned["next"] == "ask" for call in answered_calls):
        request.ask_more(config)
    return subplan(plan, [call.planned for call in answered_calls], unclear=request.note)


async def _end_calls(
    plan: Plan, records: Mapping[str, CallRecord], reason: str, host: GraphHost
) -> Plan:
    """Block the calls of a plan that nobody can be asked about."""
    calls = [call.copy() for call in plan["calls"]]
    for call in calls:
        record = await block_call(records[call["key"] or ""], reason, host.ports)
        call["next"] = next_action(record, host.runtime.settings)
    return subplan(plan, calls)


class AnsweredCall(NamedTuple):
    """One call after the question, with what comes next, and the record that was asked about.

    It is asked about again where no answer counts yet. After an edit that came first, `planned` is
    the edited call, which is evaluated next.
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
        self._allow_edits = allow_edits
        self._pending = self._pending_approvals({})
        self._earlier: Sequence[Any] = ()
        self.taken: Sequence[Any] = ()
        self.note = ""  # why an answer does not count

    async def ask(
        self,
        config: RunnableConfig,
        host: GraphHost,
        *,
        checked: bool = False,
        leave_open: bool = True,
        earlier: Sequence[Any] = (),
    ) -> list[ApprovalAnswer]:
        """Interrupt, and return the answers: one `HITLRequest` for all calls, or a `tool_approval`.

        Only an answer to this question is taken, as the checkpoint has it; any other answer that
        waits was given before it was asked. With `checked` LangGraph refuses an invalid response:
        it raises at the caller, nothing of it is saved, and the question stays open. With
        `leave_open` this question also stays open at a `RECORDED` while the journal has no answer.
        `earlier` are the answers that this attempt took for other questions.

        Raises:
            InvalidApprovalResponse: The response is invalid; the message says why.
        """
        questions = StoredQuestions()
        if was_resumed(config):
            questions = await stored_questions(config, host.get_checkpoint)
        own_question = next(
            (item for item in questions.interrupts if self._is_shown(item.value)), None
        )
        answers, takes_answer = questions.answers[len(earlier) :], own_question is not None
        is_asked = takes_answer
        waits = all(record.state in _ASKABLE for _, record in self._calls.values())
        if own_question is not None:
            self._pending = self._pending_approvals(states_shown(own_question.value))
            takes_answer = not (
                (waits and leave_open) and is_recorded(waiting_answer(config, [*earlier, *answers]))
            )
        elif not any(record.state in _ASKABLE for _, record in self._calls.values()):
            if not answers:  # answered in the journal before the question was stored
                return []
            # Answered in this task, before the tool interrupted it.
            answers, takes_answer = self._own_answers(answers)[:-1], True
        reference = {
            "interrupt_id": own_question.id if own_question else None,
            "is_addressed": own_question is None or is_addressed(config, questions),
        }
        if takes_answer or is_asked:
            keys = [record.key for _, record in self._calls.values()]
            await host.ports.call(host.ports.journal.take_questions, keys)
        else:
            await host.ports.store_questions(self._questions(config))
        schema = response_schema(
            self._pending[0],
            (lambda response: self._parse(response, **reference)) if checked else None,
            per_call=self._plan["per_call"],
        )
        payload = own_question.value if own_question and takes_answer else self._payload()
        response = ask(payload, config, schema, answers, read=takes_answer, earlier=earlier)
        self._earlier, self.taken = earlier, [*answers, response]
        return self._parse(response, **reference)

    def ask_again(self, unclear: str, config: RunnableConfig) -> None:
        """Interrupt with the same question, and say why the answer to it was not understood.

        Returns after a second answer that was not understood, unless it is the first one again.
        """
        *earlier, response = self.taken
        if not earlier or earlier[-1] == response:
            self.note = _UNCLEAR.format(one_line(unclear))
            self.ask_more(config)

    def ask_more(self, config: RunnableConfig) -> None:
        """Interrupt with the same question, since no answer to it counts yet."""
        self._plan = subplan(self._plan, self._plan["calls"], unclear=self.note)
        ask(self._payload(), config, None, self.taken, read=False, earlier=self._earlier)

    def _own_answers(self, answers: Sequence[Any]) -> Sequence[Any]:
        """Return those of a task's answers that this question got; the tool's own follow them."""
        numbers = [number for number, item in enumerate(answers, 1) if is_recorded(item)]
        count = max(numbers, default=0)
        if any(is_restricted(record) for _, record in self._calls.values()):
            while count < len(answers) and self._is_understood(answers[count]):
                count += 1
        return answers[: max(count, 1)]

    def _is_understood(self, response: object) -> bool:
        try:
            return bool(self._parse(response, is_addressed=True))
        except InvalidApprovalResponse:
            return False

    async def record_answers(
        self, answers: Sequence[ApprovalAnswer], config: RunnableConfig, ports: Ports
    ) -> list[AnsweredCall]:
        """Record answers in the journal, and return all calls as the journal has them then.

        Where another answer came first, that one counts.
        """
        edits = [await self._record_answer(answer, config, ports) for answer in answers]
        edited_calls = {call.call_id: call for call in edits if call is not None}
        records = await ports.find([record.key for _, record in self._calls.values()])
        answered_calls = []
        for call, before in self._calls.values():
            record = records[before.key]
            if before.state in _ASKABLE and record != before:
                emit_event(build_event("approval", record))
            answered_calls.append(
                await self._plan_next(call, record, edited_calls.get(call["id"]), ports)
            )
        self._calls = {
            call["id"]: (call, records[call["key"] or ""]) for call, _ in self._calls.values()
        }
        return answered_calls

    def _questions(self, config: RunnableConfig) -> list[ApprovalQuestion]:
        records = [record for _, record in self._calls.values()]
        return [
            build_question(pending, record, self._settings, self._tools, config)
            for pending, record in zip(self._pending, records, strict=True)
        ]

    def _payload(self) -> dict[str, Any]:
        requests = [self._action_request(*pair) for pair in self._calls.values()]
        if self._plan["per_call"]:
            call_id = self._pending[0].call_id
            return {"type": "tool_approval", "tool_call_id": call_id, **requests[0]}
        allowed_answers = {pending.tool: pending.allowed_decisions for pending in self._pending}
        configs = [
            {"action_name": name, "allowed_decisions": [answer.value for answer in answers]}
            for name, answers in allowed_answers.items()
        ]
        return {"action_requests": requests, "review_configs": configs}

    def _action_request(self, call: PlannedCall, record: CallRecord) -> dict[str, Any]:
        description = describe_question(record, call["args"], self._settings, self._tools)
        if unclear := self._plan["unclear"]:
            description = f"{unclear}\n{description}"
        return {
            "name": call["name"],
            "args": call["args"],
            "description": description,
            CHANNEL: build_evidence(record),
        }

    def _parse(self, response: object, **reference: Any) -> list[ApprovalAnswer]:
        if is_recorded(response):
            return []
        is_strict = self._settings.approvals.require_reference
        answers = parse_answers(response, self._pending, require_reference=is_strict, **reference)
        for answer in answers:
            check_edit(answer, self._tools, self._settings)
        return answers

    def _is_shown(self, value: object) -> bool:
        """Whether an interrupt asks what this request asks, about the same calls."""
        shown_states = states_shown(value)
        return shown_states.keys() == {record.key for _, record in self._calls.values()} and all(
            shown_states[record.key] == (record.state, record.starts)
            for _, record in self._calls.values()
            if record.state in _ASKABLE
        )

    def _pending_approvals(self, states: Mapping[str, tuple[str, int]]) -> list[PendingApproval]:
        settings = self._settings
        pending = []
        for call, record in self._calls.values():
            state, _ = states.get(record.key, (record.state, 0))
            is_unknown = state == State.UNKNOWN
            choices = settings.allowed_decisions(call["name"])
            if not self._allow_edits:
                choices = [item for item in choices if item is not Answer.EDIT] or [Answer.REJECT]
            pending.append(
                PendingApproval(
                    call["id"],
                    call["name"],
                    call["args"],
                    UNKNOWN_ANSWERS if is_unknown else choices,
                    settings.approvals.allow_tool_change,
                    key=record.key,
                    outcome_unknown=is_unknown,
                )
            )
        return pending

    async def _record_answer(
        self, answer: ApprovalAnswer, config: RunnableConfig, ports: Ports
    ) -> ToolCall | None:
        """Record one answer; return the call as it edits it."""
        call, record = self._calls[answer.call_id]
        edited_call = self._edited_call(answer, call)
        approval = self._approval(answer, edited_call, authenticated_user(config), ports.clock())
        pending = next(item for item in self._pending if item.call_id == answer.call_id)
        if objection := find_objection(record, approval):
            self.note = f"The last answer about {call['name']} does not count: {objection}."
        if not pending.outcome_unknown:
            await record_answer(record, approval, ports)
        elif not objection:
            await resolve_unknown(record, approval, ports)
        return edited_call

    async def _plan_next(
        self, call: PlannedCall, record: CallRecord, edit: ToolCall | None, ports: Ports
    ) -> AnsweredCall:
        """Return what comes next for a call, by the answer that came first."""
        planned_call = call.copy()
        planned_call["next"] = next_action(record, self._settings)
        approval = record.approval
        if record.state is not State.EDITED or approval is None:
            return AnsweredCall(planned_call, record)
        if approval.edit is not None:
            try:
                edit = apply_edit(call, self._plan, record, approval.edit)
                answer = ApprovalAnswer(
                    call["id"], Answer.EDIT, tool=call["name"], arguments=edit.arguments
                )
                check_edit(answer, self._tools, self._settings)
            except (InvalidCall, InvalidApprovalResponse) as error:
                reason = f"a person's edit failed: {error}"
                reject_call(planned_call, f"{call['name']} did not run: {reason}")
                return AnsweredCall(planned_call, await block_call(record, reason, ports))
            record = await ports.transition_or_load(record.key, EditApplied(edit.key))
            approval = record.approval
        if edit is not None and approval is not None and approval.edited_to == edit.key:
            planned_call = plan_call(edit, None, "evaluate")
            planned_call["edited_from"] = record.key
        return AnsweredCall(planned_call, record)

    def _edited_call(self, answer: ApprovalAnswer, call: PlannedCall) -> ToolCall | None:
        """Return the call as a person edited it; None where it was not edited."""
        if answer.arguments is None:
            return None
        plan, arguments = self._plan, dict(answer.arguments)
        return ToolCall(plan["thread"], plan["turn"], call["id"], answer.tool, arguments)

    def _approval(
        self, answer: ApprovalAnswer, edit: ToolCall | None, user: ServerUser | None, at: float
    ) -> Approval:
        lifetime = self._settings.approvals.expires_after
        return Approval(
            answer=answer.answer,
            at=at,
            text=answer.text,
            comment=answer.comment,
            approver=user.name if user else answer.approver,
            verified=user is not None,
            roles=user.roles if user else (),
            expires_at=None if lifetime is None else at + lifetime,
            edited_to=edit.key if edit else "",
        )
