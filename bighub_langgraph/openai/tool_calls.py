"""The tool calls of one response: parse, evaluate, execute, and build the outputs."""

import json
from collections.abc import Sequence
from typing import Any

from bighub_langgraph.core.approval_rules import find_objection
from bighub_langgraph.core.call_endings import record_answer
from bighub_langgraph.core.errors import InvalidCall
from bighub_langgraph.core.evaluation import EditedCall, RefusedCall, evaluate_calls
from bighub_langgraph.core.jsonable import to_jsonable
from bighub_langgraph.core.lifecycle import next_step
from bighub_langgraph.core.models import (
    Answer,
    Approval,
    CallRecord,
    EvaluationRequest,
    Recommendation,
    State,
    Status,
    Step,
    ToolSucceeded,
)
from bighub_langgraph.openai.arguments import parse_arguments
from bighub_langgraph.openai.events import (
    BLANK_EVENT,
    build_call_event,
    error_for_model,
    output_for_model,
)
from bighub_langgraph.openai.response_parsing import ModelResponse, call_id_of
from bighub_langgraph.openai.run import Run, RunContext, ToolCallState

Json = dict[str, Any]


async def run_turn(run: Run, response: ModelResponse, context: RunContext) -> Run:
    """Take every call of a response as far as it can go without a person."""
    calls = _parse_calls(response.tool_calls, run, context)
    # All are evaluated before the first tool starts: where one cannot be evaluated, none runs.
    calls = await evaluate_pending_calls(calls, run, context)
    calls = await execute_calls(calls, run, context)
    requests = [_parse_approval_request(item, run, context) for item in response.approval_requests]
    shown_calls = [*calls, *(request for request in requests if request.is_pending)]
    return run.with_calls([*calls, *requests], [call.event for call in shown_calls])


async def execute_calls(
    calls: Sequence[ToolCallState], run: Run, context: RunContext
) -> list[ToolCallState]:
    """Run the tools that may run, concurrently; return the calls with their events and outputs."""
    flows = [_complete_call(call, run, context) for call in calls]
    completed_calls: list[ToolCallState] = await context.ports.gather(flows)
    if context.emit_decision is not None:
        for call in completed_calls:
            if call.is_new and call.record is not None:
                await context.emit_decision(call.event, call.record)
    return completed_calls


def refuse_call(call: ToolCallState, error: str, run: Run, context: RunContext) -> ToolCallState:
    """Return a call that does not run, with the error as its output."""
    event = _build_error_event(call, error, run, context)
    # Arguments that were not validated may be nested too deeply to be stored.
    return call._replace(arguments=event["arguments"], output=error_for_model(error), event=event)


def _build_error_event(call: ToolCallState, error: str, run: Run, context: RunContext) -> Json:
    """Return the event of a call that cannot be evaluated."""
    return {
        **BLANK_EVENT,
        "tool": call.tool,
        "call_id": call.call_id,
        "status": Status.TOOL_ERROR.value,
        "arguments": to_jsonable(call.arguments),
        "error": error,
        "event_id": f"{run.run_id}-{call.call_id}",
        "trace_id": run.run_id,
        "source_version": context.ports.reporting.source_version,
    }


# -- parse -----------------------------------------------------------------------------------------


def _parse_calls(items: Sequence[Json], run: Run, context: RunContext) -> list[ToolCallState]:
    items_by_id: dict[str, list[Json]] = {}
    for item in items:
        items_by_id.setdefault(call_id_of(item), []).append(item)
    calls = [
        _parse_call(call_id, same_id[0], run, context, is_unique=len(same_id) == 1)
        for call_id, same_id in items_by_id.items()
    ]
    return _mark_repeats(calls) if len(calls) > 1 else calls


def _mark_repeats(calls: Sequence[ToolCallState]) -> list[ToolCallState]:
    """Return the calls, where one is the same as an earlier one with that one's id."""
    marked_calls: list[ToolCallState] = []
    for call in calls:
        first = next((first for first in marked_calls if _is_repeat(call, first)), None)
        marked_calls.append(call if first is None else call._replace(repeats=first.call_id))
    return marked_calls


def _is_repeat(call: ToolCallState, first: ToolCallState) -> bool:
    is_equal = call.tool == first.tool and call.arguments == first.arguments
    # To Python `True` and 1 are equal; only arguments that seem equal are written as JSON.
    return (
        is_equal
        and call.is_pending
        and first.is_pending
        and json.dumps(call.arguments, sort_keys=True)
        == json.dumps(first.arguments, sort_keys=True)
    )


def _parse_call(
    call_id: str, item: Json, run: Run, context: RunContext, *, is_unique: bool
) -> ToolCallState:
    name = str(item.get("name"))
    arguments: Json = {}
    if item.get("type") == "custom_tool_call":
        error = f"{name!r} is a custom tool, and only registered functions can be called here"
        call = ToolCallState(call_id, name, {"input": item.get("input")}, kind="custom")
        return refuse_call(call, error, run, context)
    if not call_id or not is_unique:
        error = "each call of a response needs an id of its own; none of these was run"
        return refuse_call(ToolCallState(call_id, name, arguments), error, run, context)
    try:
        tool = context.tools[name]
        arguments = parse_arguments(item.get("arguments"), name)
        validated_arguments = tool.parameters.validate(arguments)
    except InvalidCall as invalid:
        return refuse_call(ToolCallState(call_id, name, arguments), str(invalid), run, context)
    return ToolCallState(
        call_id, name, validated_arguments.arguments, bind=validated_arguments.bind
    )


