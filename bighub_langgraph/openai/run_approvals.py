"""People's answers to pending calls: by a callback, in a stored run, or by BIGHUB's request id."""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from bighub_langgraph.core.approval_answers import (
    ANSWERS,
    InvalidApprovalResponse,
    PendingApproval,
    parse_answers,
)
from bighub_langgraph.core.call_endings import block_call, record_answer
from bighub_langgraph.core.decision import parse_decision
from bighub_langgraph.core.errors import InvalidCall, RecordNotFound
from bighub_langgraph.core.evaluation import EditedCall
from bighub_langgraph.core.jsonable import digest, to_jsonable
from bighub_langgraph.core.lifecycle import DecisionMade, apply_event
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    CallRecord,
    State,
    Status,
    ToolCall,
    ToolFailed,
    ToolSucceeded,
    Verdict,
)
from bighub_langgraph.core.policy import build_evaluation_request
from bighub_langgraph.core.recovery import resolve_unknown, wait_for_owner
from bighub_langgraph.openai.errors import InvalidRunState
from bighub_langgraph.openai.run import Run, RunContext, RunEnding, ToolCallState
from bighub_langgraph.openai.tool_calls import evaluate_pending_calls, execute_calls
from bighub_langgraph.openai.tools import ToolRegistry

log = logging.getLogger("bighub_langgraph")
Json = dict[str, Any]
AskForApproval = Callable[[Json], Awaitable[Any]]


# -- answers of a callback -------------------------------------------------------------------------


async def ask_for_approvals(
    ending: RunEnding,
    context: RunContext,
    ask: AskForApproval,
    build_response: Callable[[RunEnding], Json],
) -> list[ToolCallState]:
    """Call a user's callback for each pending call; return the calls with the answers."""
    calls = []
    for call in ending.run.pending_calls:
        event = deepcopy(call.event)  # the callback may change it
        question = {
            "request_id": call.request_id,
            "event": event,
            "response": build_response(ending),
        }
        try:
            answered_call = _parse_answer(await ask(question), call, context)
        except (InvalidApprovalResponse, InvalidCall, InvalidRunState) as error:
            reason = f"the approval callback's answer cannot be used: {error}"
            answered_call = await _block(call, reason, context)
        except Exception as error:  # noqa: BLE001 - a callback that fails is no permission
            reason = f"the approval callback raised {error!r:.200}"
            answered_call = await _block(call, reason, context)
        calls.append(answered_call)
    return calls


def summarize_approvals(calls: Sequence[ToolCallState], ending: RunEnding) -> Json:
    """Return the published adapter's `approval_loop` for the calls that people were asked about."""
    if not calls:
        return {"required": False, "resolved": False, "resumed": False}
    approvals = [_summarize_approval(call, ending) for call in calls]
    return {**approvals[-1], "approvals": approvals}


def _parse_answer(response: Any, call: ToolCallState, context: RunContext) -> ToolCallState:
    """Return the call with the callback's answer."""
    if response is None:
        return call
    is_hosted = call.kind == "mcp"
    allowed_answers = (
        [Answer.APPROVE] if is_hosted else context.settings.allowed_decisions(call.tool)
    )
    pending_call = PendingApproval(
        call.call_id, call.tool, call.arguments, [*allowed_answers, Answer.REJECT]
    )
    [answer] = parse_answers(response, [pending_call])
    approval = Approval(
        answer.answer,
        context.ports.clock(),
        text="denied" if answer.answer is Answer.REJECT and not answer.text else answer.text,
        comment=answer.comment,
        approver=answer.approver,
    )
    if answer.arguments is None:
        return call._replace(approval=approval)
    return answer_with_arguments(call, answer.arguments, approval, context.tools)


async def _block(call: ToolCallState, reason: str, context: RunContext) -> ToolCallState:
    """Return a call that its callback did not answer: blocked, which is no denial by a person."""
    if call.event.get("outcome_unknown"):
        fields = {"bighub_call_key": call.key, "bighub_tool": call.tool}
        log.warning("%s; call %s stays pending", reason, call.call_id, extra=fields)
        return call
    if record := (await context.ports.find([call.key or ""])).get(call.key or ""):
        await block_call(record, reason, context.ports)
    return call._replace(approval=Approval(Answer.REJECT, context.ports.clock(), reason))


def _summarize_approval(call: ToolCallState, ending: RunEnding) -> Json:
    summary: Json = {
        "required": True,
        "request_id": call.request_id,
        "tool": call.tool,
        "call_id": call.call_id,
        "resolved": call.approval is not None,
        "resumed": False,
    }
    if call.approval is None:
        return {**summary, "error": call.event["error"]} if call.is_refused else summary
    event = [event for event in ending.run.events if event["call_id"] == call.call_id][-1]
    if event["status"] in {Status.EXECUTED, Status.TOOL_ERROR}:
        summary |= {"resumed": True, "tool_output": event["output"]}
    is_approved = call.approval.answer in {Answer.APPROVE, Answer.EDIT}
    resolution = "approved" if is_approved else "denied"
    summary["approval"] = {
        "request_id": call.request_id,
        "status": resolution,
        "resolution": resolution,
        "comment": call.approval.comment or None,
        "approver": call.approval.approver or None,
    }
    return summary


