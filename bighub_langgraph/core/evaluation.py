"""Evaluate the calls of a turn with BIGHUB and record the decisions.

The flow is written once, for sync and async callers; see `bighub_langgraph.core.ports`.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from bighub_langgraph.core.decision import fallback_decision, parse_decision, resolve_verdict
from bighub_langgraph.core.errors import EngineError, InvalidCall
from bighub_langgraph.core.lifecycle import DecisionMade, NobodyToAsk, apply_event
from bighub_langgraph.core.models import (
    Approval,
    CallRecord,
    Decision,
    EvaluationRequest,
    ToolCall,
    Verdict,
)
from bighub_langgraph.core.policy import (
    GuardSettings,
    build_evaluation_request,
    build_requirement,
)
from bighub_langgraph.core.ports import EvaluationItem, Ports, TelemetryPort

log = logging.getLogger("bighub_langgraph")


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """A call that cannot be evaluated: the model gets the error, and nothing runs."""

    call: ToolCall
    error: InvalidCall


@dataclass(frozen=True, slots=True)
class EditedCall:
    """A call with arguments that a person wrote, and that person's approval of them."""

    call: ToolCall
    approval: Approval
    edited_from: str


def call_of(item: ToolCall | EditedCall) -> ToolCall:
    """Return the call that is evaluated, also where a person has edited it."""
    return item.call if isinstance(item, EditedCall) else item


# A new record, and the call it is about.
UndecidedCall = tuple[CallRecord, ToolCall | EditedCall]


async def evaluate_calls(
    calls: Sequence[ToolCall | EditedCall],
    settings: GuardSettings,
    ports: Ports,
    *,
    session: str | None = None,
    trajectory: str | None = None,
    model: str | None = None,
    requested_by: str = "",
    root_checkpoint: str | None = None,
    on_new: Callable[[CallRecord], object] = lambda _: None,
) -> list[CallRecord | RefusedCall]:
    """Evaluate the calls of a turn concurrently and record the decisions.

    A call that was decided before keeps its decision; `on_new` sees only the new ones.
    """
    context = {"session": session, "trajectory": trajectory, "model": model}
    proposals = [
        _propose(call, settings, ports.clock(), root_checkpoint, **context) for call in calls
    ]
    records = await ports.find([item.key for item in proposals if isinstance(item, CallRecord)])
    undecided_calls = [
        (record, call)
        for record, call in zip(proposals, calls, strict=True)
        if isinstance(record, CallRecord) and record.key not in records
    ]
    # Asked for once a turn: it looks for a provider each time.
    telemetry = ports.active_telemetry() if undecided_calls else None
    if telemetry is not None:
        undecided_calls = await _start_traces(undecided_calls, telemetry, ports)
    decided_records = await _decide_all(undecided_calls, settings, ports, requested_by, telemetry)
    stored_records = await ports.insert(decided_records) if decided_records else []
    for new_record, record in zip(decided_records, stored_records, strict=True):
        records[record.key] = record
        if telemetry is not None:
            telemetry.end_evaluation(record)
        if record is new_record:
            on_new(record)
    return [records[item.key] if isinstance(item, CallRecord) else item for item in proposals]


async def evaluate_request(
    request: EvaluationRequest, key: str, settings: GuardSettings, ports: Ports
) -> Decision:
    """Evaluate one request. Every failure becomes a decision that gives it as its reason."""
    return await _evaluate((request, key), settings, ports, ports.active_telemetry())


async def _evaluate(
    item: EvaluationItem, settings: GuardSettings, ports: Ports, telemetry: TelemetryPort | None
) -> Decision:
    with _trace_evaluation([item], telemetry) as add_decisions:
        try:
            response = await ports.engine.evaluate(*item)
        except EngineError as error:
            response = error
        decision = _to_decision(response, item, settings)
        add_decisions([decision])
        return decision


def _trace_evaluation(
    items: Sequence[EvaluationItem], telemetry: TelemetryPort | None
) -> AbstractContextManager[Callable[[Sequence[Decision]], object]]:
    if telemetry is None:
        return _NOT_TRACED
    return telemetry.evaluation([(key, request.action) for request, key in items])


