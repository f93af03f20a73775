"""What is told of a call: the events of a run's answer, and what the model reads."""

import json
from typing import Any

from bighub_langgraph.core.jsonable import (
    NESTING,
    copy_jsonable,
    replace_surrogates,
    to_jsonable,
    truncate,
)
from bighub_langgraph.core.model_messages import message_for_model, output_after_edit
from bighub_langgraph.core.models import (
    CallRecord,
    Decision,
    State,
    Status,
    ToolFailed,
    ToolSucceeded,
)
from bighub_langgraph.core.reporting import PUBLIC_STATUSES

__all__ = ["LONGEST_OUTPUT", "dumped", "event_of", "failure", "given_away", "refusal", "told"]

Json = dict[str, Any]

LONGEST_OUTPUT = 50_000

# Fields of BIGHUB's newer replies that stand on an event by themselves.
_NEWER = (
    *("better_action", "proposed_action", "execution_mode"),
    *("can_run", "needs_review", "needs_more_context"),
    *("should_not_run", "expected_regret", "expected_regret_vector"),
    *("decision_packet", "decision_brain", "responsible_action_space"),
    *("salient_factors", "signal_epistemology", "operational_intent"),
    *("agent_operational_body", "action_interpretation_layer", "safe_novelty_lane"),
    *("performative_contracts", "catastrophic_ceiling", "verification_plan"),
    *("obligations", "learning_hooks"),
)


def event_of(record: CallRecord, arguments: Json, trace_id: str) -> Json:
    """Say where a call stands, in the published adapter's words and plain JSON.

    The decision and the arguments are the record's own: whoever gives the event away copies it.
    """
    event = _BLANK.copy()
    event["tool"] = record.tool
    event["call_id"] = record.call_id
    event["status"] = _status(record)
    event["arguments"] = arguments
    if isinstance(record.result, ToolSucceeded):
        event["output"] = to_jsonable(record.result.output)
    else:
        event["error"] = _error(record)
    if record.decision is None:
        event["decision"] = {}
    else:
        _add_decision(event, record.decision)
    event["event_id"] = record.key
    event["trace_id"] = trace_id
    if record.state is State.UNKNOWN or record.state is State.RUNNING:
        event["in_doubt"] = True
    if record.approval is not None:
        event["approval"] = _approval(record)
    return event


def given_away(event: Json) -> Json:
    """A copy of an event, for somebody else to change."""
    copy = event.copy()
    # All that may nest; nearly all names of an event say nothing.
    newer = not _NEWER_ONES.isdisjoint(event.get("decision") or ())
    for name in event if newer else _NESTED:
        if type(one := copy.get(name)) in NESTING:
            copy[name] = copy_jsonable(one)
    return copy


# The words among them are BIGHUB's and the model's service's own, and may be anything.
_NESTED = (
    *("decision", "arguments", "output", "approval"),
    *("recommendation", "enforcement_mode", "server_label"),
)


def refusal(tool: str, call_id: str, arguments: Json, error: str, trace_id: str) -> Json:
    """Tell of a call that could not even be proposed."""
    return {
        **_BLANK,
        "tool": tool,
        "call_id": call_id,
        "status": Status.TOOL_ERROR.value,
        "decision": {},
        "arguments": to_jsonable(arguments),
        "error": error,
        "event_id": f"{trace_id}-{call_id}",
        "trace_id": trace_id,
    }


def told(record: CallRecord, arguments: Json, *, edited: bool = False) -> str:
    """What the model reads of a call: status, output or error, a short reason, and no more."""
    status = _status(record)
    match record.result:
        case ToolSucceeded(output):
            said: Json = _fitting({"status": status, "output": to_jsonable(output)})
        case ToolFailed(error):
            said = {"status": status, "error": error}
        case None:
            said = {"status": status, "reason": message_for_model(record)}
    if edited and record.result is not None:
        said["note"] = output_after_edit(record.tool, arguments, "").strip()
    return dumped(said)


def failure(error: str) -> str:
    """What the model reads of a call that could not even be proposed."""
    return dumped({"status": Status.TOOL_ERROR.value, "error": error})


def _add_decision(event: Json, decision: Decision) -> None:
    """Add a decision, and its parts that stand on an event by themselves."""
    event["decision"] = reply = decision.reply
    event["recommendation"] = reply.get("recommendation")
    event["risk_score"] = decision.risk_score
    event["enforcement_mode"] = reply.get("enforcement_mode")
    event["trajectory_health"] = decision.trajectory_health
    event["request_id"] = decision.request_id
    if not _NEWER_ONES.isdisjoint(reply):
        event.update((name, reply[name]) for name in _NEWER if name in reply)


_NEWER_ONES = frozenset(_NEWER)
# An event of which nothing is known: every event has all these names, in this order.
_BLANK: Json = dict.fromkeys(
    (
        *("tool", "call_id", "status", "decision", "arguments", "output", "error"),
        *("recommendation", "risk_score", "enforcement_mode", "trajectory_health", *_NEWER),
        *("event_id", "trace_id", "request_id", "seq", "schema_version", "source_version"),
    )
)
_BLANK["schema_version"] = 1


def _status(record: CallRecord) -> str:
    return _STATUS.get(record.state, _STATUS[State.UNKNOWN])


# A call that somebody else still runs is not among them, and shows like one in doubt.
_STATUS = {state: status.value for state, status in PUBLIC_STATUSES.items()}


def _error(record: CallRecord) -> str | None:
    match record.result:
        case ToolFailed(error):
            return error
        case ToolSucceeded():
            return None
    return record.reason or None


def _approval(record: CallRecord) -> Json | None:
    if (approval := record.approval) is None:
        return None
    return {
        "answer": approval.answer.value,
        "approver": approval.approver or None,
        "verified": approval.verified,
        "comment": approval.comment or approval.text or None,
    }


def _fitting(said: Json) -> Json:
    """Cut an output that would flood the model's context, and say so."""
    output = said["output"]
    if isinstance(output, str) and len(output) <= LONGEST_OUTPUT // _MOST_ESCAPED:
        return said
    text = json.dumps(output, ensure_ascii=False)
    if len(text) <= LONGEST_OUTPUT:
        return said
    note = f"only the first {LONGEST_OUTPUT} of {len(text)} characters of the output are shown"
    return {**said, "output": truncate(text, LONGEST_OUTPUT), "note": note}


# A control character is six in JSON.
_MOST_ESCAPED = 7


def dumped(said: Any) -> str:
    """Write plain JSON for the model."""
    # A lone surrogate has no UTF-8, and a request that holds one cannot be sent.
    return replace_surrogates(_for_model(said))


_for_model = json.JSONEncoder(ensure_ascii=False).encode