# -- answers in a run ------------------------------------------------------------------------------


def answer_with_arguments(
    call: ToolCallState, arguments: Any, approval: Approval, tools: ToolRegistry
) -> ToolCallState:
    """Return a call whose answer changes the arguments; unchanged ones are an approval.

    Raises:
        InvalidCall: The call cannot be edited, or the arguments do not fit its tool.
    """
    if not isinstance(arguments, Mapping):
        raise InvalidCall(
            f"the arguments of {call.tool!r} must be a mapping, not {arguments!r:.80}"
        )
    if call.kind == "mcp":
        raise InvalidCall("a request of a hosted server can be approved or rejected, not edited")
    validated_arguments = tools[call.tool].parameters.check(arguments)
    if validated_arguments == call.arguments:
        return call._replace(approval=approval)
    if call.event.get("outcome_unknown"):
        raise InvalidCall(
            f"the outcome of call {call.call_id} is unknown: approve it to run it again as it was, "
            "or reject it; it cannot be edited"
        )
    # The policy's own functions may raise for these arguments.
    edited_call = ToolCall("", "", call.call_id, call.tool, validated_arguments)
    build_evaluation_request(edited_call, tools.settings)
    return call._replace(
        approval=replace(approval, answer=Answer.EDIT), edited_arguments=validated_arguments
    )


async def record_answers(run: Run, context: RunContext) -> Run:
    """Record the answers of a run, and run what they and the journal allow.

    A call without an answer goes on where it was answered elsewhere, or where it was started by a
    process that is gone and its tool's policy says what became of it; others stay pending.
    """
    # A standing approval is for later turns: it answers no call that was shown beside its own.
    for call in run.pending_calls:
        _refuse_forbidden(call, context)
    functions = [call for call in run.pending_calls if call.kind == "function"]
    recorded_calls = [await _record_answer(call, run, context) for call in functions]
    continued_calls = [
        call for call in recorded_calls if call.approval is not None or _goes_on(call)
    ]
    completed_calls = await execute_calls(continued_calls, run, context)
    requests = [
        _answer_request(call)
        for call in run.pending_calls
        if call.kind == "mcp" and call.approval is not None
    ]
    shown_events = [call.event for call in run.calls]
    changed_events = [call.event for call in completed_calls if call.event not in shown_events]
    changed_events += [call.event for call in requests if call.output]
    updated_calls = {call.call_id: call for call in (*completed_calls, *requests)}
    return run.with_calls(
        [updated_calls.get(call.call_id, call) for call in run.calls], changed_events
    )


def _goes_on(call: ToolCallState) -> bool:
    """Whether a call without an answer does not wait for one, nor for its runner."""
    return call.record is not None and call.record.state not in _WAITS_ON


_WAITS_ON = frozenset({State.AWAITING, State.RUNNING, State.EDITED})


def _refuse_forbidden(call: ToolCallState, context: RunContext) -> None:
    if call.kind == "function" and call.approval is not None:
        _check_allowed(call.tool, call.approval.answer, context)


def _check_allowed(tool: str, answer: Answer, context: RunContext) -> None:
    allowed_answers = context.settings.allowed_decisions(tool)
    if answer not in {*allowed_answers, Answer.REJECT}:
        names = ", ".join(answer.value for answer in allowed_answers)
        raise InvalidRunState(f"a call of {tool!r} may be answered with: {names}")


async def _record_answer(call: ToolCallState, run: Run, context: RunContext) -> ToolCallState:
    """Return a call with its record, after its answer if it has one."""
    key, ports = call.key or "", context.ports
    if (record := (await ports.find([key])).get(key)) is None:
        raise RecordNotFound([key])
    was_running, record = record.state is State.RUNNING, await wait_for_owner(record, ports, 0)
    call = call._replace(record=record, is_new=False, bind=None)  # these are of an earlier step
    if (approval := call.approval) is None:
        return call
    if (lifetime := context.settings.approvals.expires_after) is not None:
        approval = replace(approval, expires_at=approval.at + lifetime)
    # Who approved a call that was shown while it ran has not seen that its process is gone.
    is_shown = call.event.get("outcome_unknown") and not (
        was_running and approval.answer is Answer.APPROVE
    )
    if record.state is State.UNKNOWN and is_shown:
        return call._replace(record=await resolve_unknown(record, approval, ports))
    if approval.answer is not Answer.EDIT:
        return call._replace(record=await record_answer(record, approval, ports))
    arguments = call.edited_arguments or {}
    edited_state = call._replace(arguments=arguments, is_edited=True)
    edited_call = run.to_tool_call(edited_state)
    record = await record_answer(record, replace(approval, edited_to=edited_call.key), ports)
    if record.state is not State.EDITED:  # another answer came first
        return call._replace(record=record)
    if record.approval is None or record.approval.edited_to != edited_call.key:
        raise InvalidRunState(
            f"another worker changed the arguments of call {call.call_id}; "
            "resume the state that its run returned"
        )
    # The edit is already the person's approval of the new arguments.
    edit = EditedCall(edited_call, replace(approval, answer=Answer.APPROVE), record.key)
    [evaluated_calls] = await evaluate_pending_calls([edited_state], run, context, edit)
    return evaluated_calls