def _parse_approval_request(item: Json, run: Run, context: RunContext) -> ToolCallState:
    """Return the call that a hosted MCP server wants to make."""
    name, request_id = str(item.get("name")), str(item.get("id"))
    try:
        arguments = parse_arguments(item.get("arguments"), name)
    except InvalidCall:
        arguments = {"unreadable": item.get("arguments")}
    call = ToolCallState(request_id, name, arguments, kind="mcp")
    event = {
        **_build_error_event(call, "", run, context),
        "status": Status.APPROVAL_REQUIRED.value,
        "error": None,
        "request_id": request_id,
        "server_label": item.get("server_label"),
    }
    call = call._replace(event=event)
    if (standing_approval := run.standing_approvals.get(call.approval_scope)) is None:
        return call
    approval = Approval(Answer.APPROVE, context.ports.clock(), **standing_approval)
    return call._replace(approval=approval, output="")


# -- evaluate --------------------------------------------------------------------------------------


async def evaluate_pending_calls(
    calls: Sequence[ToolCallState], run: Run, context: RunContext, edit: EditedCall | None = None
) -> list[ToolCallState]:
    """Evaluate calls and return them with their records; `edit` is the only one, edited."""
    policy_for = context.settings.policy_for
    pending_calls = [
        call for call in calls if call.is_pending and not policy_for(call.tool).read_only
    ]
    if not pending_calls:
        return list(calls)
    new_keys: set[str] = set()
    records = await evaluate_calls(
        [edit or run.to_tool_call(call) for call in pending_calls],
        context.settings,
        context.ports,
        session=run.session_id,
        trajectory=run.run_id,
        model=str(run.settings["model"]),
        on_new=lambda record: new_keys.add(record.key),
    )
    evaluated_calls: dict[str, ToolCallState] = {}
    for call, record in zip(pending_calls, records, strict=True):
        if isinstance(record, RefusedCall):
            evaluated_calls[call.call_id] = refuse_call(call, str(record.error), run, context)
            continue
        is_new = record.key in new_keys
        record = await _apply_standing_approval(call, record, run, context)  # noqa: PLW2901
        evaluated_calls[call.call_id] = call._replace(key=record.key, record=record, is_new=is_new)
    return [evaluated_calls.get(call.call_id, call) for call in calls]


async def _apply_standing_approval(
    call: ToolCallState, record: CallRecord, run: Run, context: RunContext
) -> CallRecord:
    if record.state is not State.AWAITING:
        return record
    if (standing_approval := run.standing_approvals.get(call.approval_scope)) is None:
        return record
    if record.decision is None or record.decision.recommendation in _NEVER_COVERED:
        return record
    approval = Approval(Answer.APPROVE, context.ports.clock(), **standing_approval)
    return await record_answer(record, approval, context.ports)


# Recommendations that a person looks at each time.
_NEVER_COVERED = frozenset({Recommendation.STOP, Recommendation.UNKNOWN})


# -- execute ---------------------------------------------------------------------------------------


async def _complete_call(call: ToolCallState, run: Run, context: RunContext) -> ToolCallState:
    record = call.record
    if not call.is_pending:
        return call
    if record is None:
        return await _run_read_only(call, run, context)
    if next_step(record) is not Step.EXECUTE and record.state is not State.UNKNOWN:
        return _with_record(call, record, run, context, is_replayed=record.starts > 0)
    if not call.is_new and run.to_tool_call(call).key != record.key:
        return refuse_call(call, "its arguments were changed after it was decided", run, context)
    result = await context.tool_runner.execute(
        context.tools[record.tool],
        context.settings.policy_for(record.tool),
        call.arguments,
        record.key,
        call.bind,
    )
    return _with_record(call, result.record, run, context, is_replayed=result.replayed)


async def _run_read_only(call: ToolCallState, run: Run, context: RunContext) -> ToolCallState:
    """Run a tool that only reads: the call is neither evaluated nor recorded."""
    tool = context.tools[call.tool]
    request = EvaluationRequest(call.tool, context.settings.actor)
    try:
        record = CallRecord.of(run.to_tool_call(call), request, context.ports.clock())
    except InvalidCall as error:
        return refuse_call(call, str(error), run, context)
    outcome = await context.tool_runner.run_read_only(tool, record, call.arguments, call.bind)
    state = State.EXECUTED if isinstance(outcome, ToolSucceeded) else State.TOOL_ERROR
    record = record._replace(state=state, result=outcome)
    completed_call = _with_record(call, record, run, context, is_replayed=False)
    return completed_call._replace(key=None, record=None)


def _with_record(
    call: ToolCallState, record: CallRecord, run: Run, context: RunContext, *, is_replayed: bool
) -> ToolCallState:
    """Return a call with the event of its record, and with an output if it is complete."""
    source_version = context.ports.reporting.source_version
    event = build_call_event(record, call.arguments, run.run_id, source_version, call.repeats)
    if next_step(record) is not Step.REPORT:
        # A person decides next, or says what became of it.
        if next_step(record) is Step.ASK and call.approval is not None:
            event["error"] = find_objection(record, call.approval) or event["error"]
        return call._replace(key=record.key, record=record, event=event, approval=None)
    if is_replayed:
        event["replayed"] = True
    output = output_for_model(record, event, is_edited=call.is_edited)
    return call._replace(key=record.key, record=record, event=event, output=output)
