"""The question a person gets about calls, and what becomes of the answers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool
from langgraph.types import Interrupt

from bighub_langgraph.core.approval_answers import (
    ApprovalAnswer,
    InvalidApprovalResponse,
    PendingApproval,
    is_recorded,
    parse_answers,
)
from bighub_langgraph.core.approval_rules import find_objection, is_restricted
from bighub_langgraph.core.argument_patch import ArgumentPatch
from bighub_langgraph.core.call_endings import block_call, record_answer
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.evidence import one_line
from bighub_langgraph.core.lifecycle import EditApplied
from bighub_langgraph.core.models import (
    ASKABLE_STATES,
    Answer,
    Approval,
    CallRecord,
    State,
    ToolCall,
)
from bighub_langgraph.core.policy import GuardSettings
from bighub_langgraph.core.ports import Ports
from bighub_langgraph.core.recovery import resolve_unknown
from bighub_langgraph.core.reporting import build_event
from bighub_langgraph.graph.approval_questions import (
    ShownCall,
    build_payload,
    build_pending_calls,
    build_question,
    find_shown_states,
    is_answered_since,
    response_schema,
)
from bighub_langgraph.graph.langgraph_internals import (
    StoredQuestions,
    ask,
    authenticated_user,
    is_addressed,
    peek_answer,
    stored_questions,
    unreadable_interrupts,
    was_resumed,
)
from bighub_langgraph.graph.plan import (
    Plan,
    PlannedCall,
    TurnId,
    next_action,
    plan_call,
    reject_call,
    subplan,
    to_tool_calls,
)
from bighub_langgraph.graph.tool_execution import GraphHost
from bighub_langgraph.graph.tool_messages import emit_event
from bighub_langgraph.graph.validation import check_edit

NOT_UNDERSTOOD = "the answer to the question about it was not understood: {}"
_UNCLEAR = "The last answer was not understood: {}"


async def ask_person(
    plan: Plan,
    tools: Mapping[str, BaseTool] | None,
    config: RunnableConfig,
    host: GraphHost,
    *,
    may_ask_again: bool = False,
) -> Plan:
    """Ask a person about all calls of a plan, in one interrupt; return the plan after the answers.

    After an invalid response the plan says why it is invalid, and another task asks about its calls
    again. With `may_ask_again` this task asks again, and a second invalid response ends the calls.
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
        answers = await request.ask(config, host, leave_open=may_ask_again)
    except InvalidApprovalResponse as error:
        if not may_ask_again:
            return subplan(plan, plan["calls"], unclear=_UNCLEAR.format(one_line(str(error))))
        request.ask_again(str(error), config)
        return await _end_calls(plan, records, NOT_UNDERSTOOD.format(error), host)
    answered_calls = await request.record_answers(answers, config, host.ports)
    if may_ask_again and all(call.planned_call["next"] == "ask" for call in answered_calls):
        request.ask_more(config)
    return subplan(plan, [call.planned_call for call in answered_calls], unclear=request.note)


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

    It is asked about again where no answer counts yet. After an edit that came first,
    `planned_call` is the edited call, which is evaluated next.
    """

    planned_call: PlannedCall
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
        self._records = [records[call["key"] or ""] for call in plan["calls"]]
        self._allow_edits = allow_edits
        self._pending_calls: list[PendingApproval] = []
        self._earlier: Sequence[Any] = ()
        self.taken_answers: Sequence[Any] = ()
        self.note = ""  # why an answer does not count
        self._asked_states: Mapping[str, tuple[str, int]] = {}  # as the person was shown them

    async def ask(
        self,
        config: RunnableConfig,
        host: GraphHost,
        *,
        is_checked: bool = False,
        leave_open: bool = True,
        earlier: Sequence[Any] = (),
    ) -> list[ApprovalAnswer]:
        """Interrupt, and return the answers: one `HITLRequest` for all calls, or a `tool_approval`.

        Only an answer to this question is taken, as the checkpoint has it; any other answer that
        waits was given before it was asked. With `is_checked` LangGraph refuses an invalid
        response: it raises at the caller, nothing of it is saved, and the question stays open. With
        `leave_open` this question also stays open at a `RECORDED` while the journal has no answer.
        `earlier` are the answers that this attempt took for other questions.

        Raises:
            InvalidApprovalResponse: The response is invalid; the message says why.
        """
        questions = StoredQuestions()
        if was_resumed(config):
            questions = await stored_questions(config, host.get_checkpoint)
        question = next((item for item in questions.interrupts if self._is_shown(item.value)), None)
        self._asked_states = {} if question is None else find_shown_states(question.value)
        self._pending_calls = build_pending_calls(
            self._plan,
            self._records,
            self._settings,
            self._asked_states,
            allow_edits=self._allow_edits,
        )
        answers, takes_answer = questions.answers[len(earlier) :], question is not None
        if question is not None:
            if leave_open and all(record.state in ASKABLE_STATES for record in self._records):
                takes_answer = not is_recorded(peek_answer(config, [*earlier, *answers]))
        elif not any(record.state in ASKABLE_STATES for record in self._records):
            if not answers:  # answered in the journal before the question was stored
                self._asked_states = {item.key: (State.AWAITING, 0) for item in self._records}
                return []
            # Answered in this task, before the tool interrupted it.
            answers, takes_answer = self._own_answers(answers)[:-1], True
        payload = await self._show(question, config, host.ports, takes_answer=takes_answer)
        parse = partial(
            self._parse,
            interrupt_id=question.id if question else None,
            is_addressed=question is None or is_addressed(config, questions),
        )
        per_call = self._plan["per_call"]
        check = parse if is_checked else None
        schema = response_schema(self._pending_calls[0], check, per_call=per_call)
        response = ask(payload, config, schema, answers, read=takes_answer, earlier=earlier)
        self._earlier, self.taken_answers = earlier, [*answers, response]
        return parse(response)

    async def _show(
        self,
        question: Interrupt | None,
        config: RunnableConfig,
        ports: Ports,
        *,
        takes_answer: bool,
    ) -> Any:
        """Return the payload of the question, once other channels know that it is asked."""
        if takes_answer or question is not None:
            keys = [record.key for record in self._records]
            await ports.call(ports.journal.take_questions, keys)
            return question.value if question and takes_answer else self._payload()
        shown_calls = self._show_calls()
        await ports.store_questions(
            [build_question(item, self._settings, self._tools, config) for item in shown_calls]
        )
        return self._payload(shown_calls)

    def ask_again(self, unclear: str, config: RunnableConfig) -> None:
        """Interrupt with the same question, and say why the answer to it was not understood.

        Returns after a second answer that was not understood, unless it is the first one again.
        """
        *earlier, response = self.taken_answers
        if not earlier or earlier[-1] == response:
            self.note = _UNCLEAR.format(one_line(unclear))
            self.ask_more(config)

    def ask_more(self, config: RunnableConfig) -> None:
        """Interrupt with the same question, since no answer to it counts yet."""
        self._plan = subplan(self._plan, self._plan["calls"], unclear=self.note)
        ask(self._payload(), config, None, self.taken_answers, read=False, earlier=self._earlier)

    def _own_answers(self, answers: Sequence[Any]) -> Sequence[Any]:
        """Return those of a task's answers that this question got; the tool's own follow them."""
        numbers = [number for number, item in enumerate(answers, 1) if is_recorded(item)]
        count = max(numbers, default=0)
        if any(map(is_restricted, self._records)):
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

        Where another answer came first, that one counts. Each answer has an event, also one that
        was given elsewhere.
        """
        edits = [await self._record_answer(answer, config, ports) for answer in answers]
        edited_calls = {call.call_id: call for call in edits if call is not None}
        records = await ports.find([record.key for record in self._records])
        answered_calls = []
        for call, before in zip(self._plan["calls"], self._records, strict=True):
            record = records[before.key]
            is_new = before.state in ASKABLE_STATES and record != before
            if is_new or is_answered_since(self._asked_states, record):
                emit_event(build_event("approval", record))
            answered_calls.append(
                await self._plan_next(call, record, edited_calls.get(call["id"]), ports)
            )
        self._records = [records[record.key] for record in self._records]
        return answered_calls

    def _show_calls(self) -> list[ShownCall]:
        return list(map(ShownCall.of, self._pending_calls, self._records))

    def _payload(self, shown_calls: Sequence[ShownCall] | None = None) -> dict[str, Any]:
        shown_calls = self._show_calls() if shown_calls is None else shown_calls
        return build_payload(self._plan, shown_calls, self._settings, self._tools)

    def _parse(self, response: object, **reference: Any) -> list[ApprovalAnswer]:
        if is_recorded(response):
            return []
        is_strict = self._settings.approvals.require_reference
        answers = parse_answers(
            response, self._pending_calls, require_reference=is_strict, **reference
        )
        for answer in answers:
            check_edit(answer, self._tools, self._settings)
        return answers

    def _is_shown(self, value: object) -> bool:
        """Whether an interrupt asks what this request asks, about the same calls."""
        shown_states = find_shown_states(value)
        return shown_states.keys() == {record.key for record in self._records} and all(
            shown_states[record.key] == (record.state, record.starts)
            for record in self._records
            if record.state in ASKABLE_STATES
        )

    async def _record_answer(
        self, answer: ApprovalAnswer, config: RunnableConfig, ports: Ports
    ) -> ToolCall | None:
        """Record one answer; return the call as it edits it."""
        calls = zip(self._plan["calls"], self._records, self._pending_calls, strict=True)
        call, record, pending_call = next(item for item in calls if item[0]["id"] == answer.call_id)
        edited_call = None
        if answer.arguments is not None:
            ids, arguments = (self._plan["thread"], self._plan["turn"]), dict(answer.arguments)
            edited_call = ToolCall(*ids, call["id"], answer.tool, arguments)
        user, at = authenticated_user(config), ports.clock()
        lifetime = self._settings.approvals.expires_after
        approval = Approval(
            answer=answer.answer,
            at=at,
            text=answer.text,
            comment=answer.comment,
            approver=user.name if user else answer.approver,
            verified=user is not None,
            roles=user.roles if user else (),
            expires_at=None if lifetime is None else at + lifetime,
            edited_to=edited_call.key if edited_call else "",
        )
        if objection := find_objection(record, approval):
            self.note = f"The last answer about {call['name']} does not count: {objection}."
        if not pending_call.outcome_unknown:
            await record_answer(record, approval, ports)
        else:
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
                edit = self._apply_edit(call, record, approval.edit)
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

    def _apply_edit(self, call: PlannedCall, record: CallRecord, patch: ArgumentPatch) -> ToolCall:
        """Return a call with the changes that a person made outside of its graph.

        Raises:
            InvalidCall: They are about another call, or about fields that it does not have.
        """
        [original] = to_tool_calls(TurnId(self._plan["thread"], self._plan["turn"]), [call])
        if original.key != record.key:
            raise InvalidCall("the call in the thread's state is not the one that was shown")
        return replace(original, arguments=patch.apply(call["args"]))