def _answer_request(call: ToolCallState) -> ToolCallState:
    """Return the answered request of a hosted server; a rejection has an event."""
    if call.approval is None or call.approval.answer is Answer.APPROVE:
        return call._replace(output="")
    reason = call.approval.text or "denied"
    event = {**call.event, "status": Status.BLOCKED.value, "error": reason}
    return call._replace(output=reason, event=event)


# -- answers by request id -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PendingRequest:
    """A person's answer to the evaluation with this request id of BIGHUB's."""

    tool: str
    arguments: Json
    request_id: str
    resolution: str
    comment: str

    def describes(self, record: CallRecord) -> bool:
        """Whether a record is of this tool and these arguments."""
        of_run = ToolCall(record.thread, record.turn, record.call_id, self.tool, self.arguments).key
        return record.key == of_run or record.turn == self.to_tool_call().key

    def to_tool_call(self) -> ToolCall:
        """Return the call of a request that no run here has made."""
        return ToolCall(self.request_id, "approval", self.request_id, self.tool, self.arguments)


def key_of_request(request_id: str) -> str:
    """Return the key of a call that is known by its request id only, so that it runs once."""
    return digest(["approval", request_id])


async def resolve_request(
    request: PendingRequest, context: RunContext, resolve: Callable[[], Awaitable[Any]]
) -> Json:
    """Resolve an approval at BIGHUB, and run the call once if BIGHUB confirms that it is approved.

    Raises:
        InvalidRunState: The request was about another tool or other arguments, or its tool's policy
            does not allow an approval.
    """
    is_yes = ANSWERS.get(str(request.resolution).lower()) is Answer.APPROVE
    if is_yes:
        _check_allowed(request.tool, Answer.APPROVE, context)
    records = await context.ports.call(context.ports.journal.find_by_request_id, request.request_id)
    record = _find_record(request, records)
    response = await resolve()
    fields = response if isinstance(response, Mapping) else {}
    resolution = str(fields.get("resolution", request.resolution)).lower()
    # BIGHUB confirms a yes; somebody else's yes does not overrule this person's no.
    is_approved = is_yes and str(fields.get("status", "")).lower() == resolution == "approved"
    result: Json = {
        "request_id": request.request_id,
        "resolved": True,
        "resumed": is_approved,
        "approval": to_jsonable(response),
    }
    record = record or await _insert_record(request, context)
    # A response of BIGHUB that is neither a yes nor a no leaves the call pending.
    if record.state is State.AWAITING and (is_approved or ANSWERS.get(resolution) is Answer.REJECT):
        approval = Approval(
            Answer.APPROVE if is_approved else Answer.REJECT,
            context.ports.clock(),
            text="" if is_approved else request.comment or "denied",
            comment=request.comment,
        )
        record = await record_answer(record, approval, context.ports)
    if is_approved:
        result |= await _execute_approved(request, record, context)
    await context.ports.deliver(record.turn)
    return result


async def _execute_approved(
    request: PendingRequest, record: CallRecord, context: RunContext
) -> Json:
    """Run an approved call once; return what the result says of it."""
    execution = await context.tool_runner.execute(
        context.tools[request.tool],
        context.settings.policy_for(request.tool),
        request.arguments,
        record.key,
    )
    match execution.record.result:
        case ToolSucceeded(output):
            return {"tool_output": to_jsonable(output)}
        case ToolFailed(error):
            return {"tool_output": None, "error": error}
        case None:
            return {"resumed": False, "error": execution.record.reason or None}


def _find_record(request: PendingRequest, records: Sequence[CallRecord]) -> CallRecord | None:
    """Return the record of a request, one that is not final before one that is."""
    if not records:
        return None
    matches = [record for record in records if request.describes(record)]
    if not matches:
        raise _other_call(request, records[0])
    return next((record for record in matches if not record.is_final), matches[0])


async def _insert_record(request: PendingRequest, context: RunContext) -> CallRecord:
    """Record a request that only BIGHUB knows."""
    call = request.to_tool_call()
    evaluation = build_evaluation_request(call, context.settings, session=context.session_id)
    record = CallRecord.of(call, evaluation, context.ports.clock())
    # The key does not depend on tool and arguments, so the turn does.
    record = record._replace(key=key_of_request(request.request_id), turn=call.key)
    review = {"recommendation": "review_recommended", "requires_approval": True}
    decision = parse_decision({**review, "request_id": request.request_id})
    [record] = await context.ports.insert(
        [apply_event(record, DecisionMade(decision, Verdict.REVIEW))]
    )
    if not request.describes(record):
        raise _other_call(request, record)
    return record


def _other_call(request: PendingRequest, record: CallRecord) -> InvalidRunState:
    difference = (
        f"has other arguments than these for {request.tool!r}"
        if record.tool == request.tool
        else f"is about the tool {record.tool!r}, not {request.tool!r}"
    )
    return InvalidRunState(f"request {request.request_id} {difference}; nothing was run")