_NOT_TRACED = nullcontext[Callable[[Sequence[Decision]], object]](len)


def _to_decision(response: object, item: EvaluationItem, settings: GuardSettings) -> Decision:
    request, key = item
    try:
        if isinstance(response, EngineError):
            raise response
        return parse_decision(response)
    except EngineError as error:
        decision = fallback_decision(error, settings.fail_mode)
        level = logging.WARNING if decision.fault == "unavailable" else logging.ERROR
        fields = {"bighub_call_key": key, "bighub_tool": request.action}
        log.log(level, "%s of %s: %s", request.action, request.actor, decision.reason, extra=fields)
        return decision


def _propose(
    item: ToolCall | EditedCall,
    settings: GuardSettings,
    at: float,
    root_checkpoint: str | None,
    **context: str | None,
) -> CallRecord | RefusedCall:
    call = call_of(item)
    try:
        request = build_evaluation_request(call, settings, **context)
        return CallRecord.of(call, request, at, root_checkpoint)
    except InvalidCall as error:
        return RefusedCall(call, error)


async def _start_traces(
    undecided_calls: Sequence[UndecidedCall], telemetry: TelemetryPort, ports: Ports
) -> list[UndecidedCall]:
    """Start the traces of calls; that of an edited call belongs to the call that was edited."""
    original_keys = [
        item.edited_from for _, item in undecided_calls if isinstance(item, EditedCall)
    ]
    originals = await ports.find(original_keys) if original_keys else {}
    traced_calls: list[UndecidedCall] = []
    for record, item in undecided_calls:
        original = originals.get(item.edited_from) if isinstance(item, EditedCall) else None
        origin = original.trace_context if original is not None else None
        traced_calls.append((telemetry.start_call(record, origin), item))
    return traced_calls


async def _decide_all(
    undecided_calls: Sequence[UndecidedCall],
    settings: GuardSettings,
    ports: Ports,
    requested_by: str,
    telemetry: TelemetryPort | None,
) -> list[CallRecord]:
    evaluate_batch = ports.engine.evaluate_batch
    requests = [(record.request, record.key) for record, _ in undecided_calls]
    one_by_one = len(requests) < 2 or any(request.as_payload for request, _ in requests)  # noqa: PLR2004 - a batch
    if evaluate_batch is None or one_by_one:
        decisions = await ports.gather(
            [_evaluate(request, settings, ports, telemetry) for request in requests]
        )
    else:
        with _trace_evaluation(requests, telemetry) as add_decisions:
            responses = await evaluate_batch(requests)
            decisions = [
                _to_decision(response, request, settings)
                for response, request in zip(responses, requests, strict=True)
            ]
            add_decisions(decisions)
    return [
        _apply_decision(record, item, decision, settings, ports.clock(), requested_by)
        for (record, item), decision in zip(undecided_calls, decisions, strict=True)
    ]


def _apply_decision(  # noqa: PLR0917 - each has its own type
    record: CallRecord,
    item: ToolCall | EditedCall,
    decision: Decision,
    settings: GuardSettings,
    at: float,
    requested_by: str,
) -> CallRecord:
    always_review = settings.policy_for(record.tool).always_review
    floor = Verdict.REVIEW if always_review else Verdict.EXECUTE
    edit = item if isinstance(item, EditedCall) else None
    lifetime = settings.approvals.expires_after
    event = DecisionMade(
        decision,
        resolve_verdict(decision, floor, settings.minimum_mode),
        approval=replace(edit.approval, edit=None) if edit else None,
        edited_from=edit.edited_from if edit else None,
        expires_at=at + lifetime if lifetime else None,
    )
    if event.verdict is not Verdict.REVIEW:
        return apply_event(record, event)
    try:
        requirement = build_requirement(call_of(item), record.request, settings, requested_by)
    except InvalidCall as error:  # who has to approve it is not known, so nobody can
        awaiting_record = apply_event(record, event._replace(approval=None))
        return apply_event(awaiting_record, NobodyToAsk(str(error)))
    return apply_event(record, event._replace(requirement=requirement))
