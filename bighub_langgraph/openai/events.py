"""Events of calls, as results and streams hold them, and what the model reads about a call."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from bighub_langgraph.core.jsonable import (
    replace_surrogates,
    to_jsonable,
    truncate,
)
from bighub_langgraph.core.model_messages import edit_note, message_for_model
from bighub_langgraph.core.models import CallRecord, State, Status, ToolFailed, ToolSucceeded
from bighub_langgraph.core.reporting import PUBLIC_STATUSES

Json = dict[str, Any]

MAX_OUTPUT_LENGTH = 50_000  # characters


@dataclass(kw_only=True)
class DecisionFields:
    """The fields of a decision that events and results repeat at their top level."""

    recommendation: str | None = None
    risk_score: float | None = None
    enforcement_mode: str | None = None
    trajectory_health: str | None = None
    decision_packet: Json | None = None
    responsible_action_space: Json | None = None
    salient_factors: list[Json] | None = None
    operational_intent: Json | None = None
    agent_operational_body: Json | None = None
    action_interpretation_layer: Json | None = None
    performative_contracts: list[Json] | None = None
    catastrophic_ceiling: Json | None = None
    expected_regret_vector: Json | None = None
    signal_epistemology: Json | None = None
    safe_novelty_lane: Json | None = None


@dataclass
class ToolExecutionEvent(DecisionFields):
    """The event of a call. Results and streams hold it as a dict with these keys.

    Further keys are fields of BIGHUB's newer responses, and where they apply `approval`, `replayed`
    and `outcome_unknown`.

    Attributes:
        status: executed, blocked, approval_required or tool_error.
        decision: BIGHUB's response.
        event_id: The key of the call in the journal.
        trace_id: The id of the run.
        request_id: BIGHUB's id of the evaluation.
        seq: The number of the event in its run, from 0.
    """

    tool: str
    call_id: str
    status: str
    decision: Json
    arguments: Json
    output: Any = None
    error: str | None = None
    event_id: str | None = None
    trace_id: str | None = None
    request_id: str | None = None
    seq: int | None = None
    schema_version: int = 1
    source_version: str | None = None


@dataclass
class ToolResult(DecisionFields):
    """The result of a call with the fields of its decision, as the published adapter has it."""

    status: str
    decision: Json
    output: Any = None
    error: str | None = None
    risk_band: str | None = None
    confidence_zone: str | None = None
    regret_band: str | None = None


GuardedToolResult = ToolResult

# The documented keys of a decision and of its `decision_intelligence`.
_DECISION: Json = dict.fromkeys(("recommendation", "enforcement_mode", "reason", "request_id"))
_INTELLIGENCE: Json = dict.fromkeys(
    ("rationale", "evidence_status", "trajectory_health", "alternatives")
)


def complete_decision(response: Mapping[str, Any]) -> Json:
    """Return a decision with all documented keys; None where BIGHUB said nothing."""
    intelligence = response.get("decision_intelligence")
    if not isinstance(intelligence, dict):
        intelligence = {}
    return {
        **_DECISION,
        "recommendation_confidence": response.get("confidence"),
        "risk_score": response.get("risk"),
        **response,
        "decision_intelligence": {**_INTELLIGENCE, **intelligence},
    }


# Fields of BIGHUB's response that an event repeats where the response has them.
_REPEATED_FIELDS = (
    *[item.name for item in fields(DecisionFields)],
    *("better_action", "proposed_action", "execution_mode", "decision_brain", "expected_regret"),
    *("can_run", "needs_review", "needs_more_context", "should_not_run"),
    *("verification_plan", "obligations", "learning_hooks"),
)
# Every event has all these keys.
BLANK_EVENT: Json = {
    **dict.fromkeys([item.name for item in fields(ToolExecutionEvent)]),
    **dict.fromkeys(_REPEATED_FIELDS),
    "decision": complete_decision({}),
    "schema_version": 1,
}


def build_call_event(
    record: CallRecord,
    arguments: Json,
    trace_id: str,
    source_version: str,
    repeats: str | None = None,
) -> Json:
    """Return the event of a call as JSON; `repeats` is the id of an equal call before it.

    The decision and the arguments are those of the record: copy it before giving it to users.
    """
    event = {
        **BLANK_EVENT,
        "tool": record.tool,
        "call_id": record.call_id,
        # A call that another worker still runs is shown like one whose outcome is unknown.
        "status": PUBLIC_STATUSES.get(record.state, Status.TOOL_ERROR).value,
        "arguments": arguments,
        "event_id": record.key,
        "trace_id": trace_id,
        "source_version": source_version,
    }
    match record.result:
        case ToolSucceeded(output):
            event["output"] = to_jsonable(output)
        case ToolFailed(error):
            event["error"] = error
        case None:
            event["error"] = record.reason or None
    if (decision := record.decision) is not None:
        response = decision.reply
        event["decision"] = complete_decision(response)
        event |= {name: response[name] for name in response.keys() & _REPEATED_FIELDS}
        event["risk_score"] = decision.risk_score
        event["trajectory_health"] = decision.trajectory_health
        event["request_id"] = decision.request_id
    if record.state in {State.UNKNOWN, State.RUNNING}:
        event["outcome_unknown"] = True
    if repeats:
        event["repeats"] = repeats
    if (approval := record.approval) is not None:
        event["approval"] = {
            "answer": approval.answer.value,
            "approver": approval.approver or None,
            "verified": approval.verified,
            "comment": approval.comment or approval.text or None,
        }
    return event


def output_for_model(
    record: CallRecord, event: Json, *, is_edited: bool = False
) -> str | list[Json]:
    """Return what the model reads about a complete call: its status, and output or error.

    Content parts of the Responses API, such as images and files, follow the status as they are.
    """
    message, parts = {"status": event["status"]}, list[Json]()
    match record.result:
        case ToolSucceeded():
            if not (parts := _find_content_parts(event["output"])):
                message["output"] = event["output"]
        case ToolFailed(error):
            message["error"] = error
        case None:
            key = "output" if record.state is State.ANSWERED else "reason"
            message[key] = message_for_model(record)
    if is_edited and record.result is not None:
        message["note"] = edit_note(record.tool, event["arguments"])
    text = _dump(message)
    if len(text) > MAX_OUTPUT_LENGTH and "output" in message:
        text = _dump({**message, **_limit_output(message["output"])})
    return [{"type": "input_text", "text": text}, *parts] if parts else text


# By type, the fields of which a content part has one.
_CONTENT_FIELDS = {
    "input_text": ("text",),
    "input_image": ("image_url", "file_id"),
    "input_file": ("file_data", "file_id", "file_url"),
}


def _find_content_parts(output: Any) -> list[Json]:
    """Return an output as content parts, if it is one or a list of nothing else."""
    parts = output if isinstance(output, list) else [output]
    for part in parts:
        if not isinstance(part, dict):
            return []
        fields = _CONTENT_FIELDS.get(str(part.get("type")), ())
        if not any(isinstance(part.get(name), str) for name in fields):
            return []
    content = [{name: value for name, value in part.items() if value is not None} for part in parts]
    return [
        {**part, "text": truncate(part["text"], MAX_OUTPUT_LENGTH)} if "text" in part else part
        for part in content
    ]


def error_for_model(error: str) -> str:
    """Return what the model reads about a call that cannot be evaluated."""
    return _dump({"status": Status.TOOL_ERROR.value, "error": error})


def _limit_output(output: Any) -> Json:
    text = _encode(output)
    if len(text) <= MAX_OUTPUT_LENGTH:
        return {"output": output}
    note = f"only the first {MAX_OUTPUT_LENGTH} of {len(text)} characters of the output are shown"
    return {"output": truncate(text, MAX_OUTPUT_LENGTH), "note": note}


def _dump(message: Json) -> str:
    # A lone surrogate has no UTF-8, and a request that holds one cannot be sent.
    return replace_surrogates(_encode(message))


_encode = json.JSONEncoder(ensure_ascii=False).encode
